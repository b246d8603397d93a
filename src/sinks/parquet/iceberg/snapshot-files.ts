// Owns what a snapshot consists of: checks a change against the files that are alive, and encodes its
// manifests and its list. Writes nothing; no clock, no randomness.
import { VarveError } from '../../../errors.ts';
import type { DataFile, IcebergType, LiveFile, PartitionSpec } from '../iceberg-type.ts';
import { manifestFile, manifestListFile } from '../layout.ts';
import { encodeManifest, type ManifestEntry } from './manifest.ts';
import { describeManifest, encodeManifestList, type ManifestFile } from './manifest-list.ts';
import { type ManifestDraft, type ManifestSource, type MergePolicy, planManifests } from './manifest-plan.ts';
import {
  ancestry,
  columnType,
  currentFields,
  type Snapshot,
  snapshotById,
  type TableMetadata,
} from './metadata.ts';
import { SUMMARY_PREFIX, schemaJson } from './next-metadata.ts';
import { partitionKey } from './partition.ts';
import { type Operation, summarize } from './summary.ts';

export type SnapshotChange = {
  /** Fresh, random, 1 .. 2^53-1. */
  id: bigint;
  /** `replace`: other files, the same rows; it carries the varve.* keys of its base on unchanged. */
  operation: Operation;
  add: readonly DataFile[];
  remove: readonly LiveFile[];
  /** `varve.*` keys; mirrored in the table's properties. */
  summary: Readonly<Record<string, string>>;
  /**
   * `replace` only: last sequence number of the state whose rows were rewritten. The new files keep it, so
   * that deletes committed meanwhile still reach them.
   */
  baseSequence?: number;
};

type SnapshotBase = {
  location: string;
  /** The base's metadata with this change's schema and partitioning already in force. */
  metadata: TableMetadata;
  specs: readonly PartitionSpec[];
  sources: readonly ManifestSource[];
  live: ReadonlyMap<string, LiveFile>;
};

export type SnapshotFiles = {
  snapshot: Snapshot;
  /** To be durable before the metadata is created. */
  writes: readonly { uri: string; bytes: Uint8Array }[];
  manifests: readonly ManifestFile[];
  entries: ReadonlyMap<string, readonly ManifestEntry[]>;
  live: ReadonlyMap<string, LiveFile>;
};

const wrong = (sentence: string): VarveError => new VarveError('internal', `Refused to commit: ${sentence}.`);
const conflict = (sentence: string, path: string): VarveError =>
  new VarveError('commit_conflict', `${sentence}; load the table again and redo the work.`, {
    facts: { path },
  });

/** A rewrite whose inputs were touched since it read them would bring deleted rows back. */
const checkRemoved = (change: SnapshotChange, live: SnapshotBase['live']): ReadonlySet<string> => {
  const removed = new Set(change.remove.map(({ path }) => path));
  const partitions = new Set(change.remove.map(partitionKey));
  for (const path of removed) if (!live.has(path)) throw conflict(`${path} is no longer in the table`, path);
  if (removed.size === 0) return removed;
  for (const file of live.values()) {
    if (file.content === 'data' || removed.has(file.path)) continue;
    const target = file.referencedDataFile;
    const late = target === null && file.sequence > (change.baseSequence ?? Number.POSITIVE_INFINITY);
    if (target === null ? late && partitions.has(partitionKey(file)) : removed.has(target))
      throw conflict(`${file.path} deletes rows of a file that is being removed`, file.path);
  }
  return removed;
};

const checkAdded = (change: SnapshotChange, { live, specs }: SnapshotBase): void => {
  const added = new Map(change.add.map((file) => [file.path, file]));
  if (added.size < change.add.length) throw wrong('one file is added twice');
  for (const file of change.add) {
    const spec = specs.find(({ specId }) => specId === file.specId);
    if (live.has(file.path)) throw wrong(`${file.path} is in the table already`);
    if (spec === undefined || spec.fields.length !== file.partition.length)
      throw wrong(`${file.path} has a partition that does not fit spec ${file.specId}`);
    if (
      !Number.isSafeInteger(file.records) ||
      !Number.isSafeInteger(file.bytes) ||
      file.records < 1 ||
      file.bytes < 1
    )
      throw wrong(`${file.path} has impossible counts`);
    const target = file.referencedDataFile;
    if (file.content === 'data' || target === null) continue;
    const data = added.get(target) ?? live.get(target);
    // Java refuses to read the table when they differ; the others read on.
    if (data === undefined || partitionKey(data) !== partitionKey(file))
      throw wrong(`${file.path} is not in the partition of the data file it deletes from`);
  }
};

