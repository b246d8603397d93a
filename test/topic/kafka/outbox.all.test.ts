// What an outbox publishes on a real broker: partitions as Kafka's own clients choose them, every compression
// taken by the broker and read by another client, records below the topic's bound however much waits.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { type Consumer, Kafka, Partitioners } from 'kafkajs';
import { COMPRESSIONS } from '../../../src/topic/compression.ts';
import { createTopic } from '../../../src/topic/kafka/admin.ts';
import type { OutboxOptions } from '../../../src/topic/outbox-options.ts';
import { type Codec, sealRecords } from '../../../src/topic/record-batch.ts';
import { sharedKafka } from '../../support/kafka.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { begin, flush, openOutbox, write } from '../../support/outbox-bench.ts';
import { plainTable, TYPE } from '../../support/plain-table.ts';

const require = createRequire(import.meta.url);
const kafkajs = require('kafkajs') as { CompressionCodecs: Record<number, unknown> };
const others = createRequire(require.resolve('@platformatic/kafka'))('@platformatic/wasm-utils') as Record<
  'lz4Decompress' | 'snappyDecompress',
  (bytes: Buffer) => Buffer
>;
const { zstdDecompressSync } = process.getBuiltinModule('node:zlib');
const reads = (decompress: (bytes: Buffer) => Buffer) => () => ({
  compress: () => Promise.reject(new Error('only read')),
  decompress: async (bytes: Buffer) => decompress(bytes),
});
Object.assign(kafkajs.CompressionCodecs, {
  2: reads(others.snappyDecompress),
  3: reads(others.lz4Decompress),
  4: reads((bytes) => zstdDecompressSync(bytes)),
});

const TABLE = plainTable({ name: ['s', 't'], columns: { id: TYPE.int, v: TYPE.text }, key: ['id'] });

type Rows = readonly (readonly [id: number, text: string])[];

const publish = async (
  bench: KafkaBench,
  rows: Rows,
  { codec, ...more }: Partial<OutboxOptions> & { codec: Codec | null },
): Promise<void> => {
  const publisher = await bench.openPublisher();
  const now = { nowUs: () => BigInt(Date.now()) * 1000n, prefix: bench.prefix };
  const pack: OutboxOptions['pack'] = (taken) => sealRecords(taken, codec);
  const writing = await begin(openOutbox(publisher, { ...now, pack, ...more }), TABLE);
  for (const [id, text] of rows) write(writing, { after: [`${id}`, text] });
  await flush(writing);
  await publisher.close();
};

type Seen = { partition: number; key: Buffer; value: Buffer; order: string };

const consume = async (topic: string, count: number): Promise<Seen[]> => {
  const { brokers } = await sharedKafka();
  const kafka = new Kafka({ brokers: [...brokers], logLevel: 0 });
  const consumer: Consumer = kafka.consumer({ groupId: `g-${topic}`, readUncommitted: false });
  const seen: Seen[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
      void consumer.run({
        eachMessage: async ({ partition, message: { key, value, headers } }) => {
          const order = String(headers?.['varve.order']);
          seen.push({ partition, key: key ?? Buffer.of(), value: value ?? Buffer.of(), order });
          if (seen.length === count) resolve();
        },
      });
    });
  } finally {
    await consumer.disconnect();
  }
  return seen;
};

const ROWS: Rows = Array.from({ length: 400 }, (_, at) => [(at * 37) % 101, `value ${at} `.repeat(20)]);

for (const [name, codec] of Object.entries(COMPRESSIONS)) {
  test(`compressed with ${name}: the broker takes it, and another client finds and reads it`, async () => {
    await using bench = await kafkaBench();
    await publish(bench, ROWS, { codec, partitionsOf: () => 6 });
    const topic = `${bench.prefix}.s.t`;
    const seen = await consume(topic, ROWS.length);
    const partitioner = Partitioners.DefaultPartitioner();
    const partitionMetadata = Array.from({ length: 6 }, (_, partitionId) => {
      return { partitionId, partitionErrorCode: 0, leader: 1, replicas: [1], isr: [1], offlineReplicas: [] };
    });
    for (const { key, partition } of seen)
      assert.equal(partitioner({ topic, partitionMetadata, message: { key, value: null } }), partition);
    assert.ok(new Set(seen.map(({ partition }) => partition)).size > 1);
    const sorted = seen.toSorted((a, b) => (a.order < b.order ? -1 : 1));
    assert.deepEqual(
      sorted.map(({ value }, at) => value.includes(ROWS[at]?.[1] ?? '')),
      ROWS.map(() => true),
    );
    for (const list of Map.groupBy(seen, ({ partition }) => partition).values()) {
      const orders = list.map(({ order }) => order);
      assert.deepEqual(orders, orders.toSorted());
    }
  });
}

test('however much waits, the broker refuses no batch, and a record beyond its bound stops', async () => {
  await using bench = await kafkaBench();
  const config = { 'max.message.bytes': '1048588' };
  const topic = `${bench.prefix}.s.t`;
  await createTopic(bench.client, topic, { partitions: 1, replication: 1, config });
  const noise = (length: number): string =>
    Array.from({ length }, (_, at) =>
      String.fromCharCode(33 + ((Math.imul(at + 7, 0x9e3779b1) >>> 25) % 90)),
    ).join('');
  const rows: Rows = Array.from({ length: 12 }, (_, at) => [at, noise(400_000 + at)]);
  await publish(bench, rows, { codec: null });
  assert.equal((await consume(topic, rows.length)).length, rows.length);
  const large: Rows = [[1, noise(1_100_000)]];
  await assert.rejects(publish(bench, large, { codec: null }), {
    kind: 'record_too_large',
    message: /\{"id":1\}/,
  });
});
