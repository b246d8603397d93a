// Owns the records of the state topic: what a key and a value look like, how damage is noticed, and which of
// them are the publisher's own. Knows no broker. Compaction keeps the newest record of each key.
import { VarveError } from '../../errors.ts';
import { codecById } from '../compression.ts';
import { crc32c } from '../crc32c.ts';
import type { StateRecord } from '../publisher.ts';
import { RecordBatchBuilder, readRecords } from '../record-batch.ts';

/** One partition: what is in it has one order. */
export const stateTopic = (prefix: string): string => `${prefix}.varve.state`;

/** Keys that begin so are the publisher's; `toldState` leaves them out. */
const OWN = '.';

/** Where the newest transaction's batches are, by partition and sequence, so that a repair can find them. */
export const LAST_TRANSACTION = `${OWN}transaction`;

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder('utf-8', { fatal: true }) };
const CHECKSUM_CHARS = 8;

/** Of key and text, so that a value under another key is damage as well. */
const checksum = (key: string, text: string): string =>
  crc32c(utf8.encoder.encode(`${key}\n${text}`))
    .toString(16)
    .padStart(CHECKSUM_CHARS, '0');

/** One batch of these, uncompressed; a null value deletes the key. */
export const stateBatch = (records: readonly StateRecord[], nowMs: number): Uint8Array => {
  const builder = new RecordBatchBuilder(4096);
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
  }
  return builder.finish();
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
