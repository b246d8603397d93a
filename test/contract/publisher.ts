// Owns the contract of Publisher as a suite for every implementation.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Slice, StateRecord } from '../../src/topic/publisher.ts';
import type { MakeBench } from '../support/topic-bench.ts';
import { readValues, sliceOf } from '../support/topic-records.ts';

const ONE = { partitions: 1 };
const avro = (name: string): string => JSON.stringify({ type: 'fixed', name, size: 1 });

export const publisherContract = (name: string, make: MakeBench, { runs }: { runs: number }): void => {
  describe(`publisher: ${name}`, () => {
    test('one write brings all its slices and its state', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const [a, b] = [bench.topic('a'), bench.topic('b')];
      assert.equal((await publisher.ensureTopic(a, ONE)).partitions, 1);
      await publisher.ensureTopic(b, ONE);
      const slices = [sliceOf(a, ['1', '2']), sliceOf(b, ['3']), sliceOf(a, ['4'])];
      await publisher.write({ slices, state: [{ key: 'checkpoint', value: '{"v":1}' }] });
      assert.deepEqual([...publisher.state()], [['checkpoint', '{"v":1}']]);
      const feed = await bench.openFeed();
      assert.deepEqual(await readValues(feed, a), ['1', '2', '4']);
      assert.deepEqual(await readValues(feed, b), ['3']);
      assert.deepEqual([...(await feed.state())], [['checkpoint', '{"v":1}']]);
      await feed.close();
      await publisher.close();
    });

    test('writes that do not wait for each other keep the order of the calls', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const a = bench.topic('a');
      await publisher.ensureTopic(a, ONE);
      const resolved: number[] = [];
      const writes = Array.from({ length: 60 }, async (_, at) => {
        const state = [{ key: 'last', value: String(at) }];
        await publisher.write({ slices: [sliceOf(a, [`${at}`])], state });
        resolved.push(at);
      });
      await Promise.all(writes);
      const feed = await bench.openFeed();
      const expected = Array.from({ length: 60 }, (_, at) => at);
      assert.deepEqual(resolved, expected);
      assert.deepEqual(await readValues(feed, a), expected.map(String));
      assert.equal(publisher.state().get('last'), '59');
      await feed.close();
      await publisher.close();
    });

    test('a batch stays the caller’s: the same one may be written twice, to two topics', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const [a, b] = [bench.topic('a'), bench.topic('b')];
      for (const topic of [a, b]) await publisher.ensureTopic(topic, ONE);
      const slice = sliceOf(a, ['x']);
      const before = slice.batch.slice();
      const slices = [slice, slice, { ...slice, topic: b }];
      await Promise.all([publisher.write({ slices, state: [] }), publisher.write({ slices, state: [] })]);
      assert.deepEqual(slice.batch, before);
      const feed = await bench.openFeed();
      assert.deepEqual(await readValues(feed, a), ['x', 'x', 'x', 'x']);
      assert.deepEqual(await readValues(feed, b), ['x', 'x']);
      await feed.close();
      await publisher.close();
    });

    test('a refused write leaves no trace, and the next one goes on', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const a = bench.topic('a');
      await publisher.ensureTopic(a, ONE);
      const state = [{ key: 'k', value: 'v' }];
      const good = sliceOf(a, ['x']);
      const refused: [Slice, string][] = [
        [sliceOf(bench.topic('nowhere'), ['x']), 'usage'],
        [{ ...sliceOf(a, ['x']), partition: 1 }, 'usage'],
        [{ ...sliceOf(a, ['x', 'y']), records: 3 }, 'record_corrupt'],
      ];
      for (const [bad, kind] of refused) {
        await assert.rejects(publisher.write({ slices: [good, bad], state }), { kind });
      }
      assert.deepEqual([...publisher.state()], []);
      await publisher.write({ slices: [sliceOf(a, ['first'])], state });
      const feed = await bench.openFeed();
      assert.deepEqual(await readValues(feed, a), ['first']);
      await feed.close();
      await publisher.close();
    });

    test('a schema text has one id for ever, whatever the subject, however often asked for', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const subject = (at: number) => bench.topic(`subject-${at}`);
      const ids = await Promise.all(
        ['x', 'y', 'x', 'z', 'y'].map((text, at) => publisher.registerSchema(subject(at), avro(text))),
      );
      assert.equal(new Set(ids).size, 3);
      assert.deepEqual([ids[2], ids[4]], [ids[0], ids[1]]);
      assert.ok(ids.every((id) => Number.isInteger(id) && id > 0));
      await publisher.close();
      const again = await bench.openPublisher();
      assert.equal(await again.registerSchema(subject(9), avro('y')), ids[1]);
      const fresh = await again.registerSchema(subject(8), avro('new'));
      assert.ok(!ids.includes(fresh));
      const feed = await bench.openFeed();
      assert.equal(await feed.schema(ids[3] as number), avro('z'));
      assert.equal(await feed.schema(fresh), avro('new'));
      await assert.rejects(feed.schema(99_999), { kind: 'schema_unknown' });
      await feed.close();
      await again.close();
    });

    test('a topic is made once and keeps its id', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      const [a, b] = [bench.topic('a'), bench.topic('b')];
      await Promise.all([publisher.ensureTopic(a, ONE), publisher.ensureTopic(a, ONE)]);
      await publisher.ensureTopic(b, ONE);
      const feed = await bench.openFeed();
      const id = await feed.topicId(a);
      assert.notEqual(id, await feed.topicId(b));
      await publisher.close();
      const again = await bench.openPublisher();
      await again.ensureTopic(a, ONE);
      assert.equal(await feed.topicId(a), id);
      await feed.close();
      await again.close();
    });

    test('after close it refuses', async () => {
      await using bench = await make();
      const publisher = await bench.openPublisher();
      await publisher.close();
      await assert.rejects(publisher.write({ slices: [], state: [] }), { kind: 'usage' });
    });

    test('any history of writes and reopenings gives what a plain map and lists would', {
      timeout: 60_000,
    }, async () => {
      const key = fc.constantFrom('k1', 'k2', 'k3');
      const write = fc.record({
        slices: fc.array(
          fc.tuple(fc.constantFrom('a', 'b'), fc.array(fc.string(), { minLength: 1, maxLength: 3 })),
          {
            maxLength: 3,
          },
        ),
        state: fc.array(fc.record({ key, value: fc.option(fc.json({ maxDepth: 1 })) }), { maxLength: 2 }),
      });
      const history = fc.array(fc.oneof({ weight: 4, arbitrary: write }, fc.constant('reopen' as const)), {
        maxLength: 12,
      });
      await fc.assert(
        fc.asyncProperty(history, (steps) => replay(make, steps)),
        { numRuns: runs },
      );
    });
  });
};

