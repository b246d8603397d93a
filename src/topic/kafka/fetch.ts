// Owns the Fetch call on the wire, https://kafka.apache.org/protocol#The_Messages_Fetch: the request's
// fields, the answer's, and cutting its bytes into whole record batches, none of them copied. Version 13
// names topics by id, so a broker refuses to read a topic that was deleted and made again; offsets of the old
// one mean nothing. Knows no retry, no transaction.
import type { Reader, Writer } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import { AT } from '../record-batch-header.ts';

export const FETCH = { key: 1, version: 13, flexible: true } as const;

/**
 * `lastEpoch`: leader epoch of the record just before `from`, -1 when unknown; both ends must agree on it.
 */
export type FetchPosition = {
  topicId: string;
  partition: number;
  leaderEpoch: number;
  from: bigint;
  lastEpoch: number;
  maxBytes: number;
};

/** `undecided`: with what is not committed yet, or was aborted; the broker then tells no aborted ranges. */
type FetchLimits = { maxWaitMs: number; maxBytes: number; undecided?: boolean };

/** `firstOffset`: where this producer's aborted transaction begins in this partition. */
export type Aborted = { producerId: bigint; firstOffset: bigint };

export type FetchedPartition = {
  topicId: string;
  partition: number;
  /** Kafka's error code; 0: none. */
  error: number;
  start: bigint;
  /** Below it all transactions are decided: the last stable offset. */
  committedEnd: bigint;
  aborted: readonly Aborted[];
  /** Set when the log does not hold what was read before `from`: it ends there now. */
  divergedAt: bigint | null;
  records: Uint8Array;
};

const ISOLATION = { undecided: 0, committed: 1 } as const;
const NO_REPLICA = -1;
const NO_OFFSET = -1n;
/** Each request stands for itself; sessions would save bytes for thousands of partitions. */
const NO_SESSION = { id: 0, epoch: -1 } as const;
const NO_BYTES = new Uint8Array(0);

export const writeFetch = (
  out: Writer,
  positions: readonly FetchPosition[],
  { maxWaitMs, maxBytes, undecided = false }: FetchLimits,
): void => {
  const topics = [...Map.groupBy(positions, ({ topicId }) => topicId)];
  out.appendInt32(NO_REPLICA).appendInt32(maxWaitMs).appendInt32(1).appendInt32(maxBytes);
  out
    .appendInt8(undecided ? ISOLATION.undecided : ISOLATION.committed)
    .appendInt32(NO_SESSION.id)
    .appendInt32(NO_SESSION.epoch);
  out.appendArray(topics, (writer, [topicId, partitions]) => {
    writer.appendUUID(topicId).appendArray(partitions, writePosition);
  });
  out.appendArray([], () => undefined);
  out.appendString('').appendTaggedFields();
};

const writePosition = (out: Writer, position: FetchPosition): void => {
  out.appendInt32(position.partition).appendInt32(position.leaderEpoch).appendInt64(position.from);
  out.appendInt32(position.lastEpoch).appendInt64(NO_OFFSET).appendInt32(position.maxBytes);
};

/**
 * `error` is the whole answer's; the records of a partition are one range of the answer's bytes. Throws
 * `protocol_error` for what is no such answer.
 */
export const readFetch = (from: Reader): { error: number; partitions: FetchedPartition[] } => {
  try {
    return readAnswer(from);
  } catch (cause) {
    throw new VarveError('protocol_error', 'An answer to Fetch could not be read. Is this Kafka?', { cause });
  }
};

const readAnswer = (from: Reader): ReturnType<typeof readFetch> => {
  from.readInt32();
  const error = from.readInt16();
  from.readInt32();
  const partitions = from.readArray((reader) => {
    const topicId = reader.readUUID();
    return reader.readArray((one) => readPartition(one, topicId), true, false);
  });
  return { error, partitions: partitions.flat() };
};

const readPartition = (from: Reader, topicId: string): FetchedPartition => {
  const partition = from.readInt32();
  const error = from.readInt16();
  from.readInt64();
  const committedEnd = from.readInt64();
  const start = from.readInt64();
  const aborted = from.readArray((reader) => ({
    producerId: reader.readInt64(),
    firstOffset: reader.readInt64(),
  }));
  from.readInt32();
  const records = from.readNullableBytes() ?? NO_BYTES;
  const divergedAt = readDivergedAt(from);
  return { topicId, partition, error, start, committedEnd, aborted, divergedAt, records };
};

/** Of the tagged fields at a partition's end only the first (0: diverging epoch and its end) counts. */
const readDivergedAt = (from: Reader): bigint | null => {
  let divergedAt: bigint | null = null;
  for (let left = from.readUnsignedVarInt(); left > 0; left--) {
    const tag = from.readUnsignedVarInt();
    const next = from.readUnsignedVarInt() + from.position;
    if (tag === 0) {
      from.readInt32();
      divergedAt = from.readInt64();
    }
    from.position = next;
  }
  return divergedAt;
};

/** The whole batches, in order, as ranges of `records`; the broker cuts the last one where its limit fell. */
export const splitBatches = (records: Uint8Array): Uint8Array[] => {
  const batches: Uint8Array[] = [];
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at + AT.leaderEpoch <= records.length; ) {
    const end = at + AT.leaderEpoch + view.getInt32(at + AT.length);
    if (end > records.length || end <= at) break;
    batches.push(records.subarray(at, end));
    at = end;
  }
  return batches;
};
