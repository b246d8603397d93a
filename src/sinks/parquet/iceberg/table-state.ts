// Owns reading a table: which version is newest, what it says, which files are alive. Writes nothing.
// Manifests never change, so their entries are kept by path from one state to the next and read once.
import { VarveError } from '../../../errors.ts';
import type { IcebergField, LiveFile, PartitionSpec } from '../iceberg-type.ts';
import type { Store } from '../store.ts';
import type { TableCatalog } from './catalog.ts';
import { type FilesIo, filesCatalog } from './catalog-files.ts';
import { decodeManifest, type ManifestEntry } from './manifest.ts';
import { decodeManifestList, type ManifestFile } from './manifest-list.ts';
import {
  ancestry,
  currentFields,
  currentSnapshot,
  partitionSpecs,
  type Snapshot,
  type TableMetadata,
} from './metadata.ts';
import { SUMMARY_PREFIX } from './next-metadata.ts';

/** The world outside: files, the clock (milliseconds), fresh version 4 UUIDs. */
export type TableIo = FilesIo & {
  uuid: () => string;
  /** Which version is the newest; absent: our own files say it. */
  catalog?: TableCatalog | undefined;
};

export const catalogOf = (io: TableIo): TableCatalog => io.catalog ?? filesCatalog(io);

/** Filled by `liveFiles`; shared by states that follow each other. */
type EntryCache = Map<string, readonly ManifestEntry[]>;

/** One version of a table, as read or as just committed. Never changes. */
export type TableState = {
  /** The URI that it is asked for by, and the one that its files are below: a service may tell another. */
  readonly at: string;
  readonly location: string;
  /** N of v<N>.metadata.json; 0 where a service names its files. */
  readonly version: number;
  /** URI of the metadata file, as far as the catalog tells. */
  readonly file: string;
  /** When this version was known to be the newest. */
  readonly loadedAtMs: number;
  readonly metadata: TableMetadata;
  readonly uuid: string;
  readonly fields: readonly IcebergField[];
  readonly specs: readonly PartitionSpec[];
  /** The spec that new files are written with. */
  readonly spec: PartitionSpec;
  readonly properties: Readonly<Record<string, string>>;
  readonly snapshot: Snapshot | null;
  readonly manifests: readonly ManifestFile[];
  readonly cache: EntryCache;
};

const corrupt = (sentence: string, facts: Record<string, string | number>): VarveError =>
  new VarveError('table_corrupt', sentence, { facts });

export const makeState = (
  metadata: TableMetadata,
  more: Pick<TableState, 'at' | 'location' | 'version' | 'file' | 'loadedAtMs' | 'manifests' | 'cache'>,
): TableState => {
  const specs = partitionSpecs(metadata);
  const spec = specs.find(({ specId }) => specId === metadata['default-spec-id']);
  if (!spec) throw corrupt(`${more.location} has no partition spec ${metadata['default-spec-id']}.`, {});
  return {
    ...more,
    metadata,
    uuid: metadata['table-uuid'],
    fields: currentFields(metadata),
    specs,
    spec,
    properties: metadata.properties,
    snapshot: currentSnapshot(metadata),
  };
};

export const readManifestList = async (
  store: Store,
  uri: string,
): Promise<readonly ManifestFile[] | null> => {
  const bytes = await store.read(uri);
  return bytes === null ? null : decodeManifestList(bytes);
};

/**
 * The newest version of the table at this URI, or null when there is none. `previous` lends what it has read.
 * Throws table_corrupt (a gap, a damaged or missing file), table_foreign (what Varve cannot fold).
 */
export const loadTable = async (
  io: TableIo,
  location: string,
  previous?: TableState,
): Promise<TableState | null> => {
  const loadedAtMs = io.now();
  const found = await catalogOf(io).load(location);
  if (found === null) return null;
  const { metadata, ...version } = found;
  const list = currentSnapshot(metadata)?.['manifest-list'];
  const manifests = list === undefined ? [] : await readManifestList(io.store, list);
  if (manifests === null) throw corrupt(`The manifest list ${list} is missing; restore it.`, { location });
  return makeState(metadata, { ...version, loadedAtMs, manifests, cache: previous?.cache ?? new Map() });
};

