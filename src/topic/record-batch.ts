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

export type Codec = {
  /** As the batch's attributes carry it: 1 gzip, 4 zstd. */
  readonly id: number;
  /** Beside the event loop; `bytes` must stay as they are until it resolves. */
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  decompress(bytes: Uint8Array): Uint8Array;
};

/** Lengths are written before what they measure, so they have a fixed width: a varint may be padded. */
const LENGTH_BYTES = 4;
const MAX_LENGTH = 2 ** (7 * LENGTH_BYTES - 1) - 1;

const patchLength = (bytes: Uint8Array, at: number, length: number): void => {
  if (length > MAX_LENGTH) {
    throw new VarveError(
      'value_unsupported',
      `A record, its key or its value has ${length} bytes; a topic holds at most ${MAX_LENGTH}. Leave ` +
        'the column out of the capture, or shorten the value at the source.',
      { facts: { bytes: length, limit: MAX_LENGTH } },
    );
  }
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

const MIN_BYTES = 1 << 16;
/** A larger buffer was made for a large transaction, and goes with it. */
const KEPT_BYTES = 16 << 20;
/** One is being packed, one waits for its turn. */
const SPARES = 2;

const makeWriter = (capacity: number): ByteWriter => {
  const writer = new ByteWriter(Math.max(capacity, AT.records));
  writer.pos = AT.records;
  return writer;
};

/**
 * Records go straight into `writer`: beginRecord, (beginKey, write, endKey | nullKey), (beginValue, write,
 * endValue | nullValue), optionally beginHeaders and that many `header`, then endRecord. The order is the
 * caller's duty.
 */
export class RecordBatchBuilder {
  writer: ByteWriter;
  /** They came back from records that were taken, so that a large buffer is not made for each batch. */
  readonly #spares: ByteWriter[] = [];
  #records = 0;
  #baseTimestamp = 0;
  #maxTimestamp = 0;
  /** Where the record being written starts; -1: none. */
  #record = -1;
  #timestamp = 0;
  #part = 0;
  #headers = false;

  constructor(capacity = 1 << 20) {
    this.writer = makeWriter(capacity);
  }

  /** Whole records so far. */
  get records(): number {
    return this.#records;
  }

  /** Bytes so far, uncompressed, header included. */
  get size(): number {
    return this.writer.pos;
  }

  /** `timestampMs`: milliseconds since 1970-01-01 UTC, whole. */
  beginRecord(timestampMs: number): void {
    if (this.#record >= 0) throw new Error('the record before this one was neither ended nor rolled back');
    const { writer } = this;
    this.#record = writer.pos;
    this.#timestamp = timestampMs;
    this.#headers = false;
    if (this.#records === 0) this.#baseTimestamp = this.#maxTimestamp = timestampMs;
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

  endRecord(): void {
    const { writer } = this;
    if (!this.#headers) writer.byte(0);
    patchLength(writer.bytes, this.#record, writer.pos - this.#record - LENGTH_BYTES);
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
   * Gives the records away and goes on in another buffer. Throws when there is no whole record. Who takes
   * them brings the buffer back with `recycle`.
   */
  take(): TakenRecords {
    const taken = this.#whole();
    this.writer = this.#spares.pop() ?? makeWriter(Math.max(taken.writer.pos, MIN_BYTES));
    this.reset();
    return taken;
  }

  recycle({ writer }: TakenRecords): void {
    if (writer.bytes.length <= KEPT_BYTES && this.#spares.length < SPARES) this.#spares.push(writer);
  }

  /** Ready for the next batch; the buffer is kept. */
  reset(): void {
    this.writer.pos = AT.records;
    this.#records = 0;
    this.#record = -1;
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

/** A batch of the records with base offset 0; they must stay as they are until it resolves. */
export const sealRecords = async (taken: TakenRecords, codec: Codec | null): Promise<Uint8Array> => {
  if (codec === null) return sealPlain(taken);
  const { bytes, pos } = taken.writer;
  const packed = await codec.compress(bytes.subarray(AT.records, pos));
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
