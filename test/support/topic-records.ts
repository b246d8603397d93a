// Owns small record batches for tests of topics: texts in, texts out.
import assert from 'node:assert/strict';
import type { Feed } from '../../src/topic/feed.ts';
import type { Slice } from '../../src/topic/publisher.ts';
import { RecordBatchBuilder, readRecords } from '../../src/topic/record-batch.ts';

export const sliceOf = (topic: string, values: readonly string[]): Slice => {
  const builder = new RecordBatchBuilder(256);
  for (const value of values) {
    builder.beginRecord(1_700_000_000_000);
    builder.nullKey();
    builder.beginValue();
    builder.writer.raw(new TextEncoder().encode(value));
    builder.endValue();
    builder.endRecord();
  }
  return { topic, partition: 0, batch: builder.finish(), records: values.length };
};

type ReadRecord = { offset: number; value: string };

export const recordsOf = (batches: readonly Uint8Array[], from = 0n): ReadRecord[] => {
  const found: ReadRecord[] = [];
  for (const batch of batches) {
    readRecords(batch, ({ offset, bytes, valueStart, valueEnd }) => {
      if (offset < from) return;
      found.push({ offset, value: new TextDecoder().decode(bytes.subarray(valueStart, valueEnd)) });
    });
  }
  return found;
};

/** Everything of a topic from `from` on, in steps of at most `maxBytes`. */
export const readAll = async (
  feed: Feed,
  topic: string,
  { from, maxBytes = 1 << 20 }: { from?: bigint; maxBytes?: number } = {},
): Promise<ReadRecord[]> => {
  const found: ReadRecord[] = [];
  let at = from ?? (await feed.ends(topic, 0)).start;
  for (;;) {
    const { batches, nextOffset } = await feed.read(topic, 0, { from: at, maxBytes });
    if (batches.length === 0) return found;
    for (const record of recordsOf(batches, at)) {
      assert.ok(record.offset > (found.at(-1)?.offset ?? -1), 'offsets rise');
      found.push(record);
    }
    at = nextOffset;
  }
};

export const readValues = async (feed: Feed, topic: string): Promise<string[]> =>
  (await readAll(feed, topic)).map(({ value }) => value);
