// Owns what becomes of events that cannot be folded: their original bytes and the reason, for the dead
// letters.
import { codecById } from '../../../topic/compression.ts';
import { readRecords } from '../../../topic/record-batch.ts';
import { readBatchHeader } from '../../../topic/record-batch-header.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { DeadRecord } from '../../sink.ts';
import type { FoldResult } from '../scd2-version.ts';
import type { Decoder, Reject } from './decode.ts';
import type { MergeRequest } from './protocol.ts';

const REASONS: Readonly<Record<Reject['reason'], string>> = {
  too_late: 'It is older than what the table still remembers, so what it would change is not known any more.',
  late: 'An event of a later transaction of its key came before it, and the table takes no late ones.',
  order_conflict:
    'The table has another event of the same order for this key. Of the two a delete wins, else the later.',
  no_order: 'It has no varve.order header, so its place among the other events is not known.',
  no_key: 'It has no key, or a key column is null or cannot be held by the table.',
  no_image: 'It is no delete and has no row.',
  no_op: 'Its operation is none of c, u, d, r and t.',
  no_schema: 'It names a schema that this topic has never been written with.',
  corrupt: 'Its bytes do not fit its schema.',
};
const LATE: ReadonlySet<Reject['reason']> = new Set(['too_late', 'late']);

/** Everything that was turned away, with its bytes, which are read again: rejects are few. */
export const deadRecords = (
  { batches }: Pick<MergeRequest, 'batches'>,
  { rejects, collector }: Decoder,
  dead: FoldResult<number>['dead'],
): DeadRecord[] => {
  const folded = dead.map(({ rank, reason }): Reject => {
    return { partition: collector.partitions[rank]!, offset: BigInt(collector.offsets[rank]!), reason };
  });
  return [...rejects, ...folded].map((reject) => withBytes(reject, batches));
};

const slice = (bytes: Uint8Array, start: number, end: number): Uint8Array | null =>
  start < 0 ? null : bytes.slice(start, end);

const withBytes = ({ partition, offset, reason }: Reject, batches: MergeRequest['batches']): DeadRecord => {
  const isLate = LATE.has(reason);
  const found: DeadRecord = { partition, offset, key: null, value: null, reason: REASONS[reason], isLate };
  for (const batch of batches.find((source) => source.partition === partition)?.batches ?? []) {
    const { baseOffset, lastOffset } = readBatchHeader(batch);
    if (BigInt(baseOffset) > offset || BigInt(lastOffset) < offset) continue;
    const visit = (record: RecordView): void => {
      if (BigInt(record.offset) !== offset) return;
      found.key = slice(record.bytes, record.keyStart, record.keyEnd);
      found.value = slice(record.bytes, record.valueStart, record.valueEnd);
    };
    readRecords(batch, visit, { verify: false, codec: codecById });
  }
  return found;
};
