// Owns the records of the state topic: what a key and a value look like, how damage is noticed, and which of
// them are the publisher's own. Knows no broker. Compaction keeps the newest record of each key.
import { VarveError } from '../../errors.ts';
import { codecById } from '../compression.ts';
import { crc32c } from '../crc32c.ts';
import type { StateRecord } from '../publisher.ts';
import { RecordBatchBuilder, readRecords } from '../record-batch.ts';

/** One partition: what is in it has one order. */
export const stateTopic = (prefix: string): string => `${prefix}.varve.state`;

/** Ids that Kafka fences by: one writer a prefix. */
export const transactionalId = (prefix: string): string => `${prefix}.varve`;

/** Keys that begin so are the publisher's; `toldState` leaves them out. */
const OWN = '.';

/** Where the newest transaction's batches are, by partition and sequence, so that a repair can find them. */
export const LAST_TRANSACTION = `${OWN}transaction`;

const PLACES_LAYOUT = 1;

/** A batch by the place of its first record in its writer's sequence of the partition. */
type WrittenPlace = { topic: string; partition: number; sequence: number; records: number };

/** Value of `LAST_TRANSACTION`; `n` tells one transaction of a writer from the next. */
export const printPlaces = (n: number, places: readonly WrittenPlace[]): string => {
  const batches = places.map(({ topic, partition, sequence, records }) => [
    topic,
    partition,
    sequence,
    records,
  ]);
  return JSON.stringify({ v: PLACES_LAYOUT, n, batches });
};

/** Throws `state_newer`. */
export const readPlaces = (text: string): WrittenPlace[] => {
  const { v, batches } = JSON.parse(text) as { v: number; batches: [string, number, number, number][] };
  if (v === PLACES_LAYOUT)
    return batches.map(([topic, partition, sequence, records]) => ({ topic, partition, sequence, records }));
  throw new VarveError(
    'state_newer',
    `The state record ${LAST_TRANSACTION} has layout ${v}; this Varve reads up to ${PLACES_LAYOUT}. ` +
      'Run the newer Varve that wrote it.',
    { facts: { key: LAST_TRANSACTION, layout: v } },
  );
};

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder('utf-8', { fatal: true }) };
const CHECKSUM_CHARS = 8;

/** Of key and text, so that a value under another key is damage as well. */
const checksum = (key: string, text: string): string =>
  crc32c(utf8.encoder.encode(`${key}\n${text}`))
    .toString(16)
    .padStart(CHECKSUM_CHARS, '0');

/** A batch is closed behind the record that reaches this: below what brokers take by default. */
const BATCH_BYTES = 1 << 19;

/** These in their order, uncompressed; a null value deletes the key. */
export const stateBatches = (
  records: readonly StateRecord[],
  nowMs: number,
): { batch: Uint8Array; records: number }[] => {
  const builder = new RecordBatchBuilder(4096);
  const batches: { batch: Uint8Array; records: number }[] = [];
  const close = (): void => {
    if (builder.records === 0) return;
    batches.push({ batch: builder.finish(), records: builder.records });
    builder.reset();
  };
  for (const { key, value } of records) {
    builder.beginRecord(nowMs);
    builder.beginKey();
    builder.writer.raw(utf8.encoder.encode(key));
    builder.endKey();
    if (value === null) builder.nullValue();
    else {
      builder.beginValue();
      builder.writer.raw(utf8.encoder.encode(`${checksum(key, value)}:${value}`));
      builder.endValue();
    }
    builder.endRecord();
    if (builder.size >= BATCH_BYTES) close();
  }
  close();
  return batches;
};

const corrupt = (offset: number, why: string): VarveError =>
  new VarveError(
    'state_corrupt',
    `The state record at offset ${offset} is damaged: ${why}. Nothing of it was used. Look who else writes ` +
      'to the state topic; without it, varve reset FILE and start again.',
    { facts: { offset } },
  );

const readText = (bytes: Uint8Array, offset: number): string => {
  try {
    return utf8.decoder.decode(bytes);
  } catch {
    throw corrupt(offset, 'it is no text');
  }
};

/** Moves `state` on by a batch's records at or behind `from`. Throws `state_corrupt`, `record_corrupt`. */
export const applyStateBatch = (state: Map<string, string>, batch: Uint8Array, from: bigint): void => {
  const visit: Parameters<typeof readRecords>[1] = (record) => {
    const { offset, bytes, keyStart, keyEnd, valueStart, valueEnd } = record;
    if (offset < from) return;
    if (keyStart < 0) throw corrupt(offset, 'it has no key');
    const key = readText(bytes.subarray(keyStart, keyEnd), offset);
    if (valueStart < 0) {
      state.delete(key);
      return;
    }
    const value = readText(bytes.subarray(valueStart, valueEnd), offset);
    const text = value.slice(CHECKSUM_CHARS + 1);
    if (value !== `${checksum(key, text)}:${text}`) throw corrupt(offset, 'its checksum does not fit');
    state.set(key, text);
  };
  readRecords(batch, visit, { codec: codecById });
};

/** What `state()` tells: without the publisher's own. */
export const toldState = (state: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...state].filter(([key]) => !key.startsWith(OWN)));
