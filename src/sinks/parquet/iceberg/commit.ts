// Owns the commit: manifests and list first, then one step of the catalog, which alone decides whether the
// table has another version. Knows no file of the catalog's.
import { VarveError } from '../../../errors.ts';
import { MAX_BASE_AGE_MS } from './catalog-files.ts';
import type { MergePolicy } from './manifest-plan.ts';
import { COMMIT_UUID, freshSnapshotId, parseMetadata } from './metadata.ts';
import { type ExpirePolicy, nextMetadata, SUMMARY_PREFIX, schemaJson, specJson } from './next-metadata.ts';
import {
  evolveColumns,
  evolveSpec,
  FIRST_PARTITION_ID,
  sameColumns,
  type WantedField,
  type WantedPartition,
} from './schema.ts';
import { buildSnapshot, type SnapshotChange, type SnapshotFiles } from './snapshot-files.ts';
import { evolveSort } from './sort-order.ts';
import {
  catalogOf,
  liveFiles,
  loadTable,
  MIRRORED,
  makeState,
  readSources,
  rememberLive,
  type TableIo,
  type TableState,
} from './table-state.ts';

const MERGE: MergePolicy = { mergeAt: 100, maxBytes: 8 << 20 };

export type Change = {
  /** Absent: schema, partitioning or properties only. */
  snapshot?: SnapshotChange;
  /** The whole list of columns, as `evolveColumns` gives it. */
  columns?: readonly WantedField[];
  partition?: readonly WantedPartition[];
  /** Field ids that new files are sorted by, rising. */
  sort?: readonly number[];
  /** null removes. */
  properties?: Readonly<Record<string, string | null>>;
  expire?: ExpirePolicy;
  /** When manifests are merged; the default suits. */
  merge?: MergePolicy;
};

const conflict = (location: string): VarveError =>
  new VarveError(
    'commit_conflict',
    `Another writer committed to ${location} first; load the table again and redo the work.`,
    { facts: { location } },
  );

/** The base, known to be the newest version not long ago. Throws commit_conflict when it no longer is. */
const freshBase = async (io: TableIo, base: TableState): Promise<TableState> => {
  // A service compares for itself.
  if (!catalogOf(io).isFiles || io.now() - base.loadedAtMs <= MAX_BASE_AGE_MS) return base;
  const found = await loadTable(io, base.at, base);
  const same = found?.uuid === base.uuid && found.properties[COMMIT_UUID] === base.properties[COMMIT_UUID];
  if (found && same && found.version === base.version) return found;
  throw conflict(base.location);
};

/**
 * No service compares properties, so that a commit under way would not notice that a table was paused: where
 * they change, there is a new snapshot of the same files.
 */
const withGuard = (io: TableIo, { metadata }: TableState, change: Change): Change => {
  if (catalogOf(io).isFiles || change.snapshot || !change.properties) return change;
  const id = freshSnapshotId(io.uuid);
  const baseSequence = metadata['last-sequence-number'];
  return {
    ...change,
    snapshot: { id, operation: 'replace', add: [], remove: [], summary: {}, baseSequence },
  };
};

const nextProperties = (base: TableState, change: Change, own: Readonly<Record<string, string>>) => {
  const properties: Record<string, string> = { ...base.properties };
  for (const [key, value] of Object.entries(change.properties ?? {}))
    if (value === null) delete properties[key];
    else properties[key] = value;
  for (const [key, value] of Object.entries(own)) if (key.startsWith(SUMMARY_PREFIX)) properties[key] = value;
  return properties;
};

const evolve = (base: TableState, change: Change) => {
  const { metadata, fields, specs } = base;
  const columns = change.columns
    ? evolveColumns({ fields, lastColumnId: metadata['last-column-id'] }, change.columns)
    : null;
  const changed = columns !== null && !sameColumns(columns.fields, fields) ? columns : null;
  const known = { specs, lastPartitionId: metadata['last-partition-id'] };
  const partitioning = change.partition
    ? evolveSpec(known, change.partition, columns?.fields ?? fields)
    : null;
  return { columns: changed, partitioning, sort: change.sort ?? null };
};

/** Metadata and files of the next version. */
const prepare = async (io: TableIo, base: TableState, change: Change) => {
  const commitUuid = io.uuid();
  const nowMs = io.now();
  const common = { nowMs, baseFile: base.file, ...evolve(base, change) };
  const frame = { ...common, snapshot: null, expire: null, properties: {} };
  const evolved = nextMetadata(base.metadata, frame);
  let files: SnapshotFiles | null = null;
  if (change.snapshot) {
    const live = await liveFiles(io.store, base);
    const sources = await readSources(io.store, base);
    const specs = makeState(evolved, base).specs;
    const on = { location: base.location, metadata: evolved, specs, sources, live };
    files = buildSnapshot(on, change.snapshot, { nowMs, commitUuid, merge: change.merge ?? MERGE });
  }
  const snapshot = files?.snapshot ?? null;
  // A service may have forgotten every snapshot with our keys: the properties then speak of the last one.
  const isCarrier = Object.keys(snapshot?.summary ?? {}).some((key) => key.startsWith(SUMMARY_PREFIX));
  const mirrored = isCarrier ? { [MIRRORED]: String(snapshot?.['sequence-number']) } : {};
  const own = { ...snapshot?.summary, ...mirrored, [COMMIT_UUID]: commitUuid };
  const properties = nextProperties(base, change, own);
  const metadata = nextMetadata(base.metadata, {
    ...common,
    snapshot,
    properties,
    expire: change.expire ?? null,
  });
  return { metadata, files };
};

