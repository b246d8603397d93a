// Owns which data files are worth rewriting, from their sizes, ages and deleted rows. Pure: plans, never
// touches.
import type { LiveFile, PartitionValue } from '../iceberg-type.ts';
import type { TableMetadata } from './metadata.ts';
import { partitionKey } from './partition.ts';

type RewritePolicy = {
  targetBytes: number;
  /** Larger files are not made, however few bytes that is: they are sorted in memory. */
  targetRows: number;
  /** So many small files in one partition are merged: each is a sorted run that every fold must look into. */
  runs: number;
  /** A file below this fraction of both targets is small. */
  smallFraction: number;
  /** Fewer small files than `runs` are merged when one of them is older. */
  smallAgeMs: number;
  /** A file with a larger fraction of deleted rows is rewritten. */
  deletedFraction: number;
  /** A partition with more delete files is rewritten, the most affected files first. */
  deleteFiles: number;
  /** Input of one rewrite. */
  maxInputBytes: number;
  /** Input of a rewrite that only moves rows to the table's partitioning: nobody waits for it. */
  maxMovedBytes: number;
};

export const REWRITE_POLICY: RewritePolicy = {
  targetBytes: 128 << 20,
  targetRows: 1_000_000,
  runs: 5,
  smallFraction: 0.25,
  smallAgeMs: 600_000,
  deletedFraction: 0.2,
  deleteFiles: 100,
  maxInputBytes: 1 << 30,
  maxMovedBytes: 256 << 20,
};

/**
 * Rewrite `data` without the rows that `deletes` and `loose` delete, into the table's partitioning. `moved`:
 * for that alone.
 */
export type RewritePlan = {
  reason: 'runs' | 'deletes' | 'small' | 'moved';
  specId: number;
  partition: readonly PartitionValue[];
  data: readonly LiveFile[];
  /** They delete from `data` only, and are removed with it. */
  deletes: readonly LiveFile[];
  /** They may delete from other files too: to be applied, and left. */
  loose: readonly LiveFile[];
  /** For the `replace` commit. */
  baseSequence: number;
};

type Group = { data: LiveFile[]; deletesOf: Map<string, LiveFile[]>; loose: LiveFile[] };

const groupFiles = (files: Iterable<LiveFile>): ReadonlyMap<string, Group> => {
  const groups = new Map<string, Group>();
  for (const file of files) {
    const key = partitionKey(file);
    let group = groups.get(key);
    if (!group) {
      group = { data: [], deletesOf: new Map(), loose: [] };
      groups.set(key, group);
    }
    if (file.content === 'data') group.data.push(file);
    else if (file.referencedDataFile === null) group.loose.push(file);
    else {
      const known = group.deletesOf.get(file.referencedDataFile);
      if (known) known.push(file);
      else group.deletesOf.set(file.referencedDataFile, [file]);
    }
  }
  return groups;
};

const sum = (files: readonly LiveFile[], of: (file: LiveFile) => number): number =>
  files.reduce((total, file) => total + of(file), 0);

const isSmall = ({ bytes, records }: LiveFile, policy: RewritePolicy): boolean =>
  bytes < policy.smallFraction * policy.targetBytes && records < policy.smallFraction * policy.targetRows;

/** The first files that fit into one rewrite; always at least one. */
const fitting = (files: readonly LiveFile[], maxBytes: number): LiveFile[] => {
  let bytes = 0;
  return files.filter((file, at) => {
    bytes += file.bytes;
    return at === 0 || bytes <= maxBytes;
  });
};

/**
 * Small files, smallest first, as long as the next is not far larger than all before it together: so a row is
 * rewritten about once for each doubling of its file, not with every merge.
 */
const mergeable = (small: readonly LiveFile[], policy: RewritePolicy): LiveFile[] => {
  const sorted = small.toSorted((a, b) => a.bytes - b.bytes);
  let bytes = 0;
  let count = 0;
  for (const file of sorted) {
    if (count >= 3 && file.bytes > 2 * bytes) break;
    bytes += file.bytes;
    count++;
  }
  return fitting(sorted.slice(0, count), policy.maxInputBytes);
};

