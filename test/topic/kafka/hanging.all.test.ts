// That a transaction which nobody will end stops the publisher, and that the repair aborts what was never
// committed, and nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeTransactionsV0, Reader, Writer } from '@platformatic/kafka';
import { abortHanging } from '../../../src/topic/kafka/hanging.ts';
import { stateTopic } from '../../../src/topic/kafka/state-topic.ts';
import { startKafka } from '../../support/kafka.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { API, cutLine } from '../../support/kafka-cut.ts';
import { leaveHanging, UNVERIFIED } from '../../support/kafka-hanging.ts';
import { openKafkaWriter } from '../../support/kafka-writer.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

let started: ReturnType<typeof startKafka> | undefined;
const broker = () => {
  started ??= startKafka({ settings: UNVERIFIED });
  return started;
};

type Case = { bench: KafkaBench; a: string; b: string; state: string; topics: string[] };

/** Two tables with one committed write each, of a publisher that is gone. */
const check = (title: string, body: (one: Case) => Promise<void>): void => {
  test(title, { timeout: 90_000 }, async () => {
    await using bench = await kafkaBench((await broker()).brokers);
    const publisher = await bench.openPublisher();
    const topics = ['a', 'b'].map((name) => bench.topic(name));
    const [a = '', b = ''] = topics;
    for (const topic of topics) await publisher.ensureTopic(topic, { partitions: 1 });
    const slices = [sliceOf(a, ['a1']), sliceOf(b, ['b1'])];
    const schemas = topics.map((topic) => ({ key: `schema/${topic}/1`, value: '{"v":1}' }));
    await publisher.write({ slices, state: [...schemas, { key: 'checkpoint', value: '1' }] });
    await publisher.close();
    await body({ bench, a, b, state: stateTopic(bench.prefix), topics });
  });
};

const valuesOf = async ({ bench, topics }: Case): Promise<string[][]> => {
  const feed = await bench.openFeed();
  const values = await Promise.all(topics.map((topic) => readValues(feed, topic)));
  await feed.close();
  return values;
};

const repair = ({ bench: { client, prefix }, topics }: Case) => abortHanging({ client, prefix, topics });

/** Goes on behind the repair as if nothing had been. */
const goOn = async (one: Case): Promise<void> => {
  const publisher = await one.bench.openPublisher();
  assert.equal(publisher.state().get('checkpoint'), '1');
  const slices = [sliceOf(one.a, ['a2']), sliceOf(one.b, ['b2'])];
  await publisher.write({ slices, state: [{ key: 'checkpoint', value: '2' }] });
  await publisher.close();
  assert.deepEqual(await valuesOf(one), [
    ['a1', 'a2'],
    ['b1', 'b2'],
  ]);
};

/** A coordinator's answer between its decision and the last marker. */
const saysPrepareCommit = (): Reader =>
  Reader.from(
    Writer.create()
      .appendInt32(0)
      .appendArray([0], (out) =>
        out
          .appendInt16(0)
          .appendString('any')
          .appendString('PrepareCommit')
          .appendInt32(60_000)
          .appendInt64(0n)
          .appendInt64(0n)
          .appendInt16(0)
          .appendArray([], () => undefined),
      )
      .appendTaggedFields(),
  );

const sorted = (found: readonly { topic: string }[]): string[] => found.map(({ topic }) => topic).sort();

check('stops the publisher, is aborted everywhere, and it goes on', async (one) => {
  const { bench, a, b, state } = one;
  const slices = [sliceOf(a, ['lost', 'lost']), sliceOf(b, ['lost'])];
  await leaveHanging(bench.client, bench.prefix, { slices, checkpoint: '9' });
  await assert.rejects(bench.openPublisher(), { kind: 'hanging_transaction' });
  assert.deepEqual(sorted((await repair(one)).aborted), [a, b, state].sort());
  await assert.rejects(repair(one), { kind: 'usage' });
  await goOn(one);
});

