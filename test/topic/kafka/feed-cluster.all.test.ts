// That the feed of Kafka reads on, every record once and in order, while brokers die and leaders change; and
// that it stops when the cluster lost what was read before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Feed } from '../../../src/topic/feed.ts';
import { startKafka } from '../../support/kafka.ts';
import { withKafkaFeed } from '../../support/kafka-feed.ts';
import { openKafkaWriter } from '../../support/kafka-writer.ts';
import { recordsOf } from '../../support/topic-records.ts';

const never = new AbortController().signal;
const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, at) => `${from + at}`);

/** In small steps until that many are there. */
const readUntil = async (feed: Feed, topic: string, count: number): Promise<string[]> => {
  const values: string[] = [];
  for (let from = 0n; values.length < count; ) {
    const { batches, nextOffset } = await feed.read(topic, 0, { from, maxBytes: 200 });
    values.push(...recordsOf(batches, from).map(({ value }) => value));
    if (nextOffset === from) await feed.changed(500, never);
    from = nextOffset;
  }
  return values;
};

test('a broker that is killed and comes back while it is read and written', {
  timeout: 120_000,
}, async () => {
  await using broker = await startKafka();
  await withKafkaFeed(broker, async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a');
    for (let at = 0; at < 100; at += 10) {
      await writer.transact([{ topic, values: ['lost'] }], 'abort');
      await writer.transact([{ topic, values: numbered(at, at + 10) }], 'commit');
    }
    // Decided before the kill: a broker that dies while it decides may leave a transaction hanging.
    await feed.ends(topic, 0);
    const reading = readUntil(feed, topic, 400);
    for (let at = 100; at < 400; at += 10) {
      const sending = writer.send(topic, numbered(at, at + 10));
      if (at === 200) {
        await broker.kill();
        await sleep(500);
        await broker.restart();
      }
      await sending;
    }
    assert.deepEqual(await reading, numbered(0, 400));
    assert.deepEqual(await feed.ends(topic, 0), { start: 0n, end: 430n });
  });
});

test('three brokers whose leader dies, twice, and a log that was cut behind what was read', {
  timeout: 180_000,
}, async () => {
  await using broker = await startKafka({ brokers: 3 });
  await withKafkaFeed(broker, async ({ writer, feed }) => {
    const topic = await writer.makeTopic('a', { nodes: [1, 2, 3], settings: { 'min.insync.replicas': '2' } });
    const reading = readUntil(feed, topic, 300);
    for (let at = 0; at < 300; at += 10) {
      const sends = [{ topic, values: numbered(at, at + 10) }];
      await (at % 20 ? writer.transact(sends, 'commit') : writer.send(topic, numbered(at, at + 10)));
      if (at === 100) await broker.kill(1);
      if (at === 150) await broker.restart(1);
      if (at === 250) await broker.kill(2);
    }
    assert.deepEqual(await reading, numbered(0, 300));
    await broker.restart(2);
  });
  await withKafkaFeed(broker, async ({ writer, feed, open }) => {
    const settings = { 'min.insync.replicas': '1', 'unclean.leader.election.enable': 'true' };
    const topic = await writer.makeTopic('a', { nodes: [1, 2], settings });
    await writer.send(topic, ['kept']);
    await broker.kill(2);
    await writer.send(topic, ['lost', 'lost']);
    const { nextOffset } = await feed.read(topic, 0, { from: 0n, maxBytes: 1 << 20 });
    assert.equal(nextOffset, 3n);
    await broker.kill(1);
    await broker.restart(2);
    // The one before is told that its last records are missing, and gives up.
    await using another = await openKafkaWriter(broker);
    await another.send(topic, numbered(0, 10));
    const lost = { kind: 'offset_lost' };
    await assert.rejects(feed.read(topic, 0, { from: 3n, maxBytes: 1 << 20 }), lost);
    // Whoever did not read it before cannot know, unless the log is shorter now.
    const other = await open();
    await other.ends(topic, 0);
    assert.equal((await other.read(topic, 0, { from: 3n, maxBytes: 1 << 20 })).nextOffset, 11n);
    await assert.rejects(other.read(topic, 0, { from: 12n, maxBytes: 1 << 20 }), lost);
  });
});
