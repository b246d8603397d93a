// Owns the commit: manifests and list first, then one exclusive create of v<N+1>.metadata.json, which alone
// decides. Whoever did not create it has committed nothing. The hint comes last, at best effort, and only
// moves forward.
import { VarveError } from '../../../errors.ts';
import { hintFile, metadataFile } from '../layout.ts';
import type { MergePolicy } from './manifest-plan.ts';
import { COMMIT_UUID, parseMetadata, printMetadata, snapshotById, type TableMetadata } from './metadata.ts';
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
  listVersions,
  liveFiles,
  loadTable,
  MIRRORED,
  makeState,
  readHint,
  readSources,
  readVersion,
  rememberLive,
  type TableIo,
  type TableState,
} from './table-state.ts';

/**
 * Metadata files live longer than this by far, so a younger base cannot miss a version that came and went.
 */
const MAX_BASE_AGE_MS = 3_600_000;
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

const conflict = (location: string, version: number): VarveError =>
  new VarveError(
    'commit_conflict',
    `Another writer committed v${version} of ${location}; load the table again and redo the work.`,
    { facts: { location, version } },
  );

/**
 * Creates a version's file. True: it is there and ours, also when the answer of an earlier try was lost.
 * False: it is another's, for certain. A throw means that nobody knows yet; nothing may be deleted then.
 */
const createVersion = async ({ store }: TableIo, uri: string, bytes: Uint8Array): Promise<boolean> => {
  for (let tries = 1; ; tries++) {
    try {
      if ((await store.createExclusive(uri, bytes)) === 'created') return true;
    } catch (thrown) {
      const found = await store.read(uri).catch(() => null);
      if (found === null && tries === 2) throw thrown;
      if (found === null) continue;
    }
    // Every version holds a fresh uuid, so equal bytes are the same commit.
    const found = await store.read(uri);
    if (found !== null) return Buffer.compare(found, bytes) === 0;
    throw new VarveError('commit_conflict', `${uri} exists and cannot be read; load the table again.`, {
      facts: { file: uri },
    });
  }
};

/**
 * A writer that slept while versions came and were cleaned away can create a number that was used before.
 * Then a higher version stands that does not know our snapshot: ours goes, and we stand down.
 */
const standDown = async (
  io: TableIo,
  base: TableState,
  { made, hint }: { made: TableMetadata; hint: number | null },
): Promise<void> => {
  const { location } = base;
  const version = base.version + 1;
  const aged = io.now() - base.loadedAtMs > MAX_BASE_AGE_MS;
  const listed = aged ? ((await listVersions(io.store, location)).at(-1) ?? 0) : 0;
  const newest = Math.max(hint ?? 0, listed);
  if (newest <= version) return;
  const higher = await readVersion(io.store, location, newest);
  const ours = made['current-snapshot-id'] ?? -1;
  const isNew = base.metadata['current-snapshot-id'] !== ours;
  if (isNew && higher !== null && snapshotById(higher, BigInt(ours)) !== null) return;
  if (isNew) await io.store.remove(metadataFile(location, version));
  throw conflict(location, newest);
};

const moveHint = async (io: TableIo, location: string, version: number): Promise<void> => {
  try {
    await io.store.write(hintFile(location), Buffer.from(String(version)));
  } catch (thrown) {
    io.onHintFailure(thrown);
  }
};

/** The base, known to be the newest version not long ago. Throws commit_conflict when it no longer is. */
const freshBase = async (io: TableIo, base: TableState): Promise<TableState> => {
  if (io.now() - base.loadedAtMs <= MAX_BASE_AGE_MS) return base;
  const found = await loadTable(io, base.location, base);
  const same = found?.uuid === base.uuid && found.properties[COMMIT_UUID] === base.properties[COMMIT_UUID];
  if (found && same && found.version === base.version) return found;
  throw conflict(base.location, found?.version ?? 0);
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
  const baseFile = metadataFile(base.location, base.version);
  const common = { nowMs, baseFile, ...evolve(base, change) };
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
  const mirrored = snapshot === null ? {} : { [MIRRORED]: String(snapshot['sequence-number']) };
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
  const { location } = base;
  const version = base.version + 1;
  const { metadata, files } = await prepare(io, base, change);
  const writes = files?.writes ?? [];
  await writeAll(io, writes);
  const ours = await createVersion(io, metadataFile(location, version), printMetadata(metadata));
  if (!ours) {
    // Nobody can ever reach them: the version they were written for is another's.
    await removeQuietly(
      io,
      writes.map(({ uri }) => uri),
    );
    throw conflict(location, version);
  }
  const hint = await readHint(io.store, location);
  await standDown(io, base, { made: metadata, hint });
  if ((hint ?? 0) < version) await moveHint(io, location, version);
  const loadedAtMs = io.now();
  const manifests = files?.manifests ?? base.manifests;
  const cache = files ? new Map(files.entries) : base.cache;
  const state = makeState(metadata, { location, version, loadedAtMs, manifests, cache });
  const live = files?.live ?? null;
  if (live) rememberLive(state, live);
  return state;
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
 * Creates v1: an empty table without snapshot. Throws commit_conflict when somebody else created it first.
 */
export const createTable = async (io: TableIo, location: string, table: NewTable): Promise<TableState> => {
  const columns = evolveColumns({ fields: [], lastColumnId: 0 }, table.columns);
  const none = { specs: [], lastPartitionId: FIRST_PARTITION_ID - 1 };
  const { spec, lastPartitionId } = evolveSpec(none, table.partition, columns.fields);
  const uri = metadataFile(location, 1);
  const sorting = evolveSort([], table.sort);
  const bytes = Buffer.from(
    JSON.stringify({
      'format-version': 2,
      'table-uuid': io.uuid(),
      location,
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
  if (!(await createVersion(io, uri, bytes))) throw conflict(location, 1);
  await moveHint(io, location, 1);
  const metadata = parseMetadata(bytes, uri);
  return makeState(metadata, { location, version: 1, loadedAtMs, manifests: [], cache: new Map() });
};