const check = (change: SnapshotChange, base: SnapshotBase): ReadonlySet<string> => {
  const { id, operation } = change;
  if (id < 1n || id > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong(`${id} is no snapshot id`);
  if (snapshotById(base.metadata, id) !== null) throw wrong(`the snapshot id ${id} is taken`);
  const deletes = change.remove.length > 0 || change.add.some(({ content }) => content !== 'data');
  if (operation === 'append' && deletes) throw wrong('an append removes rows');
  if (operation === 'delete' && change.add.some(({ content }) => content === 'data'))
    throw wrong('a delete adds rows');
  if ((operation === 'replace') !== (change.baseSequence !== undefined))
    throw wrong('a replace, and nothing else, names the sequence number that it has read');
  checkAdded(change, base);
  return checkRemoved(change, base.live);
};

/** Varve's keys of the newest snapshot that has any. */
const carriedKeys = (metadata: TableMetadata): Record<string, string> => {
  for (const { summary } of ancestry(metadata)) {
    const own = Object.entries(summary).filter(([key]) => key.startsWith(SUMMARY_PREFIX));
    if (own.length > 0) return Object.fromEntries(own);
  }
  return {};
};

type Numbers = { sequence: number; snapshotId: bigint; commitUuid: string };

const syncMark = (commitUuid: string): Uint8Array => Buffer.from(commitUuid.replaceAll('-', ''), 'hex');

/** Encodes a draft as manifest number `index` of this commit. */
const encodeDraft = (draft: ManifestDraft, base: SnapshotBase, numbers: Numbers & { index: number }) => {
  const { metadata, location, specs } = base;
  const spec = specs.find(({ specId }) => specId === draft.specId);
  if (spec === undefined) throw wrong(`no partition spec ${draft.specId}`);
  const schemaId = metadata['current-schema-id'];
  const typeOf = (sourceId: number): IcebergType => columnType(metadata, sourceId);
  const bytes = encodeManifest(draft.entries, draft.content, {
    schemaId,
    schemaJson: JSON.stringify(schemaJson(schemaId, currentFields(metadata))),
    spec,
    typeOf,
    sync: syncMark(numbers.commitUuid),
    sequence: numbers.sequence,
  });
  const path = manifestFile(location, numbers.commitUuid, numbers.index);
  const { sequence, snapshotId } = numbers;
  const identity = { path, bytes: bytes.length, content: draft.content, spec, typeOf, sequence, snapshotId };
  return { write: { uri: path, bytes }, manifest: describeManifest(draft.entries, identity) };
};

/**
 * The next snapshot on top of `base`. Throws commit_conflict when the base has moved under the change,
 * internal when the change itself is wrong.
 */
export const buildSnapshot = (
  base: SnapshotBase,
  change: SnapshotChange,
  { nowMs, commitUuid, merge }: { nowMs: number; commitUuid: string; merge: MergePolicy },
): SnapshotFiles => {
  const removed = check(change, base);
  const { metadata, location } = base;
  const sequence = metadata['last-sequence-number'] + 1;
  const snapshotId = change.id;
  const numbers = { sequence, snapshotId, commitUuid };
  const added = change.add.map((file): LiveFile => {
    const own = file.content === 'data' ? (change.baseSequence ?? sequence) : sequence;
    return { ...file, sequence: own, fileSequence: sequence, snapshotId };
  });
  const live = new Map(base.live);
  for (const path of removed) live.delete(path);
  for (const file of added) live.set(file.path, file);

  const writes: { uri: string; bytes: Uint8Array }[] = [];
  const manifests: ManifestFile[] = [];
  const entries = new Map<string, readonly ManifestEntry[]>();
  for (const draft of planManifests(base.sources, { added, removed, snapshotId }, merge)) {
    const made = draft.kept === null ? encodeDraft(draft, base, { ...numbers, index: writes.length }) : null;
    if (made) writes.push(made.write);
    const manifest = made?.manifest ?? draft.kept;
    if (manifest === null) continue;
    manifests.push(manifest);
    entries.set(manifest.path, draft.entries);
  }
  const parent = metadata['current-snapshot-id'] ?? -1;
  const parentId = BigInt(parent) === -1n ? null : BigInt(parent);
  const listUri = manifestListFile(location, snapshotId, commitUuid);
  const list = encodeManifestList(
    manifests,
    { id: snapshotId, parent: parentId, sequence },
    syncMark(commitUuid),
  );
  writes.push({ uri: listUri, bytes: list });
  const own = { ...(change.operation === 'replace' ? carriedKeys(metadata) : {}), ...change.summary };
  const removedFiles = [...removed].map((path) => base.live.get(path)).filter((file) => file !== undefined);
  const snapshot: Snapshot = {
    'snapshot-id': Number(snapshotId),
    ...(parentId === null ? {} : { 'parent-snapshot-id': parent }),
    'sequence-number': sequence,
    'timestamp-ms': Math.max(nowMs, metadata['last-updated-ms']),
    'manifest-list': listUri,
    summary: summarize(change.operation, { added, removed: removedFiles, live: live.values() }, own),
    'schema-id': metadata['current-schema-id'],
  };
  return { snapshot, writes, manifests, entries, live };
};
