// Owns Kafka's RecordBatch v2: writes records in place, one behind the other, and visits them again. Knows no
// topic, no schema, no compression library.
import { VarveError } from '../errors.ts';
import { ByteWriter } from './byte-writer.ts';
import { crc32c } from './crc32c.ts';
import {
  AT,
  type BatchHeader,
  CODEC,
  CONTROL,
  corruptBatch,
  MAGIC,
  readBatchHeader,
  verifyBatch,
} from './record-batch-header.ts';
import { RecordView } from './record-batch-view.ts';
import { SpareBuffers } from './spare-buffers.ts';

export type Codec = {
  /** As the batch's attributes carry it: 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
  readonly id: number;
  /** `bytes` must stay as they are until it resolves. */
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  decompress(bytes: Uint8Array): Uint8Array;
};

/** Lengths are written before what they measure, so they have a fixed width: a varint may be padded. */
const LENGTH_BYTES = 4;
const MAX_LENGTH = 2 ** (7 * LENGTH_BYTES - 1) - 1;

/** The longest record that the builder can write, whatever its topic takes. */
export const MAX_RECORD_BYTES = MAX_LENGTH + LENGTH_BYTES;

const tooLarge = (bytes: number, limit: number): VarveError =>
  new VarveError(
    'record_too_large',
    `A record, its key or its value has ${bytes} bytes; its topic takes at most ${limit}. Leave the column ` +
      'out of the capture, shorten the value at the source, or let the topic take more.',
    { facts: { bytes, limit } },
  );

const patchLength = (bytes: Uint8Array, at: number, length: number): void => {
  if (length > MAX_LENGTH) throw tooLarge(length, MAX_LENGTH);
  const zigzag = length << 1;
  bytes[at] = (zigzag & 0x7f) | 0x80;
  bytes[at + 1] = ((zigzag >>> 7) & 0x7f) | 0x80;
  bytes[at + 2] = ((zigzag >>> 14) & 0x7f) | 0x80;
  bytes[at + 3] = zigzag >>> 21;
};

/** Whole records that a builder gave away, and what their batch says of them. */
export type TakenRecords = {
  readonly writer: ByteWriter;
  readonly records: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
};

/** Stands in for the buffer of a builder that has none yet: an idle partition costs nothing. */
const NO_BUFFER = new ByteWriter(AT.records);
NO_BUFFER.pos = AT.records;

type BuilderOptions = {
  /** A batch is cut before the record that would make it larger than this, uncompressed, header included. */
  maxBytes?: number;
  /** A larger record is refused, its own length included. */
  maxRecordBytes?: number;
  /** Shared by builders of one owner, as `meter` is. */
  spares?: SpareBuffers;
  /** Bytes of whole records; its owner sets it back. */
  meter?: { bytes: number };
};

/**
 * Records go straight into `writer`: beginRecord, (beginKey, write, endKey | nullKey), (beginValue, write,
 * endValue | nullValue), optionally beginHeaders and that many `header`, then endRecord. The order is the
 * caller's duty. `writer` is the record's from its begin to its end; the next one may have another.
 */
export class RecordBatchBuilder {
  writer: ByteWriter = NO_BUFFER;
  readonly #spares: SpareBuffers;
  readonly #meter: { bytes: number };
  readonly #maxBytes: number;
  readonly #maxRecordBytes: number;
  /** What the next new buffer begins with. */
  #capacity: number;
  /** Batches that were cut. */
  readonly #full: TakenRecords[] = [];
  #records = 0;
  #baseTimestamp = 0;
  #maxTimestamp = 0;
  /** Where the record being written starts; -1: none. */
  #record = -1;
  #timestamp = 0;
  #part = 0;
  #headers = false;

  constructor(capacity = 1 << 20, options: BuilderOptions = {}) {
    this.#capacity = capacity;
    this.#spares = options.spares ?? new SpareBuffers();
    this.#meter = options.meter ?? { bytes: 0 };
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#maxRecordBytes = options.maxRecordBytes ?? MAX_RECORD_BYTES;
  }

  /** Whole records so far of the batch under way. */
  get records(): number {
    return this.#records;
  }