check('a repair that was killed in the middle is finished by the next one', async (one) => {
  const { bench, a, b, state } = one;
  for (const topics of [[a], [state], [a, b]]) {
    const slices = [sliceOf(a, ['lost']), sliceOf(b, ['lost'])];
    const left = { slices, checkpoint: '9', ended: { topics, commit: false } };
    await leaveHanging(bench.client, bench.prefix, left);
    assert.deepEqual(
      sorted((await repair(one)).aborted),
      [a, b, state].filter((topic) => !topics.includes(topic)).sort(),
    );
  }
  await goOn(one);
});

check('one that never came to its state is aborted too', async (one) => {
  const { bench, b } = one;
  const left = { slices: [sliceOf(b, ['lost'])], checkpoint: '9', isPartial: true };
  await leaveHanging(bench.client, bench.prefix, left);
  assert.deepEqual(sorted((await repair(one)).aborted), [b]);
  await goOn(one);
});

check('a committed one of the same writer right before it does not stand in the way', async (one) => {
  const { bench, a, b, state } = one;
  const before = [sliceOf(a, ['kept']), sliceOf(b, ['kept'])];
  await leaveHanging(bench.client, bench.prefix, {
    slices: [sliceOf(b, ['lost'])],
    checkpoint: '3',
    before,
  });
  assert.deepEqual(sorted((await repair(one)).aborted), [b, state].sort());
  assert.deepEqual(await valuesOf(one), [
    ['a1', 'kept'],
    ['b1', 'kept'],
  ]);
});

for (const where of ['a', 'state'] as const) {
  check(`committed in ${where}, open elsewhere: refused by name, and nothing is changed`, async (one) => {
    const { bench, a, b } = one;
    const slices = [sliceOf(a, ['2']), sliceOf(b, ['2'])];
    const ended = { topics: [one[where]], commit: true };
    await leaveHanging(bench.client, bench.prefix, { slices, checkpoint: '2', ended });
    for (let time = 0; time < 2; time++) {
      await assert.rejects(repair(one), {
        kind: 'hanging_transaction',
        message: new RegExp(`committed in partition 0 of ${one[where]}`),
      });
    }
    await assert.rejects(bench.openPublisher(), { kind: 'hanging_transaction' });
  });
}

check('of another writer: it is named and left alone', async (one) => {
  await using writer = await openKafkaWriter(await broker());
  const open = await writer.open([{ topic: one.a, values: ['theirs'] }]);
  await assert.rejects(repair(one), { kind: 'hanging_transaction', message: /is not this\s+pipeline's/ });
  await open.abort();
  await goOn(one);
});

check('nothing hangs: the repair says so', async (one) => {
  await assert.rejects(repair(one), { kind: 'usage' });
  await goOn(one);
});

check('about to end: the repair waits until its coordinator has said so everywhere', async (one) => {
  const { client } = one.bench;
  const pass = client.request.bind(client);
  let described = 0;
  client.request = async (node, api, write) =>
    api.key === describeTransactionsV0.api.key && described++ < 2
      ? saysPrepareCommit()
      : pass(node, api, write);
  await assert.rejects(repair(one), { kind: 'usage' });
  assert.equal(described, 3);
});

check('under way: its coordinator ends it, so the repair waits for that', async (one) => {
  const { bench, a } = one;
  const publisher = await bench.openPublisher();
  await publisher.ensureTopic(a, { partitions: 1 });
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  cutLine(bench.client, async (key) => {
    if (key !== API.endTransaction) return null;
    reach();
    await released;
    return null;
  });
  const written = publisher.write({ slices: [sliceOf(a, ['a2'])], state: [] });
  await reached;
  await assert.rejects(repair(one), { kind: 'hanging_transaction', message: /says Ongoing/ });
  release();
  await written;
  await publisher.close();
  assert.deepEqual(await valuesOf(one), [['a1', 'a2'], ['b1']]);
});
