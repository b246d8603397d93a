// That a publisher whose coordinator dies right after it was asked for a new epoch is not taken for one that
// was taken over: the coordinator's successor no longer knows that the epoch was ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asVarveError } from '../../../src/errors.ts';
import { unreachable } from '../../../src/topic/kafka/errors.ts';
import { abortHanging } from '../../../src/topic/kafka/hanging.ts';
import { startKafka } from '../../support/kafka.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { API, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

test('the answer to its new epoch is lost with the broker: it goes on', { timeout: 120_000 }, async (t) => {
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
  // A single broker that is killed may lose the end of what was open: then it is taken back, as an operator
  // does.
  const mended = await publisher.recover().then(
    () => 0,
    async (thrown: unknown) => {
      assert.equal(asVarveError(thrown).kind, 'hanging_transaction');
      await abortHanging({ client: bench.client, prefix: bench.prefix, topics: [topic] });
      await publisher.recover();
      return 1;
    },
  );
  t.diagnostic(`hanging transactions taken back: ${mended}`);
  assert.equal(publisher.state().get('checkpoint'), '1');
  await write('2');
  const feed = await bench.openFeed();
  assert.deepEqual(await readValues(feed, topic), ['1', '2']);
  await feed.close();
  await publisher.close();
});
