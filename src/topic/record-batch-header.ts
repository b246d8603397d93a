// Owns the frame of Kafka's RecordBatch v2, https://kafka.apache.org/documentation/#recordbatch: where its
// fields are and whether it is whole. Knows no record.
import { VarveError } from '../errors.ts';
import { crc32c } from './crc32c.ts';

/** Byte offsets of the header's fields, all big-endian; the checksum covers everything from ATTRIBUTES on. */
export const AT = {
  baseOffset: 0,
  /** Counts the bytes behind itself. */
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
  records: 61,
} as const;

export const MAGIC = 2;

/** Bits of the attributes. */
export const CODEC = 7;
export const LOG_APPEND_TIME = 8;
/** Visible to a committed reader once its transaction is. */
export const TRANSACTIONAL = 16;
export const CONTROL = 32;
export type BatchHeader = {
  baseOffset: number;
  lastOffset: number;
  records: number;
  crc: number;
  baseTimestamp: number;
  maxTimestamp: number;
  attributes: number;
};

export const corruptBatch = (offset: number, why: string): VarveError =>
  new VarveError(
    'record_corrupt',
    `The record batch at offset ${offset} is damaged: ${why}. Nothing of it was used; restore the ` +
      'topic from a copy, or snapshot the table again.',
    { facts: { offset, reason: why } },
  );

/**
 * Offsets and times as numbers: both stay below 2^53. Throws `record_corrupt` when the frame itself is wrong.
 */
export const readBatchHeader = (batch: Uint8Array): BatchHeader => {
  if (batch.length < AT.records) throw corruptBatch(-1, `${batch.length} bytes are less than a header`);
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  const baseOffset = Number(view.getBigInt64(AT.baseOffset));
  const length = view.getInt32(AT.length) + AT.leaderEpoch;
  if (length !== batch.length)
    throw corruptBatch(baseOffset, `it says ${length} bytes and has ${batch.length}`);
  if (batch[AT.magic] !== MAGIC)
    throw corruptBatch(baseOffset, `its format is ${batch[AT.magic]}, not ${MAGIC}`);
  return {
    baseOffset,
    lastOffset: baseOffset + view.getInt32(AT.lastOffsetDelta),
    records: view.getInt32(AT.count),
    crc: view.getUint32(AT.crc),
    baseTimestamp: Number(view.getBigInt64(AT.baseTimestamp)),
    maxTimestamp: Number(view.getBigInt64(AT.maxTimestamp)),
    attributes: view.getInt16(AT.attributes),
  };
};

/** Throws `record_corrupt` when the checksum does not fit. The base offset is outside of it. */
export const verifyBatch = (batch: Uint8Array): BatchHeader => {
  const header = readBatchHeader(batch);
  if (header.crc !== crc32c(batch, AT.attributes))
    throw corruptBatch(header.baseOffset, 'its checksum does not fit');
  return header;
};

export const BASE_OFFSET_BYTES = AT.length;

/**
 * A batch's first field, which is outside of its checksum: put before the rest, it places the batch in its
 * topic.
 */
export const baseOffsetBytes = (offset: number): Uint8Array => {
  const bytes = new Uint8Array(BASE_OFFSET_BYTES);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(offset));
  return bytes;
};
