// That the publisher of Kafka keeps its promises while things go wrong at one of its requests: a failed write
// fails those behind it, nothing older than a recovery is published after it, and no write waits for ever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Reader } from '@platformatic/kafka';
import { createTopic } from '../../../src/topic/kafka/admin.ts';
import { unreachable } from '../../../src/topic/kafka/errors.ts';
import { stateTopic } from '../../../src/topic/kafka/state-topic.ts';
import type { Publisher } from '../../../src/topic/publisher.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { API, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

const ONE = { partitions: 1 };

const openWith = async (bench: KafkaBench, topics: readonly string[]): Promise<Publisher> => {
  const publisher = await bench.peek({ patienceMs: 2000, transactionTimeoutMs: 10_000 });
  await publisher.recover();
  for (const topic of topics) await publisher.ensureTopic(bench.topic(topic), ONE);
  return publisher;
};

/** What became of a promise, looked at later. */
const outcomeOf = (promise: Promise<void>): Promise<string> =>
  promise.then(
    () => 'durable',
    (error: { kind?: string }) => error.kind ?? String(error),
  );

const valuesOf = async (bench: KafkaBench, topic: string): Promise<string[]> => {
  const feed = await bench.openFeed();
  const values = await readValues(feed, bench.topic(topic));
  await feed.close();
  return values;
};

test('a write that is still looked at while another one fails is refused, and never published', {
  timeout: 60_000,
}, async () => {
  await using bench = await kafkaBench();
  const maker = await openWith(bench, ['a', 'b']);
  await maker.close();
  const publisher = await openWith(bench, ['a']);
  const cutter = cutLine(bench.client);
  // Topic b was not made by this publisher, so the write asks the brokers first, and those take their time.
  const { promise: looked, resolve: look } = Promise.withResolvers<void>();
  const topicOf = bench.client.topic.bind(bench.client);
  bench.client.topic = async (name) => {
    if (name === bench.topic('b')) await looked;
    return topicOf(name);
  };
  cutter.plan = (key) => (key === API.endTransaction ? 'unsent' : null);
  const [first, second] = ['a', 'b'].map((name) =>
    outcomeOf(publisher.write({ slices: [sliceOf(bench.topic(name), [name])], state: [] })),
  );
  assert.equal(await first, 'topic_unreachable');
  cutter.plan = () => null;
  const recovered = publisher.recover();
  await sleep(50);
  look();
  await recovered;
  assert.equal(await second, 'topic_unreachable');
  await publisher.write({ slices: [sliceOf(bench.topic('b'), ['later'])], state: [] });
  assert.deepEqual(await valuesOf(bench, 'a'), []);
  assert.deepEqual(await valuesOf(bench, 'b'), ['later']);
  await publisher.close();
});

test('a write that could not be looked at leaves no hole: those behind it are refused', {
  timeout: 60_000,
}, async () => {
  await using bench = await kafkaBench();
  const maker = await openWith(bench, ['a', 'b']);
  await maker.close();
  const publisher = await openWith(bench, ['a']);
  const topicOf = bench.client.topic.bind(bench.client);
  bench.client.topic = async (name) => {
    if (name === bench.topic('b')) throw unreachable('The line was cut.', false);
    return topicOf(name);
  };
  const write = (topic: string): Promise<string> =>
    outcomeOf(publisher.write({ slices: [sliceOf(bench.topic(topic), [topic])], state: [] }));
  assert.deepEqual(await Promise.all([write('b'), write('a')]), ['topic_unreachable', 'topic_unreachable']);
  bench.client.topic = topicOf;
  await publisher.recover();
  assert.deepEqual(await Promise.all([write('b'), write('a')]), ['durable', 'durable']);
  assert.deepEqual([await valuesOf(bench, 'a'), await valuesOf(bench, 'b')], [['a'], ['b']]);
  await publisher.close();
});

test('nothing is committed behind a commit that does not become visible', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  const publisher = await openWith(bench, ['a', 'b']);
  const write = (at: number, topic: string): Promise<string> =>
    outcomeOf(
      publisher.write({
        slices: [sliceOf(bench.topic(topic), [`${at}`])],
        state: [{ key: 'checkpoint', value: String(at) }],
      }),
    );
  assert.equal(await write(1, 'a'), 'durable');
  // As if the broker lost what it has acknowledged.
  const { request } = bench.client;
  const commits: number[] = [];
  let isLost = true;
  bench.client.request = async (node, api, send) => {
    if (api.key === API.endTransaction) commits.push(api.key);
    if (api.key !== API.endTransaction || !isLost) return request.call(bench.client, node, api, send);
    return Reader.from(Buffer.alloc(7));
  };
  const outcomes = [write(2, 'a'), sleep(100).then(() => write(3, 'b'))];
  assert.deepEqual(await Promise.all(outcomes), ['topic_busy', 'topic_busy']);
  assert.equal(commits.length, 1);
  assert.equal(publisher.state().get('checkpoint'), '1');
  isLost = false;
  await publisher.recover();
  assert.equal(publisher.state().get('checkpoint'), '1');
  assert.equal(await write(4, 'b'), 'durable');
  assert.deepEqual(await valuesOf(bench, 'a'), ['1']);
  assert.deepEqual(await valuesOf(bench, 'b'), ['4']);
  await publisher.close();
});

test('closed is closed: it refuses to take over again', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  const publisher = await openWith(bench, ['a']);
  const last = outcomeOf(publisher.write({ slices: [sliceOf(bench.topic('a'), ['x'])], state: [] }));
  await publisher.close();
  assert.equal(await last, 'durable');
  await assert.rejects(publisher.recover(), { kind: 'usage' });
});

test('a table that another instance added is looked at before it is written', {
  timeout: 60_000,
}, async () => {
  await using bench = await kafkaBench();
  const late = await bench.peek();
  const early = await openWith(bench, ['a']);
  const topic = bench.topic('a');
  await early.write({
    slices: [sliceOf(topic, ['1'])],
    state: [{ key: `schema/${topic}/1`, value: '{"v":1}' }],
  });
  await early.close();
  const asked = new Set<string>();
  const topicOf = bench.client.topic.bind(bench.client);
  bench.client.topic = (name) => {
    asked.add(name);
    return topicOf(name);
  };
  await late.recover();
  assert.ok(asked.has(topic));
  await late.close();
});

test('more state than a message may hold goes out in one write', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  const config = { 'cleanup.policy': 'compact', 'max.message.bytes': '1048588' };
  await createTopic(bench.client, stateTopic(bench.prefix), { partitions: 1, replication: null, config });
  const publisher = await openWith(bench, []);
  const state = Array.from({ length: 40 }, (_, at) => ({ key: `k${at}`, value: 'x'.repeat(50_000) }));
  await publisher.write({ slices: [], state });
  assert.equal(publisher.state().size, 40);
  await publisher.close();
  const again = await bench.openPublisher();
  assert.equal(again.state().size, 40);
  await again.close();
});
