// That one publisher writes a prefix at a time: who was taken over is told so, for good, and nothing it sends
// afterwards is seen; who was only slow goes on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KafkaClient } from '../../../src/topic/kafka/client.ts';
import type { Publisher } from '../../../src/topic/publisher.ts';
import { sharedKafka } from '../../support/kafka.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { API, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

const write = (publisher: Publisher, topic: string, value: string): Promise<void> =>
  publisher.write({ slices: [sliceOf(topic, [value])], state: [{ key: 'checkpoint', value }] });

const valuesOf = async (bench: KafkaBench, topic: string): Promise<string[]> => {
  const feed = await bench.openFeed();
  const values = await readValues(feed, topic);
  await feed.close();
  return values;
};

/** Lets every request of that kind wait until it is told to go on; resolves `reached` at the first one. */
const hold = (client: KafkaClient, key: number): { reached: Promise<void>; release: () => void } => {
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  cutLine(client, async (asked) => {
    if (asked !== key) return null;
    reached.resolve();
    await released.promise;
    return null;
  });
  return { reached: reached.promise, release: released.resolve };
};

const clientOf = async (): Promise<KafkaClient> => {
  const { brokers } = await sharedKafka();
  return KafkaClient.open({ brokers, clientId: 'test' });
};

test('a second one takes over: the first is fenced, and peeking fences nobody', {
  timeout: 60_000,
}, async () => {
  await using bench = await kafkaBench();
  const topic = bench.topic('a');
  const first = await bench.openPublisher();
  await first.ensureTopic(topic, { partitions: 1 });
  await write(first, topic, '1');
  const second = await bench.peek();
  assert.equal(second.state().get('checkpoint'), '1');
  await write(first, topic, '2');
  await second.recover();
  assert.equal(second.state().get('checkpoint'), '2');
  await second.ensureTopic(topic, { partitions: 1 });
  const late = write(first, topic, 'late');
  await assert.rejects(late, { kind: 'topic_busy' });
  await assert.rejects(write(first, topic, 'later'), { kind: 'topic_busy' });
  await assert.rejects(first.recover(), { kind: 'fenced' });
  await assert.rejects(write(first, topic, 'latest'));
  await write(second, topic, '3');
  assert.deepEqual(await valuesOf(bench, topic), ['1', '2', '3']);
  // Somebody was told, and wants this one to be it: from here on the other is fenced.
  await first.recover();
  assert.equal(first.state().get('checkpoint'), '3');
  await write(first, topic, '4');
  await assert.rejects(write(second, topic, 'late'), { kind: 'topic_busy' });
  await assert.rejects(second.recover(), { kind: 'fenced' });
  assert.deepEqual(await valuesOf(bench, topic), ['1', '2', '3', '4']);
  for (const one of [first, second]) await one.close();
});

for (const [name, key] of Object.entries(API).filter(([name]) => name !== 'initProducerId')) {
  test(`taken over in the middle of a transaction (${name}): nothing of it is seen`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await kafkaBench();
    await using other = await clientOf();
    const topic = bench.topic('a');
    const first = await bench.peek({ client: other });
    await first.recover();
    await first.ensureTopic(topic, { partitions: 1 });
    await write(first, topic, '1');
    const { reached, release } = hold(other, key);
    const slow = write(first, topic, 'slow');
    slow.catch(() => undefined);
    await reached;
    const second = await bench.openPublisher();
    await second.ensureTopic(topic, { partitions: 1 });
    await write(second, topic, '2');
    release();
    await assert.rejects(slow, { kind: 'topic_busy' });
    await assert.rejects(first.recover(), { kind: 'fenced' });
    await write(second, topic, '3');
    assert.deepEqual(await valuesOf(bench, topic), ['1', '2', '3']);
    for (const one of [first, second]) await one.close();
  });

  test(`slower than the transaction may take (${name}), and nobody took over: it goes on`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await kafkaBench();
    const topic = bench.topic('a');
    const publisher = await bench.peek({ transactionTimeoutMs: 1000, patienceMs: 900 });
    await publisher.recover();
    await publisher.ensureTopic(topic, { partitions: 1 });
    await write(publisher, topic, '1');
    const { reached, release } = hold(bench.client, key);
    const slow = write(publisher, topic, 'slow').then(
      () => 'durable',
      ({ kind }: { kind: string }) => kind,
    );
    await reached;
    // Before the first request there is no transaction whose time could pass.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    release();
    const expected = name === 'addPartitions' ? 'durable' : 'topic_busy';
    assert.equal(await slow, expected);
    await publisher.recover();
    assert.equal(publisher.state().get('checkpoint'), expected === 'durable' ? 'slow' : '1');
    await write(publisher, topic, '2');
    assert.deepEqual(await valuesOf(bench, topic), expected === 'durable' ? ['1', 'slow', '2'] : ['1', '2']);
    await publisher.close();
  });
}

test('two that start at once: one of them goes on, the other is fenced', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  await using other = await clientOf();
  const topic = bench.topic('a');
  const both = [await bench.peek(), await bench.peek({ client: other })];
  const started = await Promise.allSettled(both.map((one) => one.recover()));
  for (const one of both) await one.ensureTopic(topic, { partitions: 1 });
  const told: string[] = [];
  for (const [at, one] of both.entries()) {
    const outcome = await (started[at]?.status === 'rejected' ? one.recover() : Promise.resolve())
      .then(() => write(one, topic, String(at)))
      .catch(() => one.recover().then(() => write(one, topic, String(at))))
      .then(
        () => 'durable',
        ({ kind }: { kind: string }) => kind,
      );
    told.push(outcome);
  }
  assert.deepEqual(told.toSorted(), ['durable', 'fenced']);
  assert.deepEqual(await valuesOf(bench, topic), [String(told.indexOf('durable'))]);
  for (const one of both) await one.close();
});
