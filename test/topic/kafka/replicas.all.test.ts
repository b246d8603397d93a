// A partition that has too few replicas in sync takes nothing: the write waits, and is there once when they
// are back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTopic } from '../../../src/topic/kafka/admin.ts';
import { startKafka } from '../../support/kafka.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

test('too few replicas in sync: the write waits, and nothing is there twice', {
  timeout: 120_000,
}, async () => {
  await using cluster = await startKafka({ brokers: 3 });
  await using bench = await kafkaBench(cluster.brokers);
  const a = bench.topic('a');
  const config = { 'min.insync.replicas': '3' };
  await createTopic(bench.client, a, { partitions: 1, replication: 3, config });
  const publisher = await bench.peek({ replication: 3 });
  await publisher.recover();
  await publisher.ensureTopic(a, { partitions: 1 });
  await publisher.write({ slices: [sliceOf(a, ['before'])], state: [] });
  const leader = (await bench.client.topic(a))?.partitions[0]?.leader;
  const follower = leader === 1 ? 2 : 1;
  await cluster.kill(follower);
  let isDurable = false;
  // What the killed broker coordinated may fail the write; then who wrote begins anew, as capture does.
  const write = async (value: string): Promise<void> => {
    const deadline = performance.now() + 60_000;
    for (;;) {
      try {
        await publisher.recover();
        await publisher.write({ slices: [sliceOf(a, [value])], state: [{ key: 'last', value }] });
        return;
      } catch (thrown) {
        if (performance.now() > deadline) throw thrown;
        await publisher.recover().catch(() => undefined);
        if (publisher.state().get('last') === value) return;
        await sleep(100);
      }
    }
  };
  const waiting = write('waits').then(() => {
    isDurable = true;
  });
  await sleep(4000);
  assert.equal(isDurable, false);
  await cluster.restart(follower);
  await waiting;
  await write('after');
  const feed = await bench.openFeed();
  assert.deepEqual(await readValues(feed, a), ['before', 'waits', 'after']);
  await feed.close();
  await publisher.close();
});
