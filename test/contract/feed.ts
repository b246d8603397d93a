// Owns the contract of Feed as a suite for every implementation.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Feed } from '../../src/topic/feed.ts';
import type { Publisher } from '../../src/topic/publisher.ts';
import type { MakeBench, TopicBench } from '../support/topic-bench.ts';
import { readAll, readValues, recordsOf, sliceOf } from '../support/topic-records.ts';

type Both = {
  bench: TopicBench;
  publisher: Publisher;
  feed: Feed;
  /** The one topic that is there. */
  a: string;
  write(...values: string[]): Promise<void>;
};

const never = new AbortController().signal;
export const feedContract = (name: string, make: MakeBench): void => {
  const check = (title: string, body: (both: Both) => Promise<void>): void => {
    test(title, { timeout: 30_000 }, async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const feed = await bench.openFeed();
      const a = bench.topic('a');
      await publisher.ensureTopic(a, { partitions: 1 });
      const write = (...values: string[]) => publisher.write({ slices: [sliceOf(a, values)], state: [] });
      await body({ bench, publisher, feed, a, write });
      await feed.close();
      await publisher.close();
    });
  };
  describe(`feed: ${name}`, () => {
    reading(check);
    retaining(check);
    waking(check);
  });
};

type Check = (title: string, body: (both: Both) => Promise<void>) => void;

const reading = (check: Check): void => {
  check('reads from any offset, in steps of any size, every record once', async ({ feed, a, write }) => {
    for (let at = 0; at < 20; at += 2) await write(`${at}`, `${at + 1}`);
    const all = await readAll(feed, a);
    assert.deepEqual(
      all.map(({ value }) => value),
      Array.from({ length: 20 }, (_, at) => `${at}`),
    );
    const { end } = await feed.ends(a, 0);
    for (const maxBytes of [0, 1, 200, 1 << 20]) {
      for (const from of [0n, 1n, 7n, end - 1n, end]) {
        const expected = all.filter(({ offset }) => BigInt(offset) >= from);
        assert.deepEqual(await readAll(feed, a, { from, maxBytes }), expected);
      }
    }
  });

  check('hands out whole batches, so the first may start below the offset', async ({ feed, a, write }) => {
    await write('x', 'y', 'z');
    const { batches, nextOffset, partition } = await feed.read(a, 0, { from: 2n, maxBytes: 1 << 20 });
    assert.equal(partition, 0);
    assert.ok(nextOffset >= 3n);
    assert.deepEqual(
      recordsOf(batches).map(({ offset }) => offset),
      [0, 1, 2],
    );
  });

  check('is empty at the end and says offset_lost beyond it', async ({ feed, a, write }) => {
    await write('x');
    const { start, end } = await feed.ends(a, 0);
    assert.equal(start, 0n);
    const { batches, nextOffset } = await feed.read(a, 0, { from: end, maxBytes: 100 });
    assert.deepEqual([batches, nextOffset], [[], end]);
    await assert.rejects(feed.read(a, 0, { from: end + 1n, maxBytes: 100 }), { kind: 'offset_lost' });
  });

  check(
    'sees topics made after it was opened, by name, and refuses what is not there',
    async ({ bench, publisher, feed, a }) => {
      await publisher.ensureTopic(bench.topic('0'), { partitions: 1 });
      assert.deepEqual(await feed.topics(), [bench.topic('0'), a]);
      assert.equal(await feed.partitions(a), 1);
      const nowhere = bench.topic('nowhere');
      await assert.rejects(feed.read(nowhere, 0, { from: 0n, maxBytes: 1 }), { kind: 'usage' });
      await assert.rejects(feed.ends(a, 1), { kind: 'usage' });
    },
  );

  check('gives a picture of the state that does not move', async ({ publisher, feed }) => {
    await publisher.write({ slices: [], state: [{ key: 'k', value: '1' }] });
    const before = await feed.state();
    await publisher.write({ slices: [], state: [{ key: 'k', value: '2' }] });
    assert.equal(before.get('k'), '1');
    assert.equal((await feed.state()).get('k'), '2');
  });
};

const retaining = (check: Check): void => {
  check('keeps what was not released, whatever its age', async ({ bench, publisher, feed, a, write }) => {
    await write('x');
    await bench.expire(publisher);
    assert.deepEqual(await readAll(feed, a), [{ offset: 0, value: 'x' }]);
  });

  check(
    'says offset_lost below what retention took, and goes on behind it',
    async ({ bench, publisher, feed, a, write }) => {
      await write('x', 'y');
      const { end } = await feed.ends(a, 0);
      await feed.release(a, 0, end);
      await bench.expire(publisher);
      assert.deepEqual(await feed.ends(a, 0), { start: end, end });
      await assert.rejects(feed.read(a, 0, { from: 0n, maxBytes: 1 }), { kind: 'offset_lost' });
      await write('z');
      assert.deepEqual(await readAll(feed, a), [{ offset: Number(end), value: 'z' }]);
    },
  );

  check(
    'a release never moves back, and none goes beyond the end',
    async ({ bench, publisher, feed, a, write }) => {
      await write('x');
      const { end } = await feed.ends(a, 0);
      await assert.rejects(feed.release(a, 0, end + 1n), { kind: 'offset_lost' });
      await feed.release(a, 0, end);
      await feed.release(a, 0, 0n);
      await bench.expire(publisher);
      assert.deepEqual(await feed.ends(a, 0), { start: end, end });
    },
  );

  check(
    'offsets and ids stay when the writer comes back after retention',
    async ({ bench, publisher, feed, a }) => {
      const avro = '{"type":"fixed","name":"x","size":1}';
      const schema = await publisher.registerSchema(bench.topic('s'), avro);
      await publisher.write({ slices: [sliceOf(a, ['x'])], state: [{ key: 'k', value: '1' }] });
      const id = await feed.topicId(a);
      const { end } = await feed.ends(a, 0);
      await feed.release(a, 0, end);
      await bench.expire(publisher);
      await publisher.close();
      const again = await bench.openPublisher();
      assert.equal(again.state().get('k'), '1');
      assert.equal(await again.registerSchema(bench.topic('s'), avro), schema);
      await again.write({ slices: [sliceOf(a, ['y'])], state: [] });
      const fresh = await bench.openFeed();
      assert.equal(await fresh.topicId(a), id);
      assert.deepEqual(await readAll(fresh, a), [{ offset: Number(end), value: 'y' }]);
      await fresh.close();
      await again.close();
    },
  );
};

const waking = (check: Check): void => {
  check('changed resolves at once for what was committed since the last call', async ({ feed, a, write }) => {
    await feed.changed(0, never);
    await write('x');
    await feed.changed(20_000, never);
    assert.deepEqual(await readValues(feed, a), ['x']);
  });

  check('changed resolves when something is committed', async ({ feed, write }) => {
    await feed.changed(0, never);
    let woken = false;
    const waiting = feed.changed(20_000, never).then(() => {
      woken = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(woken, false);
    await write('x');
    await waiting;
  });

  check('changed resolves when the signal aborts, and when the time is over', async ({ feed }) => {
    await feed.changed(0, never);
    const stop = new AbortController();
    const waiting = feed.changed(20_000, stop.signal);
    stop.abort();
    await waiting;
    await feed.changed(20_000, stop.signal);
    await feed.changed(30, never);
  });
};