  /** Its bytes so far, uncompressed, header included. */
  get size(): number {
    return this.writer.pos;
  }

  /** `timestampMs`: milliseconds since 1970-01-01 UTC, whole. */
  beginRecord(timestampMs: number): void {
    if (this.#record >= 0) throw new Error('the record before this one was neither ended nor rolled back');
    if (this.#records === 0) this.#beginBatch(timestampMs);
    const { writer } = this;
    this.#record = writer.pos;
    this.#timestamp = timestampMs;
    this.#headers = false;
    writer.ensure(LENGTH_BYTES + 1);
    writer.pos += LENGTH_BYTES;
    writer.byte(0);
    writer.long(timestampMs - this.#baseTimestamp);
    writer.long(this.#records);
  }

  beginKey(): void {
    this.#beginPart();
  }

  endKey(): void {
    this.#endPart();
  }

  nullKey(): void {
    this.writer.long(-1);
  }

  beginValue(): void {
    this.#beginPart();
  }

  endValue(): void {
    this.#endPart();
  }

  nullValue(): void {
    this.writer.long(-1);
  }

  beginHeaders(count: number): void {
    this.writer.long(count);
    this.#headers = true;
  }

  header(name: Uint8Array, value: Uint8Array): void {
    this.writer.prefixed(name);
    this.writer.prefixed(value);
  }

  /** Throws `record_too_large`, with the record still begun; a batch that is full was cut before it. */
  endRecord(): void {
    if (!this.#headers) this.writer.byte(0);
    const bytes = this.writer.pos - this.#record;
    if (bytes > this.#maxRecordBytes) throw tooLarge(bytes, this.#maxRecordBytes);
    if (this.writer.pos > this.#maxBytes && this.#records > 0) this.#cut();
    const { writer } = this;
    patchLength(writer.bytes, this.#record, writer.pos - this.#record - LENGTH_BYTES);
    this.#meter.bytes += bytes;
    if (this.#timestamp > this.#maxTimestamp) this.#maxTimestamp = this.#timestamp;
    this.#records++;
    this.#record = -1;
  }

  /** Takes back the record begun and not ended; nothing when there is none. */
  rollbackRecord(): void {
    if (this.#record < 0) return;
    this.writer.pos = this.#record;
    this.#record = -1;
  }

  /**
   * A copy of the batch with base offset 0; the builder stays as it is. Throws when there is no whole record.
   */
  finish(): Uint8Array {
    return sealPlain(this.#whole());
  }

  /**
   * Gives the records of the batch under way and goes on in another buffer. Throws when there is no whole
   * record. Who takes them brings the buffer back with `recycle`.
   */
  take(): TakenRecords {
    const taken = this.#whole();
    this.#capacity = taken.writer.pos;
    this.writer = NO_BUFFER;
    this.reset();
    return taken;
  }

  /** The batches that were cut and the one under way, in order; none when there is no record. */
  takeAll(): TakenRecords[] {
    const all = this.#full.splice(0);
    if (this.#records > 0) all.push(this.take());
    return all;
  }

  recycle({ writer }: TakenRecords): void {
    this.#spares.give(writer);
  }

  /** Ready for the next batch; the buffer is kept. */
  reset(): void {
    this.writer.pos = AT.records;
    this.#records = 0;
    this.#record = -1;
  }

  #beginBatch(timestampMs: number): void {
    this.#baseTimestamp = this.#maxTimestamp = timestampMs;
    if (this.writer !== NO_BUFFER) return;
    this.writer = this.#spares.take(this.#capacity);
    this.writer.pos = AT.records;
  }

  /** The record under way becomes the first of a new batch: it only has to count anew. */
  #cut(): void {
    const from = this.writer;
    const [start, end] = [this.#record, from.pos];
    const rest = skipNumber(from.bytes, skipNumber(from.bytes, start + LENGTH_BYTES + 1));
    from.pos = start;
    this.#record = -1;
    this.#full.push(this.take());
    this.beginRecord(this.#timestamp);
    this.#headers = true;
    this.writer.raw(from.bytes, rest, end);
  }

  #beginPart(): void {
    this.writer.ensure(LENGTH_BYTES);
    this.#part = this.writer.pos;
    this.writer.pos += LENGTH_BYTES;
  }

  #endPart(): void {
    patchLength(this.writer.bytes, this.#part, this.writer.pos - this.#part - LENGTH_BYTES);
  }

  #whole(): TakenRecords {
    if (this.#records === 0 || this.#record >= 0)
      throw new Error('a batch is finished between whole records');
    return {
      writer: this.writer,
      records: this.#records,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
    };
  }
}

const skipNumber = (bytes: Uint8Array, start: number): number => {
  let at = start;
  while ((bytes[at] ?? 0) > 0x7f) at++;
  return at + 1;
};

/**
 * A batch of the records with base offset 0; they must stay as they are until it resolves. What does not
 * shrink stays as it is, so that no batch is larger than its records.
 */
export const sealRecords = async (taken: TakenRecords, codec: Codec | null): Promise<Uint8Array> => {
  if (codec === null) return sealPlain(taken);
  const { bytes, pos } = taken.writer;
  const packed = await codec.compress(bytes.subarray(AT.records, pos));
  if (packed.length + AT.records >= pos) return sealPlain(taken);
  const batch = new Uint8Array(AT.records + packed.length);
  batch.set(packed, AT.records);
  return sealBatch(batch, codec.id, taken);
};

const sealPlain = (taken: TakenRecords): Uint8Array =>
  sealBatch(taken.writer.bytes.slice(0, taken.writer.pos), 0, taken);

const sealBatch = (batch: Uint8Array, attributes: number, taken: TakenRecords): Uint8Array => {
  const { records, baseTimestamp, maxTimestamp } = taken;
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  view.setBigInt64(AT.baseOffset, 0n);
  view.setInt32(AT.length, batch.length - AT.leaderEpoch);
  view.setInt32(AT.leaderEpoch, -1);
  view.setInt8(AT.magic, MAGIC);
  view.setInt16(AT.attributes, attributes);
  view.setInt32(AT.lastOffsetDelta, records - 1);
  view.setBigInt64(AT.baseTimestamp, BigInt(baseTimestamp));
  view.setBigInt64(AT.maxTimestamp, BigInt(maxTimestamp));
  view.setBigInt64(AT.producerId, -1n);
  view.setInt16(AT.producerEpoch, -1);
  view.setInt32(AT.baseSequence, -1);
  view.setInt32(AT.count, records);
  view.setUint32(AT.crc, crc32c(batch, AT.attributes));
  return batch;
};

type ReadOptions = {
  /** Checks the batch's checksum first; on unless the caller has done it. */
  verify?: boolean;
  /** Called for a compressed batch only; throws for a codec it does not have. */
  codec?: (id: number) => Codec;
};

/**
 * Visits every record in order. Transaction markers hold none. Throws `record_corrupt`; with `verify`, before
 * the first visit unless the batch was written wrongly.
 */
export const readRecords = (
  batch: Uint8Array,
  visit: (record: RecordView) => void,
  { verify = true, codec }: ReadOptions = {},
): void => {
  const header = verify ? verifyBatch(batch) : readBatchHeader(batch);
  if (header.attributes & CONTROL) return;
  const view = new RecordView();
  const bytes = unpack(batch, header, codec);
  let at = bytes === batch ? AT.records : 0;
  for (let left = header.records; left > 0; left--) {
    try {
      at = view.load(bytes, at, { header });
    } catch (error) {
      if (error instanceof RangeError) throw corruptBatch(header.baseOffset, error.message);
      throw error;
    }
    visit(view);
  }
  if (at !== bytes.length)
    throw corruptBatch(header.baseOffset, `${bytes.length - at} bytes are behind its last record`);
};

const unpack = (batch: Uint8Array, header: BatchHeader, codec: ReadOptions['codec']): Uint8Array => {
  const id = header.attributes & CODEC;
  if (id === 0) return batch;
  if (codec === undefined)
    throw corruptBatch(header.baseOffset, `it is compressed with codec ${id}, which was not expected`);
  const { decompress } = codec(id);
  try {
    return decompress(batch.subarray(AT.records));
  } catch (error) {
    throw corruptBatch(header.baseOffset, `codec ${id} cannot unpack it (${(error as Error).message})`);
  }
};
