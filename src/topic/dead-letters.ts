// Owns what becomes of records that no table can hold: kept as they are, each with its place and the reason.
import { COMPRESSIONS } from './compression.ts';
import type { Publisher } from './publisher.ts';
import { RecordBatchBuilder, sealRecords } from './record-batch.ts';

type DeadLetter = {
  partition: number;
  offset: bigint;
  key: Uint8Array | null;
  value: Uint8Array | null;
  reason: string;
};

const utf8 = new TextEncoder();
const REASON = utf8.encode('varve.reason');
const KEY = utf8.encode('varve.key');

export type Graveyard = Pick<Publisher, 'ensureTopic' | 'write' | 'close'>;

type Burying = { graveyard: Graveyard; prefix: string; nowMs: () => number };

/**
 * Key `topic/partition/offset`, the original bytes as value, those of its key as a header. At least once:
 * a record may be buried again after a crash.
 */
export const writeDeadLetters = async (
  { graveyard, prefix, nowMs }: Burying,
  topic: string,
  dead: readonly DeadLetter[],
): Promise<void> => {
  const grave = `${prefix}.varve.dead`;
  await graveyard.ensureTopic(grave, { partitions: 1 });
  const builder = new RecordBatchBuilder();
  for (const { partition, offset, key, value, reason } of dead) {
    builder.beginRecord(nowMs());
    builder.beginKey();
    builder.writer.raw(utf8.encode(`${topic}/${partition}/${offset}`));
    builder.endKey();
    if (value === null) builder.nullValue();
    else {
      builder.beginValue();
      builder.writer.raw(value);
      builder.endValue();
    }
    builder.beginHeaders(key === null ? 1 : 2);
    builder.header(REASON, utf8.encode(reason));
    if (key !== null) builder.header(KEY, key);
    builder.endRecord();
  }
  const batch = await sealRecords(builder.take(), COMPRESSIONS.zstd);
  await graveyard.write({ slices: [{ topic: grave, partition: 0, batch, records: dead.length }], state: [] });
};
