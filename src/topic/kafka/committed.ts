// Owns which batches of an answer a read_committed reader may see. Pure: batches and the broker's list of
// aborted transactions in, batches of committed transactions out. Each answer's list names every transaction
// that was aborted anywhere in its range, also one begun before it or whose marker lies behind it, so nothing
// is carried from one answer to the next. Knows no socket and no topic.
import { AT, CONTROL, corruptBatch, readBatchHeader, verifyBatch } from '../record-batch-header.ts';
import { RecordView } from '../record-batch-view.ts';
import type { Aborted } from './fetch.ts';

type Committed = {
  /** As they came, in order; their records' checksums are still to be verified by who reads them. */
  batches: Uint8Array[];
  /** Behind the last batch that was looked at, handed out or not; null when there was none. */
  nextOffset: bigint | null;
  /** Leader epoch of that batch, -1 when there was none. */
  lastEpoch: number;
};

/** Bit of a batch's attributes. */
const TRANSACTIONAL = 16;
const ABORT = 0;

/**
 * Batches at or above `committedEnd` are not looked at. What is dropped is verified here, because nobody else
 * sees it. Throws `record_corrupt`.
 */
export const onlyCommitted = (
  batches: readonly Uint8Array[],
  { aborted, committedEnd }: { aborted: readonly Aborted[]; committedEnd: bigint },
): Committed => {
  const found: Committed = { batches: [], nextOffset: null, lastEpoch: -1 };
  const begins = [...aborted].sort((a, b) => Number(a.firstOffset - b.firstOffset));
  let begun = 0;
  const aborting = new Set<bigint>();
  for (const batch of batches) {
    const { attributes, lastOffset, records } = readBatchHeader(batch);
    if (BigInt(lastOffset) >= committedEnd) break;
    const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
    const producerId = view.getBigInt64(AT.producerId);
    for (let next = begins[begun]; next && next.firstOffset <= lastOffset; next = begins[++begun]) {
      aborting.add(next.producerId);
    }
    if (attributes & CONTROL) {
      if (readMarker(batch) === ABORT) aborting.delete(producerId);
    } else if (attributes & TRANSACTIONAL && aborting.has(producerId)) verifyBatch(batch);
    // Compaction leaves empty batches behind.
    else if (records > 0) found.batches.push(batch);
    found.nextOffset = BigInt(lastOffset) + 1n;
    found.lastEpoch = view.getInt32(AT.leaderEpoch);
  }
  return found;
};

/** 0: abort, 1: commit; https://kafka.apache.org/documentation/#controlbatch. Compaction may empty it: -1. */
export const readMarker = (batch: Uint8Array): number => {
  const header = verifyBatch(batch);
  if (header.records === 0) return -1;
  const record = new RecordView();
  try {
    record.load(batch, AT.records, { header });
  } catch (error) {
    if (error instanceof RangeError) throw corruptBatch(header.baseOffset, error.message);
    throw error;
  }
  if (record.keyEnd - record.keyStart < 4) throw corruptBatch(header.baseOffset, 'its marker has no type');
  return new DataView(batch.buffer, batch.byteOffset + record.keyStart).getInt16(2);
};
