// Owns looking at a partition as it lies there, decided or not: whose batches it holds, with which place in
// their writer's sequence, and what became of them. Knows no record's meaning and changes nothing.
import { AT, CONTROL, readBatchHeader, TRANSACTIONAL } from '../record-batch-header.ts';
import { listOffsets } from './admin.ts';
import type { KafkaClient } from './client.ts';
import { readMarker } from './committed.ts';
import { FETCH, type FetchedPartition, readFetch, splitBatches, writeFetch } from './fetch.ts';
import { askLeaders, type TopicPartition } from './leaders.ts';

/** Of one transaction's writer, and the first record's place in that writer's sequence of the partition. */
export type BatchPlace = { producerId: bigint; epoch: number; sequence: number };

export type LoggedBatch = BatchPlace & { offset: bigint; bytes: Uint8Array };

type Marker = { producerId: bigint; offset: bigint; commit: boolean };

/** Of transactions only; in the order of the log. `committedEnd`: below it all of them are decided. */
type LogScan = {
  batches: LoggedBatch[];
  markers: Marker[];
  committedEnd: bigint;
  start: bigint;
  end: bigint;
};

type Fate = 'open' | 'committed' | 'aborted' | 'absent';

const FETCH_BYTES = 4 << 20;
const FIRST_WINDOW = 1_000n;
const SEQUENCES = 2 ** 31;
const COMMIT = 1;

const fetchAt = async (client: KafkaClient, at: TopicPartition, from: bigint): Promise<FetchedPartition> => {
  const limits = { maxWaitMs: 0, maxBytes: FETCH_BYTES, undecided: true };
  const [answer] = await askLeaders(client, [at], {
    what: 'read the log',
    ask: async (node, groups) => {
      const topicId = (await client.topic(at.topic))?.id ?? '';
      const place = { topicId, partition: at.partition, leaderEpoch: -1, from, lastEpoch: -1 };
      const body = await client.request(node, FETCH, (out) =>
        writeFetch(out, [{ ...place, maxBytes: FETCH_BYTES }], limits),
      );
      const { error, partitions } = readFetch(body);
      return groups.map(({ name }) => ({
        name,
        partitions: partitions.map((one) => ({
          ...one,
          partitionIndex: one.partition,
          errorCode: error || one.error,
        })),
      }));
    },
  });
  return answer as NonNullable<typeof answer>;
};

/** From `from` (absent: the oldest offset) to the end as it is at the call. */
export const scanLog = async (client: KafkaClient, at: TopicPartition, from?: bigint): Promise<LogScan> => {
  const [start = 0n] = await listOffsets(client, [at], 'start');
  const [end = 0n] = await listOffsets(client, [at], 'end');
  const [committedEnd = 0n] = await listOffsets(client, [at], 'committed');
  const scan: LogScan = { batches: [], markers: [], committedEnd, start, end };
  for (let next = from === undefined || from < start ? start : from; next < end; ) {
    const { records } = await fetchAt(client, at, next);
    const before = next;
    for (const bytes of splitBatches(records)) {
      enter(scan, bytes);
      next = BigInt(readBatchHeader(bytes).lastOffset) + 1n;
    }
    // Compaction may leave nothing up to the end.
    if (next === before) break;
  }
  return scan;
};

const enter = ({ batches, markers }: LogScan, bytes: Uint8Array): void => {
  const { attributes, baseOffset, records } = readBatchHeader(bytes);
  if ((attributes & TRANSACTIONAL) === 0) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [producerId, offset] = [view.getBigInt64(AT.producerId), BigInt(baseOffset)];
  if (attributes & CONTROL) {
    const commit = readMarker(bytes) === COMMIT;
    if (records > 0) markers.push({ producerId, offset, commit });
    return;
  }
  const [epoch, sequence] = [view.getInt16(AT.producerEpoch), view.getInt32(AT.baseSequence)];
  batches.push({ producerId, epoch, sequence, offset, bytes });
};

/** The next marker of its writer decides it. */
const fateOf = (batch: LoggedBatch, { markers, committedEnd }: LogScan): Fate => {
  const decision = markers.find(
    ({ producerId, offset }) => producerId === batch.producerId && offset > batch.offset,
  );
  if (decision) return decision.commit ? 'committed' : 'aborted';
  // Compaction takes old markers, and what was aborted before them.
  return batch.offset < committedEnd ? 'committed' : 'open';
};

const samePlace = (one: BatchPlace, other: BatchPlace): boolean =>
  one.producerId === other.producerId && one.epoch === other.epoch && one.sequence === other.sequence;

/** Written before it by the same writer, also across the wrap of the sequence. */
const isBefore = (one: BatchPlace, other: BatchPlace): boolean => {
  if (one.producerId !== other.producerId) return false;
  if (one.epoch !== other.epoch) return one.epoch < other.epoch;
  const distance = (other.sequence - one.sequence + SEQUENCES) % SEQUENCES;
  return distance > 0 && distance < SEQUENCES / 2;
};

/** Looked for from the end backwards, because what hangs is young. */
export const findFate = async (client: KafkaClient, at: TopicPartition, place: BatchPlace): Promise<Fate> => {
  const [end = 0n] = await listOffsets(client, [at], 'end');
  for (let window = FIRST_WINDOW; ; window *= 4n) {
    const from = end > window ? end - window : 0n;
    const scan = await scanLog(client, at, from);
    const found = scan.batches.find((batch) => samePlace(batch, place));
    if (found) return fateOf(found, scan);
    if (from <= scan.start || scan.batches.some((batch) => isBefore(batch, place))) return 'absent';
  }
};
