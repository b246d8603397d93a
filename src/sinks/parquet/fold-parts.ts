// Owns folding in parts what the engine has no memory for at once: where batches are cut in two, and what two
// folds have done together. Knows neither tables nor the engine.
import type { FeedBatch } from '../../topic/feed.ts';
import { readBatchHeader } from '../../topic/record-batch-header.ts';
import type { CommitReport } from '../sink.ts';

/** Two folds of about as many record batches each, by partition in order; null where there is nothing to cut. */
export const halveBatches = (
  batches: readonly FeedBatch[],
): readonly [readonly FeedBatch[], readonly FeedBatch[]] | null => {
  const all = batches.flatMap(({ partition, batches: records }) =>
    records.map((bytes) => ({ partition, bytes })),
  );
  if (all.length < 2) return null;
  const middle = all.length >> 1;
  return [regroup(all.slice(0, middle)), regroup(all.slice(middle))];
};

const regroup = (all: readonly { partition: number; bytes: Uint8Array }[]): FeedBatch[] =>
  [...Map.groupBy(all, ({ partition }) => partition)].map(([partition, of]) => {
    const { lastOffset } = readBatchHeader((of.at(-1) as (typeof of)[number]).bytes);
    return {
      partition,
      batches: of.map(({ bytes }) => bytes),
      nextOffset: BigInt(lastOffset + 1),
    };
  });

/** What both folds have done; the later one made the newest snapshot. */
export const addReports = (first: CommitReport, then: CommitReport): CommitReport => ({
  snapshotId: then.snapshotId ?? first.snapshotId,
  events: first.events + then.events,
  opened: first.opened + then.opened,
  closed: first.closed + then.closed,
  duplicates: first.duplicates + then.duplicates,
  late: first.late + then.late,
  dead: first.dead + then.dead,
  conflicts: first.conflicts + then.conflicts,
  incomplete: first.incomplete + then.incomplete,
});
