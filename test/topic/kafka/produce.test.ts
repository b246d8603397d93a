// Owns the laws of the Produce call: a stamped batch is what independent readers take it for, the sequence
// wraps as brokers count it, and the wire's two directions mean what the protocol's page says.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { crc32c, Reader, Writer } from '@platformatic/kafka';
import fc from 'fast-check';
import {
  nextSequence,
  readProduced,
  type Sequenced,
  stampHeader,
  writeProduce,
} from '../../../src/topic/kafka/produce.ts';
import { AT } from '../../../src/topic/record-batch-header.ts';
import { sliceOf } from '../../support/topic-records.ts';

type KafkajsBatch = {
  records: { value: Buffer; offset: string }[];
  producerId: string;
  producerEpoch: number;
  firstSequence: number;
  inTransaction: boolean;
  isControlBatch: boolean;
};
const require = createRequire(import.meta.url);
const KafkajsDecoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => object;
const decodeByKafkajs = require('kafkajs/src/protocol/recordBatch/v0/decoder.js') as (
  decoder: object,
) => Promise<KafkajsBatch>;

const MOST = 2 ** 31 - 1;
const values = fc.array(fc.string(), { minLength: 1, maxLength: 5 });
const producer = fc.record({
  transactionalId: fc.option(fc.string()),
  id: fc.bigInt({ min: 0n, max: 2n ** 62n }),
  epoch: fc.integer({ min: 0, max: 32_767 }),
});
const sequenced = fc
  .record({ topic: fc.constantFrom('a', 'b', 'c'), values, sequence: fc.integer({ min: 0, max: MOST }) })
  .map(({ topic, values: texts, sequence }): Sequenced => ({ ...sliceOf(topic, texts), sequence }));

test('independent readers find the stamp, the records and a checksum that fits', async () => {
  await fc.assert(
    fc.asyncProperty(sequenced, producer, async (slice, who) => {
      const before = Buffer.from(slice.batch);
      const bytes = Buffer.concat([stampHeader(slice, who), slice.batch.subarray(AT.records)]);
      assert.deepEqual(Buffer.from(slice.batch), before);
      assert.equal(bytes.readUInt32BE(AT.crc), crc32c(bytes.subarray(AT.attributes)) >>> 0);
      const read = await decodeByKafkajs(new KafkajsDecoder(bytes));
      assert.equal(read.producerId, String(who.id));
      assert.equal(read.producerEpoch, who.epoch);
      assert.equal(read.firstSequence, slice.sequence);
      assert.equal(read.inTransaction, who.transactionalId !== null);
      assert.equal(read.isControlBatch, false);
      const plain = await decodeByKafkajs(new KafkajsDecoder(before));
      const [found, expected] = [read, plain].map(({ records }) =>
        records.map(({ offset, value }) => ({ offset, value })),
      );
      assert.deepEqual(found, expected);
    }),
  );
});

/** As the brokers count: org.apache.kafka.common.record.DefaultRecordBatch.incrementSequence, in 32 bits. */
const brokersNext = (sequence: number, increment: number): number =>
  sequence > MOST - increment ? increment - (MOST - sequence) - 1 : sequence + increment;

test('the sequence wraps as the brokers count it, near the wrap and everywhere', () => {
  const sequence = fc.oneof(fc.integer({ min: 0, max: MOST }), fc.integer({ min: MOST - 20, max: MOST }));
  const counts = fc.array(fc.integer({ min: 1, max: 1 << 20 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(sequence, counts, (first, steps) => {
      let [ours, theirs] = [first, first];
      for (const step of steps) {
        ours = nextSequence(ours, step);
        theirs = brokersNext(theirs, step);
        assert.equal(ours, theirs);
        assert.ok(ours >= 0 && ours <= MOST);
      }
      const sum = steps.reduce((total, step) => total + step, 0);
      assert.equal(ours, nextSequence(first, sum));
    }),
  );
  assert.deepEqual([nextSequence(MOST, 1), nextSequence(MOST - 1, 3), nextSequence(0, 1)], [0, 1, 1]);
});

test('the request reads back, field by field', () => {
  const batches = fc.uniqueArray(sequenced, { minLength: 1, selector: ({ topic }) => topic });
  fc.assert(
    fc.property(batches, producer, fc.integer({ min: 0, max: 100_000 }), (slices, who, timeoutMs) => {
      const out = Writer.create();
      writeProduce(out, slices, { producer: who, timeoutMs });
      const from = Reader.from(out.dynamicBuffer.buffer);
      assert.equal(from.readNullableString(), who.transactionalId);
      assert.equal(from.readInt16(), -1);
      assert.equal(from.readInt32(), timeoutMs);
      const read = from.readArray((topics) => {
        const topic = topics.readString();
        const partitions = topics.readArray((one) => {
          return { partition: one.readInt32(), batch: one.readBytes() };
        });
        return partitions.map((one) => ({ topic, ...one }));
      });
      from.readTaggedFields();
      assert.equal(from.remaining, 0);
      const expected = slices.map((slice) => {
        const batch = Buffer.concat([stampHeader(slice, who), slice.batch.subarray(AT.records)]);
        return { topic: slice.topic, partition: 0, batch };
      });
      assert.deepEqual(read?.flat(), expected);
    }),
  );
});

test('the answer reads as it was written, notes of single records included', () => {
  const answered = fc.record({
    topic: fc.constantFrom('a', 'b'),
    partition: fc.integer({ min: 0, max: 1000 }),
    code: fc.integer({ min: -1, max: 130 }),
    offset: fc.bigInt({ min: -1n, max: 2n ** 62n }),
    message: fc.option(fc.string({ minLength: 1 })),
    notes: fc.array(fc.option(fc.string({ minLength: 1 })), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(answered), (answers) => {
      const topics = [...Map.groupBy(answers, ({ topic }) => topic)];
      const out = Writer.create().appendArray(topics, (writer, [topic, those]) => {
        writer.appendString(topic).appendArray(those, (one, { partition, code, offset, message, notes }) => {
          one.appendInt32(partition).appendInt16(code).appendInt64(offset).appendInt64(-1n).appendInt64(0n);
          one.appendArray(notes, (note, text, at) => void note.appendInt32(at).appendString(text));
          one.appendString(message);
        });
      });
      out.appendInt32(0).appendTaggedFields();
      const expected = topics.flatMap(([topic, those]) =>
        those.map(({ partition, code, offset, message, notes }) => {
          const texts = [message, ...notes].filter((text) => text !== null);
          return { topic, partition, code, offset, message: texts.join('; ') };
        }),
      );
      assert.deepEqual(readProduced(Reader.from(out.dynamicBuffer.buffer)), expected);
    }),
  );
});
