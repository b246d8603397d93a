// That the feed of Kafka reads what was committed and nothing else, from a real broker, written by kafkajs.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Feed } from '../../../src/topic/feed.ts';
import { KafkaClient } from '../../../src/topic/kafka/client.ts';
import { openKafkaFeed } from '../../../src/topic/kafka/feed.ts';
import { sharedKafka } from '../../support/kafka.ts';
import { type KafkaFeedBench, withKafkaFeed } from '../../support/kafka-feed.ts';
import { readAll, recordsOf } from '../../support/topic-records.ts';

const never = new AbortController().signal;
const limits = { timeout: 120_000 };

const on = (body: (bench: KafkaFeedBench) => Promise<void>) => async (): Promise<void> =>
  withKafkaFeed(await sharedKafka(), body);

const valuesNow = async (feed: Feed, topic: string, from: bigint): Promise<string[]> =>
  (await readAll(feed, topic, { from })).map(({ value }) => value);

/** Once all that was written is decided: who ends a transaction is answered before its markers are there. */
const valuesOf = async (feed: Feed, topic: string, from?: bigint): Promise<string[]> => {
  const { start } = await feed.ends(topic, 0);
  return valuesNow(feed, topic, from ?? start);
};

const numbered = (count: number, prefix = ''): string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}${at}`);

suite('reading', limits, () => {
  const inTurns = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    for (let at = 0; at < 10; at++) {
      await writer.transact([{ topic, values: [`lost ${at}`, 'lost'] }], 'abort');
      await writer.transact([{ topic, values: [`${at}`] }], 'commit');
      await writer.send(topic, [`plain ${at}`]);
    }
    const expected = numbered(10).flatMap((at) => [at, `plain ${at}`]);
    for (const maxBytes of [0, 150, 500, 1 << 20]) {
      const found = await readAll(feed, topic, { maxBytes });
      assert.deepEqual(
        found.map(({ value }) => value),
        expected,
      );
    }
  });
  test('committed and aborted in turns: only the committed are there, in order, once', inTurns);

  const onlyAborted = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    const large = 'x'.repeat(10_000);
    for (let at = 0; at < 8; at++) await writer.transact([{ topic, values: numbered(5, large) }], 'abort');
    const { end } = await feed.ends(topic, 0);
    assert.equal(end, 48n);
    const nothing = await feed.read(topic, 0, { from: 0n, maxBytes: 20_000 });
    assert.deepEqual(nothing, { partition: 0, batches: [], nextOffset: end });
    await writer.transact([{ topic, values: ['here'] }], 'commit');
    await feed.ends(topic, 0);
    const found = await readAll(feed, topic, { from: 3n, maxBytes: 20_000 });
    assert.deepEqual(found, [{ offset: 48, value: 'here' }]);
  });
  test('a long run of aborted data is passed over to what follows, and to the end', onlyAborted);

  const openAtTheEnd = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    await writer.send(topic, ['first']);
    const open = await writer.open([{ topic, values: ['second'] }]);
    await writer.send(topic, ['third']);
    assert.deepEqual(await valuesNow(feed, topic, 0n), ['first']);
    assert.equal((await feed.read(topic, 0, { from: 1n, maxBytes: 100 })).nextOffset, 1n);
    await open.commit();
    assert.deepEqual(await valuesOf(feed, topic, 1n), ['second', 'third']);
  });
  test('an open transaction ends the reading, whatever lies behind it', openAtTheEnd);

  const sixPartitions = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a', { partitions: 6 });
    for (let round = 0; round < 3; round++) {
      const sends = numbered(6).map((at) => ({ topic, partition: Number(at), values: [`${at}/${round}`] }));
      await writer.transact(sends, 'commit');
    }
    assert.equal(await feed.partitions(topic), 6);
    for (let partition = 0; partition < 6; partition++) {
      assert.deepEqual(await feed.ends(topic, partition), { start: 0n, end: 6n });
      const { batches, nextOffset } = await feed.read(topic, partition, { from: 0n, maxBytes: 1 << 20 });
      const values = recordsOf(batches).map(({ value }) => value);
      assert.deepEqual(values, numbered(3, `${partition}/`));
      assert.equal(nextOffset, 6n);
    }
  });
  test('six partitions, each in its own order', sixPartitions);

  const large = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a', { settings: { 'max.message.bytes': '5000000' } });
    const values = ['a', 'b', 'c'].map((letter) => letter.repeat(1_500_000));
    await writer.transact([{ topic, values }], 'commit');
    await writer.transact([{ topic, values: ['small'] }], 'commit');
    const found = await readAll(feed, topic, { maxBytes: 1000 });
    assert.deepEqual(
      found.map(({ value }) => value),
      [...values, 'small'],
    );
  });
  test('a batch larger than the limit comes whole', large);

  const names = on(async ({ writer, feed }) => {
    const [b, a] = [await writer.makeTopic('b'), await writer.makeTopic('a')];
    assert.deepEqual(await feed.topics(), [a, b]);
    assert.notEqual(await feed.topicId(a), await feed.topicId(b));
    await assert.rejects(feed.read(`${writer.prefix}.no`, 0, { from: 0n, maxBytes: 1 }), { kind: 'usage' });
    await assert.rejects(feed.ends(a, 1), { kind: 'usage' });
    assert.equal(await feed.schema(7), '"7"');
  });
  test('topics are those of the prefix; what is not there is refused', names);
});

suite('history lost means stop', limits, () => {
  const outside = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    await writer.send(topic, numbered(5));
    await writer.deleteBelow(topic, 3);
    for (const from of [2n, 6n]) {
      await assert.rejects(feed.read(topic, 0, { from, maxBytes: 100 }), { kind: 'offset_lost' });
    }
    assert.deepEqual(await feed.ends(topic, 0), { start: 3n, end: 5n });
    assert.deepEqual(await valuesOf(feed, topic), ['3', '4']);
    await assert.rejects(feed.release(topic, 0, 6n), { kind: 'offset_lost' });
    await feed.release(topic, 0, 5n);
    await feed.release(topic, 0, 1n);
  });
  test('below the start and beyond the end is offset_lost', outside);

  const madeAgain = on(async ({ writer, feed, open }) => {
    const topic = await writer.makeTopic('a');
    const gone = await writer.makeTopic('gone');
    for (const name of [topic, gone]) {
      await writer.send(name, ['x']);
      assert.deepEqual(await valuesOf(feed, name), ['x']);
    }
    const id = await feed.topicId(topic);
    await writer.admin.deleteTopics({ topics: [topic, gone] });
    await writer.makeTopic('a');
    await writer.send(topic, ['y', 'z']);
    await assert.rejects(feed.read(topic, 0, { from: 1n, maxBytes: 100 }), { kind: 'topic_changed' });
    await assert.rejects(feed.topicId(topic), { kind: 'topic_changed' });
    await assert.rejects(feed.read(gone, 0, { from: 1n, maxBytes: 100 }), { kind: 'topic_changed' });
    assert.notEqual(await (await open()).topicId(topic), id);
  });
  test('a topic deleted and made again is topic_changed, and so is one that is gone', madeAgain);

  const morePartitions = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a', { partitions: 2 });
    assert.equal(await feed.partitions(topic), 2);
    await writer.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    await assert.rejects(feed.topicId(topic), { kind: 'topic_changed' });
    await assert.rejects(feed.read(topic, 0, { from: 0n, maxBytes: 1 }), { kind: 'topic_changed' });
  });
  test('partitions that were added are topic_changed, because nobody reads them', morePartitions);

  test('without a state topic there is nothing to open', async () => {
    const { brokers } = await sharedKafka();
    await using client = await KafkaClient.open({ brokers, clientId: 'test' });
    const opening = openKafkaFeed({ client, prefix: 'nobody', schema: async () => '' });
    await assert.rejects(opening, { kind: 'state_lost' });
  });
});

suite('what belongs together', limits, () => {
  const waitingEnds = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    const open = await writer.open([{ topic, values: ['x'] }]);
    let told = false;
    const asking = feed.ends(topic, 0).then((ends) => {
      told = true;
      return ends;
    });
    await sleep(100);
    assert.equal(told, false);
    await open.commit();
    assert.deepEqual(await asking, { start: 0n, end: 2n });
  });
  test('ends are not below a write that was begun before, so they wait for its end', waitingEnds);

  const hanging = on(async ({ writer, open, state }) => {
    const feed = await open({ undecidedMs: 50 });
    const topic = await writer.makeTopic('a');
    const sends = [
      { topic, values: ['x'] },
      { topic: state, values: ['k=1'] },
    ];
    const transaction = await writer.open(sends);
    const named = { kind: 'topic_busy', facts: { topic, partition: 0, committed: 0n, end: 1n } };
    await assert.rejects(feed.ends(topic, 0), named);
    assert.deepEqual([...(await feed.state())], []);
    await transaction.commit();
    assert.deepEqual(await (await open()).ends(topic, 0), { start: 0n, end: 2n });
  });
  test('a transaction that stays open is named, and can be tried again', hanging);

  const stateOfWhatWasRead = on(async ({ writer, feed, state }) => {
    const topic = await writer.makeTopic('a');
    const writing = (async () => {
      for (let at = 1; at <= 30; at++) {
        const sends = [
          { topic, values: [`${at}`] },
          { topic: state, values: [`n=${at}`, `k${at % 3}=${at}`] },
        ];
        await writer.transact(sends, at % 4 === 0 ? 'abort' : 'commit');
      }
    })();
    for (let from = 0n, last = 0; last < 30; ) {
      const { batches, nextOffset } = await feed.read(topic, 0, { from, maxBytes: 1 << 20 });
      from = nextOffset;
      last = Number(recordsOf(batches).at(-1)?.value ?? last);
      if (batches.length === 0) await feed.changed(1000, never);
      else assert.ok(Number((await feed.state()).get('n')) >= last);
    }
    await writing;
    const known = await feed.state();
    assert.deepEqual(Object.fromEntries(known), { n: '30', k0: '30', k1: '25', k2: '29' });
    await writer.transact([{ topic: state, values: ['n='] }], 'commit');
    while ((await feed.state()).has('n')) await feed.changed(1000, never);
    assert.equal(known.get('n'), '30');
  });
  test('the state is not older than any record that was read', stateOfWhatWasRead);

  const damagedState = on(async ({ writer, feed, state }) => {
    await writer.send(state, ['k=1']);
    assert.equal((await feed.state()).get('k'), '1');
    await writer.sendRaw(state, 'k', '00000000:2');
    await assert.rejects(feed.state(), { kind: 'state_corrupt' });
    await assert.rejects(feed.state(), { kind: 'state_corrupt' });
  });
  test('damaged state is noticed', damagedState);
});

suite('being told', limits, () => {
  const sinceTheLastCall = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    await feed.changed(0, never);
    await writer.send(topic, ['x']);
    await feed.changed(20_000, never);
    assert.deepEqual(await valuesOf(feed, topic), ['x']);
    let told = false;
    const waiting = feed.changed(20_000, never).then(() => {
      told = true;
    });
    await sleep(300);
    assert.equal(told, false);
    await writer.transact([{ topic, values: ['y'] }], 'commit');
    await waiting;
    assert.deepEqual(await valuesNow(feed, topic, 1n), ['y']);
  });
  test('changed resolves for what came since the last call, and when something comes', sinceTheLastCall);

  const allWhoWait = on(async ({ writer, feed, state }) => {
    const topics = [await writer.makeTopic('a'), await writer.makeTopic('b')];
    for (const topic of topics) assert.deepEqual(await valuesOf(feed, topic), []);
    assert.equal((await feed.state()).size, 0);
    const both = async (): Promise<void> => {
      await Promise.all(topics.map(() => feed.changed(20_000, never)));
    };
    let waiting = both();
    const sends = topics.map((topic) => ({ topic, values: [topic] }));
    await writer.transact(sends, 'commit');
    await waiting;
    for (const topic of topics) assert.deepEqual(await valuesOf(feed, topic), [topic]);
    waiting = both();
    await writer.transact([{ topic: state, values: ['k=1'] }], 'commit');
    await waiting;
    while (!(await feed.state()).has('k')) await feed.changed(1000, never);
  });
  test('all who wait are told, each reads its own, and the state alone is news too', allWhoWait);

  const inPieces = on(async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    assert.deepEqual(await valuesOf(feed, topic), []);
    const values = numbered(8);
    for (const value of values.slice(0, 4)) await writer.transact([{ topic, values: [value] }], 'commit');
    await writer.transact([{ topic, values: ['lost'] }], 'abort');
    await feed.changed(20_000, never);
    for (const value of values.slice(4)) await writer.send(topic, [value]);
    // From what the question brought, in steps, then from the broker; and again, from the broker alone.
    for (let round = 0; round < 2; round++) {
      const found = await readAll(feed, topic, { from: 0n, maxBytes: 150 });
      assert.deepEqual(
        found.map(({ value }) => value),
        values,
      );
    }
  });
  test('what came with the news is read in steps, once, and what came after it follows', inPieces);

  const inTheEnd = on(async ({ feed, open }) => {
    const stop = new AbortController();
    const waiting = feed.changed(20_000, stop.signal);
    stop.abort();
    await waiting;
    await feed.changed(20_000, stop.signal);
    await feed.changed(30, never);
    const other = await open();
    const last = other.changed(20_000, never);
    await other.close();
    await last;
  });
  test('changed resolves when the signal aborts, the time is over, or the feed is closed', inTheEnd);
});