/**
 * Entries of one manifest. Throws table_corrupt when the file is missing or is not the one that was listed.
 */
export const readManifest = async (
  store: Store,
  manifest: ManifestFile,
  specs: readonly PartitionSpec[],
): Promise<readonly ManifestEntry[]> => {
  const spec = specs.find(({ specId }) => specId === manifest.specId);
  const bytes = await store.read(manifest.path);
  if (bytes === null || spec === undefined || bytes.length !== manifest.bytes)
    throw corrupt(`The manifest ${manifest.path} is missing or not as it was written; restore it.`, {
      manifest: manifest.path,
      expectedBytes: manifest.bytes,
      foundBytes: bytes?.length ?? -1,
    });
  return decodeManifest(bytes, manifest, spec);
};

const READS_AT_ONCE = 16;

/** Every manifest of this state with its entries, in order. */
export const readSources = async (
  store: Store,
  state: TableState,
): Promise<readonly { manifest: ManifestFile; entries: readonly ManifestEntry[] }[]> => {
  const missing = state.manifests.filter((manifest) => !state.cache.has(manifest.path));
  for (let start = 0; start < missing.length; start += READS_AT_ONCE)
    await Promise.all(
      missing.slice(start, start + READS_AT_ONCE).map(async (manifest) => {
        state.cache.set(manifest.path, await readManifest(store, manifest, state.specs));
      }),
    );
  return state.manifests.map((manifest) => ({ manifest, entries: state.cache.get(manifest.path) ?? [] }));
};

const livePaths = new WeakMap<TableState, ReadonlyMap<string, LiveFile>>();

/** Data files and position deletes that the current snapshot holds, by path. */
export const liveFiles = async (store: Store, state: TableState): Promise<ReadonlyMap<string, LiveFile>> => {
  const known = livePaths.get(state);
  if (known) return known;
  const files = new Map<string, LiveFile>();
  for (const { entries } of await readSources(store, state))
    for (const { status, file } of entries) if (status !== 'deleted') files.set(file.path, file);
  const paths = new Set(state.manifests.map(({ path }) => path));
  for (const path of state.cache.keys()) if (!paths.has(path)) state.cache.delete(path);
  livePaths.set(state, files);
  return files;
};

/** Spares the next `liveFiles` what a commit knows anyway. */
export const rememberLive = (state: TableState, files: ReadonlyMap<string, LiveFile>): void => {
  livePaths.set(state, files);
};

/** Of the properties that repeat a snapshot's keys: that snapshot's sequence number. */
export const MIRRORED = 'varve.mirrored';

/**
 * After a rollback behind the snapshot that the properties repeat, they speak of rows that are not there any
 * more.
 */
const refuseRolledBack = ({ location, metadata, properties }: TableState): void => {
  const mirrored = Number(properties[MIRRORED] ?? Number.NaN);
  const line = [...ancestry(metadata)].map((snapshot) => snapshot['sequence-number']);
  const isHeld = metadata.snapshots.some((snapshot) => snapshot['sequence-number'] === mirrored);
  if (!isHeld && !line.some((sequence) => sequence < mirrored)) return;
  throw new VarveError(
    'table_foreign',
    `${location} was rolled back to a snapshot that does not say up to where it holds the topic, and none ` +
      'before it is left that does. Roll it to a snapshot that has varve.offsets, or move the table away ' +
      'and let it be built anew.',
    { facts: { location, mirrored, current: line[0] ?? null } },
  );
};

/**
 * A value that commits carry: from the newest snapshot on main's line that has the key, because a foreign
 * `replace` has none; from the table's properties when all such snapshots have expired. Throws
 * `table_foreign` when it can be had from neither.
 */
export const summaryValue = (state: TableState, key: string): string | null => {
  let isOurs = false;
  for (const { summary } of ancestry(state.metadata)) {
    const value = summary[key];
    if (value !== undefined) return value;
    isOurs ||= Object.keys(summary).some((one) => one.startsWith(SUMMARY_PREFIX));
  }
  const value = state.properties[key];
  if (value === undefined) return null;
  if (!isOurs) refuseRolledBack(state);
  return value;
};