const removeQuietly = async (io: TableIo, uris: readonly string[]): Promise<void> => {
  await Promise.allSettled(uris.map((uri) => io.store.remove(uri)));
};

/**
 * Commits one change on top of `base` and returns the new state. Kinds thrown: commit_conflict (another
 * writer was first, or an input is gone: nothing of ours is in the table), schema_incompatible, internal (the
 * change is wrong). After any other error the outcome is unknown: load the table and look for the snapshot id
 * before going on.
 */
export const commit = async (io: TableIo, given: TableState, change: Change): Promise<TableState> => {
  const base = await freshBase(io, given);
  const { metadata, files } = await prepare(io, base, withGuard(io, base, change));
  const writes = files?.writes ?? [];
  await writeAll(io, writes);
  const made = await catalogOf(io).replace(base, metadata);
  if (made === null) {
    // Nobody can ever reach them: the version they were written for is another's.
    await removeQuietly(
      io,
      writes.map(({ uri }) => uri),
    );
    throw conflict(base.location);
  }
  const ours = metadata['current-snapshot-id'] ?? -1;
  if (BigInt(made.metadata['current-snapshot-id'] ?? -1) !== BigInt(ours)) return await reload(io, base);
  const loadedAtMs = io.now();
  const manifests = files?.manifests ?? base.manifests;
  const cache = files ? new Map(files.entries) : base.cache;
  const { metadata: whole, ...version } = made;
  const state = makeState(whole, { ...version, loadedAtMs, manifests, cache });
  const live = files?.live ?? null;
  if (live) rememberLive(state, live);
  return state;
};

/** For a commit that another came on top of before anybody could tell that it was done. */
const reload = async (io: TableIo, base: TableState): Promise<TableState> => {
  const found = await loadTable(io, base.at, base);
  if (found !== null) return found;
  throw new VarveError('table_corrupt', `${base.location} vanished after a commit.`);
};

/**
 * Their names are fresh: one that exists is an earlier try of the same bytes. Waits for all, then tells of
 * the first failure.
 */
const writeAll = async ({ store }: TableIo, writes: SnapshotFiles['writes']): Promise<void> => {
  const done = await Promise.allSettled(writes.map(({ uri, bytes }) => store.createExclusive(uri, bytes)));
  for (const result of done) if (result.status === 'rejected') throw result.reason;
};

type NewTable = {
  columns: readonly WantedField[];
  partition: readonly WantedPartition[];
  sort: readonly number[];
  properties: Readonly<Record<string, string>>;
};

/**
 * Creates an empty table without snapshot. Throws commit_conflict when somebody else created it first.
 */
export const createTable = async (io: TableIo, at: string, table: NewTable): Promise<TableState> => {
  const columns = evolveColumns({ fields: [], lastColumnId: 0 }, table.columns);
  const none = { specs: [], lastPartitionId: FIRST_PARTITION_ID - 1 };
  const { spec, lastPartitionId } = evolveSpec(none, table.partition, columns.fields);
  const sorting = evolveSort([], table.sort);
  const bytes = Buffer.from(
    JSON.stringify({
      'format-version': 2,
      'table-uuid': io.uuid(),
      location: at,
      'last-sequence-number': 0,
      'last-updated-ms': io.now(),
      'last-column-id': columns.lastColumnId,
      'current-schema-id': 0,
      schemas: [schemaJson(0, columns.fields)],
      'default-spec-id': spec.specId,
      'partition-specs': [specJson(spec)],
      'last-partition-id': lastPartitionId,
      'default-sort-order-id': sorting.id,
      'sort-orders': sorting.orders,
      properties: { ...table.properties, [COMMIT_UUID]: io.uuid() },
      'current-snapshot-id': -1,
      refs: {},
      snapshots: [],
      'snapshot-log': [],
      'metadata-log': [],
    }),
  );
  const loadedAtMs = io.now();
  const made = await catalogOf(io).create(at, parseMetadata(bytes, at));
  if (made === null) throw conflict(at);
  const { metadata, ...version } = made;
  return makeState(metadata, { ...version, loadedAtMs, manifests: [], cache: new Map() });
};