type Step = 'reopen' | { slices: [topic: string, values: string[]][]; state: StateRecord[] };

const replay = async (make: MakeBench, steps: readonly Step[]): Promise<void> => {
  await using bench = await make();
  let publisher = await bench.openPublisher();
  const topics = new Map<string, string[]>([
    [bench.topic('a'), []],
    [bench.topic('b'), []],
  ]);
  const state = new Map<string, string>();
  for (const topic of topics.keys()) await publisher.ensureTopic(topic, ONE);
  const feed = await bench.openFeed();
  for (const step of steps) {
    if (step === 'reopen') {
      await publisher.close();
      publisher = await bench.openPublisher();
    } else {
      await publisher.write({
        slices: step.slices.map(([name, values]) => sliceOf(bench.topic(name), values)),
        state: step.state,
      });
      for (const [name, values] of step.slices) topics.get(bench.topic(name))?.push(...values);
      for (const { key, value } of step.state) {
        if (value === null) state.delete(key);
        else state.set(key, value);
      }
    }
    assert.deepEqual(new Map(publisher.state()), state);
    assert.deepEqual(await feed.state(), state);
  }
  for (const [topic, values] of topics) {
    const expected = values.map((value) => new TextDecoder().decode(Buffer.from(value)));
    assert.deepEqual(await readValues(feed, topic), expected);
  }
  await feed.close();
  await publisher.close();
};