type RewriteInput = {
  files: Iterable<LiveFile>;
  /** Of new files. */
  specId: number;
  /** Last sequence number of the state that `files` are from. */
  baseSequence: number;
  nowMs: number;
  /** When the snapshot with this sequence number was committed; null: longer ago than anybody remembers. */
  committedAtMs: (sequence: number) => number | null;
};

const choose = (group: Group, input: RewriteInput, policy: RewritePolicy) => {
  const small = group.data.filter((file) => isSmall(file, policy));
  if (small.length >= policy.runs) {
    const data = mergeable(small, policy);
    if (data.length > 1) return { reason: 'runs' as const, data };
  }
  const deletesOf = (file: LiveFile): readonly LiveFile[] => group.deletesOf.get(file.path) ?? [];
  const deleted = (file: LiveFile): number => sum(deletesOf(file), ({ records }) => records) / file.records;
  const heavy = group.data.filter((file) => deleted(file) > policy.deletedFraction);
  if (heavy.length > 0) return { reason: 'deletes' as const, data: fitting(heavy, policy.maxInputBytes) };
  const hit = group.data.filter((file) => deletesOf(file).length > 0);
  if (sum(hit, (file) => deletesOf(file).length) > policy.deleteFiles) {
    const worst = hit.toSorted((a, b) => deletesOf(b).length - deletesOf(a).length);
    return { reason: 'deletes' as const, data: fitting(worst, policy.maxInputBytes) };
  }
  const isOld = (file: LiveFile): boolean =>
    input.nowMs - (input.committedAtMs(file.fileSequence) ?? 0) > policy.smallAgeMs;
  if (small.length > 1 && small.some(isOld)) {
    const data = mergeable(small, policy);
    if (data.length > 1) return { reason: 'small' as const, data };
  }
  const old = group.data.filter(({ specId }) => specId !== input.specId);
  return old.length > 0 ? { reason: 'moved' as const, data: fitting(old, policy.maxMovedBytes) } : null;
};

const URGENCY = { runs: 0, deletes: 1, small: 2, moved: 3 } as const;

/** At most one rewrite a partition, the most urgent first. */
export const planRewrites = (
  input: RewriteInput,
  policy: RewritePolicy = REWRITE_POLICY,
): readonly RewritePlan[] => {
  const plans: RewritePlan[] = [];
  for (const group of groupFiles(input.files).values()) {
    const chosen = choose(group, input, policy);
    const first = chosen?.data[0];
    if (!chosen || !first) continue;
    const oldest = Math.min(...chosen.data.map(({ sequence }) => sequence));
    plans.push({
      ...chosen,
      specId: first.specId,
      partition: first.partition,
      deletes: chosen.data.flatMap((file) => group.deletesOf.get(file.path) ?? []),
      loose: group.loose.filter((file) => file.sequence >= oldest),
      baseSequence: input.baseSequence,
    });
  }
  return plans.sort((a, b) => URGENCY[a.reason] - URGENCY[b.reason] || b.data.length - a.data.length);
};

/**
 * Small files of the partition that has most of them: what slows a fold down, and from where intake should
 * wait.
 */
export const mostRuns = (files: Iterable<LiveFile>, policy: RewritePolicy = REWRITE_POLICY): number => {
  let most = 0;
  for (const { data } of groupFiles(files).values())
    most = Math.max(most, data.filter((file) => isSmall(file, policy)).length);
  return most;
};

/**
 * Delete files that delete nothing any more (other writers leave them behind): safe to remove in any commit.
 */
export const danglingDeletes = (files: Iterable<LiveFile>): readonly LiveFile[] => {
  const dangling: LiveFile[] = [];
  for (const { data, deletesOf, loose } of groupFiles(files).values()) {
    const paths = new Set(data.map(({ path }) => path));
    for (const [target, deletes] of deletesOf) if (!paths.has(target)) dangling.push(...deletes);
    for (const file of loose)
      if (!data.some(({ sequence }) => sequence <= file.sequence)) dangling.push(file);
  }
  return dangling;
};

/** Commit times by sequence number, as far as the metadata remembers. */
export const commitTimes = (metadata: TableMetadata): ((sequence: number) => number | null) => {
  const times = new Map(metadata.snapshots.map((one) => [one['sequence-number'], one['timestamp-ms']]));
  return (sequence) => times.get(sequence) ?? null;
};
