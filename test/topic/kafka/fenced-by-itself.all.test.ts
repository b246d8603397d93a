// That a publisher whose coordinator dies right after it was asked for a new epoch is not taken for one that
// was taken over: the coordinator's successor no longer knows that the epoch was ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unreachable } from '../../../src/topic/kafka/errors.ts';
import { startKafka } from '../../support/kafka.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { API, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

test('the answer to its new epoch is lost with the broker: it goes on', { timeout: 120_000 }, async () => {
  await using broker = await startKafka();
  await using bench = await kafkaBench(broker.brokers);
  const publisher = await bench.openPublisher();
  const topic = bench.topic('a');
  await publisher.ensureTopic(topic, { partitions: 1 });
  const write = (value: string): Promise<void> =>
    publisher.write({ slices: [sliceOf(topic, [value])], state: [{ key: 'checkpoint', value }] });
  await write('1');
  const cutter = cutLine(bench.client);
  cutter.plan = (key) => (key === API.endTransaction && cutter.cuts === 0 ? 'unsent' : null);
  await assert.rejects(write('lost'), { kind: 'topic_unreachable' });
  const restarts: Promise<void>[] = [];
  const { request } = bench.client;
  bench.client.request = async (node, api, send) => {
    const answer = await request(node, api, send);
    if (api.key !== API.initProducerId || restarts.length > 0) return answer;
    restarts.push(broker.kill().then(() => broker.restart()));
    await restarts[0];
    bench.client.drop();
    throw unreachable('The broker died with its answer.', true);
  };
  await publisher.recover();
  assert.equal(publisher.state().get('checkpoint'), '1');
  await write('2');
  const feed = await bench.openFeed();
  assert.deepEqual(await readValues(feed, topic), ['1', '2']);
  await feed.close();
  await publisher.close();
});
