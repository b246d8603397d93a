// Owns one fold between the table and the engine: what the engine is asked for, what of its answer is
// committed, what the table remembers after it, and where a fold is cut in two. Commits nothing.
import type { FeedBatch } from '../../topic/feed.ts';
import { readBatchHeader } from '../../topic/record-batch-header.ts';
import type { CommitReport, FoldContext, FoldCut } from '../sink.ts';
import type { MergeRequest, MergeResult } from './engine/protocol.ts';
import type { SnapshotChange } from './iceberg/snapshot-files.ts';
import { liveFiles } from './iceberg/table-state.ts';
import { adoptFiles, layoutProperties, storedFiles } from './stored-table.ts';
import {
  advanceClock,
  cutOf,
  horizonOf,
  keptBarriers,
  printMemory,
  type TableMemory,
  UNREPEATED,
} from './table-memory.ts';
import type { TableOptions } from './table-options.ts';
import type { Shaped } from './table-shape.ts';

const windowOf = ({ rules }: Pick<TableOptions, 'rules'>): bigint => BigInt(rules.lateWindowMs) * 1000n;

/** A sweep that was done, or that lies so far back that nothing it could close is left. */
export const isSweepPast = (
  memory: TableMemory,
  { order: sweep }: NonNullable<FoldContext['snapshot']>,
  options: TableOptions,
): boolean => {
  const horizon = horizonOf(memory, windowOf(options));
  return memory.barriers.some(({ order }) => order === sweep) || (horizon !== null && sweep <= horizon);
};

export const mergeRequest = async (
  { state, layout }: Shaped,
  { batches, context, memory }: { batches: readonly FeedBatch[]; context: FoldContext; memory: TableMemory },
  options: TableOptions,
): Promise<MergeRequest> => {
  const { io, stateLocation, rules } = options;
  const { snapshot, schemas } = context;
  const { offsets, barriers, highs, stateFiles } = memory;
  return {
    ...(await storedFiles(io.store, state, layout)),
    commit: io.uuid(),
    stateLocation,
    state: stateFiles,
    batches: batches.map(({ partition, batches: bytes }) => ({
      partition,
      from: offsets.get(partition) ?? 0n,
      batches: bytes,
    })),
    schemas,
    barriers,
    sweep:
      snapshot?.sweep === true
        ? { order: snapshot.order, ts: BigInt(snapshot.ts), kind: 's' as const }
        : null,
    highs,
    horizon: horizonOf(memory, windowOf(options)),
    cut: context.cut.limit,
    rules,
    write: rules.write,
  };
};

/** `whole`: see FoldCut. */
type Folded = { result: MergeResult; topicId: string; schema: number; whole: FoldCut['whole'] };

const nextMemory = (
  before: TableMemory,
  { result, topicId, schema, whole }: Folded,
  windowUs: bigint,
): TableMemory => {
  const gone = new Set(result.stateRemoved);
  const stateFiles = before.stateFiles.filter((path) => !gone.has(path));
  if (result.stateAdded !== null) stateFiles.push(result.stateAdded.path);
  const highs = new Map([...before.highs, ...result.highs]);
  return {
    topicId,
    offsets: new Map([...before.offsets, ...result.offsets]),
    highs,
    barriers: keptBarriers([...before.barriers, ...result.barriers], horizonOf(before, windowUs)),
    stateFiles,
    clock: advanceClock(before.clock, highs, windowUs),
    schema,
    cut: cutOf(highs, whole),
  };
};

/** Takes over the files that the engine has made, and gives the change that makes them the table's. */
export const foldChange = async (
  { state, layout }: Shaped,
  { folded, memory }: { folded: Folded; memory: TableMemory },
  options: TableOptions,
) => {
  const { io, snapshotId } = options;
  const { added, removed, stateAdded } = folded.result;
  await adoptFiles(io.store, added);
  if (stateAdded !== null) await io.store.adopt(stateAdded.local, stateAdded.path);
  const { [UNREPEATED]: clock = '', ...summary } = printMemory(nextMemory(memory, folded, windowOf(options)));
  const live = await liveFiles(io.store, state);
  const remove = removed.map((path) => live.get(path)).filter((file) => file !== undefined);
  const add = added.map(({ file }) => file);
  const isAppend = remove.length === 0 && add.every(({ content }) => content === 'data');
  const operation: SnapshotChange['operation'] = isAppend ? 'append' : 'overwrite';
  return {
    snapshot: { id: snapshotId(), operation, add, remove, summary },
    columns: layout.fields,
    properties: { ...layoutProperties(layout), [UNREPEATED]: clock },
  };
};

/** Two folds of about as many record batches each; null where there is nothing to cut. */
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
