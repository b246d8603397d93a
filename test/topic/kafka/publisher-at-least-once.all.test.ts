// That without transactions a write goes out in an order that a kill may interrupt anywhere: what a record
// needs is there before it, and the checkpoint only behind it. Some comes twice then, and nothing is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AtomicWrite, Publisher } from '../../../src/topic/publisher.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { API, type Cut, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

const open = async (bench: KafkaBench): Promise<Publisher> => {
  const publisher = await bench.peek({ delivery: 'at_least_once', patienceMs: 400 });
  await publisher.recover();
  for (const name of ['a', 'b']) await publisher.ensureTopic(bench.topic(name), { partitions: 1 });
  return publisher;
};

const writeOf = ({ topic }: KafkaBench): AtomicWrite => ({
  slices: ['a', 'b'].map((name) => sliceOf(topic(name), ['1', '2'])),
  state: [
    { key: 'checkpoint', value: '1' },
    { key: `schema/${topic('a')}/1`, value: '{"v":1}' },
  ],
});

const valuesOf = async (bench: KafkaBench): Promise<string[][]> => {
  const feed = await bench.openFeed();
  const values = await Promise.all(['a', 'b'].map((name) => readValues(feed, bench.topic(name))));
  await feed.close();
  return values;
};

/**
 * What is there when the write ends at its `step`-th request, and how often each record is there once it
 * came again.
 */
const cases: readonly { step: number; keys: string[]; times: number }[] = [
  { step: 1, keys: [], times: 1 },
  { step: 2, keys: ['schema'], times: 1 },
  { step: 3, keys: ['schema'], times: 2 },
  { step: 4, keys: ['schema', 'checkpoint'], times: 1 },
];

for (const { step, keys, times } of cases) {
  test(`killed at step ${step} of a write: ${times > 1 ? 'it is repeated' : 'nothing is repeated'}`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await kafkaBench();
    const killed = await open(bench);
    const cutter = cutLine(bench.client);
    let requests = 0;
    cutter.plan = (key) => (key === API.produce && ++requests >= step ? 'unsent' : null);
    const written = killed.write(writeOf(bench));
    if (step < 4) await assert.rejects(written, { kind: 'topic_unreachable' });
    else await written;
    cutter.plan = () => null;
    const publisher = await open(bench);
    const found = [...publisher.state().keys()].map((key) => key.split('/')[0]);
    assert.deepEqual(found, keys);
    if (!publisher.state().has('checkpoint')) await publisher.write(writeOf(bench));
    assert.equal(publisher.state().get('checkpoint'), '1');
    const expected = Array.from({ length: times }, () => ['1', '2']).flat();
    assert.deepEqual(await valuesOf(bench), [expected, expected]);
    for (const one of [killed, publisher]) await one.close();
  });
}

test('answers that get lost double nothing while the publisher lives', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  const publisher = await open(bench);
  const cutter = cutLine(bench.client);
  const kinds: readonly Cut[] = ['unsent', 'under_way', 'answered'];
  let requests = 0;
  cutter.plan = (key) => (key === API.produce ? (kinds[++requests % 5] ?? null) : null);
  const expected: string[] = [];
  for (let at = 0; at < 12; at++) {
    const state = [{ key: 'checkpoint', value: String(at) }];
    await publisher.write({ slices: [sliceOf(bench.topic('a'), [`${at}`])], state });
    expected.push(`${at}`);
  }
  assert.ok(cutter.cuts > 6, `${cutter.cuts} cuts`);
  cutter.plan = () => null;
  assert.deepEqual(await valuesOf(bench), [expected, []]);
  await publisher.close();
});
