// Owns what may be deleted from a table's directory, and deletes it: what only retired versions reach, and
// what no version ever reached. Never deletes in doubt: ages, reachability and the table's own prefix all
// have to agree.
import { VarveError } from '../../../errors.ts';
import type { LiveFile } from '../iceberg-type.ts';
import { fileKey, hintFile, isMetadata, metadataVersion } from '../layout.ts';
import type { StoredFile } from '../store.ts';
import { readHint, readVersion } from './catalog-files.ts';
import { parseMetadata, partitionSpecs, type Snapshot, type TableMetadata } from './metadata.ts';
import {
  catalogOf,
  liveFiles,
  readManifest,
  readManifestList,
  type TableIo,
  type TableState,
} from './table-state.ts';
import { neededVersions, retiredVersions, type VersionFile } from './versions.ts';

/** A file that goes; zero bytes: nobody asked how large it is. */
export type Doomed = { uri: string; bytes: number };

/** By `fileKey`, in the order in which they may be deleted: what is pointed to before what points. */
type Reach = Record<'data' | 'manifests' | 'lists', Map<string, Doomed>>;

const emptyReach = (): Reach => ({ data: new Map(), manifests: new Map(), lists: new Map() });

const statisticsPaths = (metadata: TableMetadata): string[] =>
  [...(metadata.statistics ?? []), ...(metadata['partition-statistics'] ?? [])]
    .map((one) => one['statistics-path'])
    .filter((path) => typeof path === 'string');

/**
 * Adds everything that these snapshots reach. With `strict`, a missing file is an error; without, it was
 * deleted by an earlier sweep that was cut off.
 */
const addReach = async (
  io: TableIo,
  reach: Reach,
  {
    metadata,
    snapshots,
    strict,
  }: { metadata: TableMetadata; snapshots: readonly Snapshot[]; strict: boolean },
): Promise<void> => {
  const specs = partitionSpecs(metadata);
  for (const snapshot of snapshots) {
    const uri = snapshot['manifest-list'];
    if (reach.lists.has(fileKey(uri))) continue;
    reach.lists.set(fileKey(uri), { uri, bytes: 0 });
    const manifests = await readManifestList(io.store, uri);
    if (manifests === null && strict)
      throw new VarveError('table_corrupt', `The manifest list ${uri} is missing; nothing is swept.`, {
        facts: { uri },
      });
    for (const manifest of manifests ?? []) {
      if (reach.manifests.has(fileKey(manifest.path))) continue;
      reach.manifests.set(fileKey(manifest.path), { uri: manifest.path, bytes: manifest.bytes });
      if (!strict && !(await io.store.exists(manifest.path))) continue;
      for (const { status, file } of await readManifest(io.store, manifest, specs))
        if (status !== 'deleted') reach.data.set(fileKey(file.path), { uri: file.path, bytes: file.bytes });
    }
  }
};

const without = (gone: ReadonlyMap<string, Doomed>, kept: ReadonlyMap<string, Doomed>): Doomed[] =>
  [...gone].filter(([key]) => !kept.has(key)).map(([, file]) => file);

const inside = (location: string, uri: string): boolean => fileKey(uri).startsWith(`${fileKey(location)}/`);

const listAll = async (files: AsyncIterable<StoredFile>): Promise<StoredFile[]> => {
  const all: StoredFile[] = [];
  for await (const file of files) all.push(file);
  return all;
};

/** Rising. */
const versionFiles = async (io: TableIo, location: string): Promise<VersionFile[]> => {
  const found: VersionFile[] = [];
  for (const file of await listAll(io.store.list(`${location}/metadata/v`))) {
    const version = metadataVersion(file.uri);
    if (version !== null) found.push({ ...file, version });
  }
  return found.sort((a, b) => a.version - b.version);
};

/** Up to where the hint points: whoever starts looks for every version from there on. */
const earlierVersions = async (io: TableIo, { location, version: newest }: TableState) => {
  const last = Math.min((await readHint(io.store, location)) ?? 0, newest);
  return (await versionFiles(io, location)).filter(({ version }) => version <= last);
};

const loggedVersions = (metadata: TableMetadata): ReadonlySet<number> =>
  new Set(metadata['metadata-log'].map((entry) => metadataVersion(entry['metadata-file']) ?? 0));

const removeAll = async (io: TableIo, doomed: readonly Doomed[]): Promise<void> => {
  for (const { uri } of doomed) await io.store.remove(uri);
};

type SweepOptions = { minAgeMs: number; dryRun: boolean };
/** Versions handled in one call. */
const RETIRE_AT_ONCE = 500;

/**
 * Retires versions that were replaced longer than `minAgeMs` ago (24 hours, or readers lose files under
 * their hands) and are out of the metadata log, with all files that only they reach. Returns what was, or
 * with `dryRun` would be, deleted. A cut-off run is finished by the next: the metadata files go last, oldest
 * first.
 */
export const retireVersions = async (
  io: TableIo,
  state: TableState,
  { minAgeMs, dryRun }: SweepOptions,
): Promise<readonly Doomed[]> => {
  const { location, metadata } = state;
  if (!catalogOf(io).isFiles) return [];
  const files = await earlierVersions(io, state);
  const limits = { nowMs: io.now(), minAgeMs, limit: RETIRE_AT_ONCE };
  const retired = retiredVersions(files, loggedVersions(metadata), limits);
  const next = files[retired.length];
  if (retired.length === 0 || next === undefined) return [];
  const survivor = await readVersion(io.store, location, next.version);
  if (survivor === null) return [];
  const kept = emptyReach();
  await addReach(io, kept, { metadata: survivor, snapshots: survivor.snapshots, strict: true });
  await addReach(io, kept, { metadata, snapshots: metadata.snapshots, strict: true });
  const gone = emptyReach();
  const stats = new Map<string, Doomed>();
  for (const { version } of retired) {
    const old = await readVersion(io.store, location, version);
    if (old === null) continue;
    const expired = old.snapshots.filter((snapshot) => !kept.lists.has(fileKey(snapshot['manifest-list'])));
    await addReach(io, gone, { metadata: old, snapshots: expired, strict: false });
    for (const uri of statisticsPaths(old)) stats.set(fileKey(uri), { uri, bytes: 0 });
  }
  for (const path of [...statisticsPaths(survivor), ...statisticsPaths(metadata)])
    stats.delete(fileKey(path));
  const doomed = [
    ...without(gone.data, kept.data),
    ...stats.values(),
    ...without(gone.manifests, kept.manifests),
    ...without(gone.lists, kept.lists),
    ...retired,
  ].filter(({ uri }) => inside(location, uri));
  if (!dryRun) await removeAll(io, doomed);
  return doomed;
};

/** Where thinning may go on: every version up to it that is left is needed. */
export type Thinned = { upTo: number };

/**
 * Deletes metadata files, and nothing else, of versions that were replaced longer than `minAgeMs` ago: as
 * many as can be missed without losing sight of a snapshot that some version held, for that one's files go
 * later. Who reads such a version has its metadata in hand. Returns what was, or would be, deleted.
 */
export const thinVersions = async (
  io: TableIo,
  state: TableState,
  { minAgeMs, dryRun, since }: SweepOptions & { since: Thinned },
): Promise<{ doomed: readonly Doomed[]; thinned: Thinned }> => {
  const { location, metadata } = state;
  if (!catalogOf(io).isFiles) return { doomed: [], thinned: since };
  const all = await earlierVersions(io, state);
  const limits = { nowMs: io.now(), minAgeMs, limit: all.length };
  const old = retiredVersions(all, loggedVersions(metadata), limits);
  const from = Math.max(
    0,
    old.findLastIndex(({ version }) => version <= since.upTo),
  );
  const chain = old.slice(from, from + RETIRE_AT_ONCE);
  const read = (at: number): Promise<TableMetadata | null> =>
    readVersion(io.store, location, chain[at]?.version ?? 0);
  const kept = await neededVersions(chain.length, read);
  const doomed = chain.filter((_, at) => !kept.has(at));
  if (!dryRun) await removeAll(io, doomed);
  // Of the last one, nobody knows yet whether it will be needed.
  return { doomed, thinned: { upTo: chain[Math.max(...kept, 0)]?.version ?? since.upTo } };
};

type Version = { metadata: TableMetadata; strict: boolean };

/** Metadata files of a service, which names them as it likes: those that somebody may have read since. */
async function* servedVersions(io: TableIo, state: TableState, sinceMs: number): AsyncGenerator<Version> {
  yield { metadata: state.metadata, strict: true };
  const all = await listAll(io.store.list(`${state.location}/metadata/`));
  const files = all.filter(({ uri }) => isMetadata(uri)).sort((a, b) => b.modifiedMs - a.modifiedMs);
  const last = files.findIndex(({ modifiedMs }) => modifiedMs < sinceMs);
  for (const { uri } of last === -1 ? files : files.slice(0, last + 1)) {
    const bytes = await io.store.read(uri);
    if (bytes !== null) yield { metadata: parseMetadata(bytes, uri), strict: false };
  }
}

/** Versions of which somebody may need a file, the newest first. */
async function* versionsBack(io: TableIo, state: TableState, sinceMs: number): AsyncGenerator<Version> {
  if (!catalogOf(io).isFiles) {
    yield* servedVersions(io, state, sinceMs);
    return;
  }
  const versions = (await versionFiles(io, state.location)).map(({ version }) => version).reverse();
  for (const version of versions) {
    const isOurs = version === state.version;
    const metadata = isOurs ? state.metadata : await readVersion(io.store, state.location, version);
    if (metadata !== null) yield { metadata, strict: version >= state.version };
  }
}

/** A service that shares a table's files among branches of its own says so, and deletes what it must. */
const isLeftAlone = (io: TableIo, { properties }: TableState): boolean =>
  !catalogOf(io).isFiles && properties['gc.enabled'] === 'false';

/**
 * Deletes files below the table's prefix that are older than `minAgeMs` (three days are customary: a commit
 * may be under way) and that no version reaches, and what cut-off writes left. Returns what was, or would be,
 * deleted.
 */
export const sweepOrphans = async (
  io: TableIo,
  state: TableState,
  { minAgeMs, dryRun }: SweepOptions,
): Promise<readonly Doomed[]> => {
  const { location } = state;
  if (isLeftAlone(io, state)) return [];
  const before = io.now() - minAgeMs;
  const candidates = new Map<string, Doomed>();
  for await (const { uri, bytes, modifiedMs } of io.store.list(`${location}/`))
    if (modifiedMs < before && !isMetadata(uri) && uri !== hintFile(location))
      candidates.set(fileKey(uri), { uri, bytes });
  const spare = (keys: Iterable<string>): void => {
    for (const key of keys) candidates.delete(key);
  };
  const reach = emptyReach();
  // The newest version first: it spares nearly all, and then there is nothing left to read old ones for.
  for await (const { metadata, strict } of versionsBack(io, state, before)) {
    const missing = metadata.snapshots.filter((one) => !reach.lists.has(fileKey(one['manifest-list'])));
    await addReach(io, reach, { metadata, snapshots: missing, strict });
    spare(statisticsPaths(metadata).map(fileKey));
    for (const part of [reach.data, reach.manifests, reach.lists]) spare(part.keys());
    // Spared once is spared; only the lists and manifests must be remembered, so as not to read them again.
    reach.data.clear();
    if (candidates.size === 0) break;
  }
  const doomed = [...candidates.values()];
  if (dryRun) return doomed;
  await removeAll(io, doomed);
  await io.store.sweepLeftovers(`${location}/`, before);
  return doomed;
};

/** The same for the companion of a table, of whose files only the `named` ones are needed. */
export const sweepCompanion = async (
  io: TableIo,
  location: string,
  { minAgeMs, dryRun, named }: SweepOptions & { named: ReadonlySet<string> },
): Promise<readonly Doomed[]> => {
  const before = io.now() - minAgeMs;
  const doomed: Doomed[] = [];
  for await (const { uri, bytes, modifiedMs } of io.store.list(`${location}/`))
    if (modifiedMs < before && !named.has(uri)) doomed.push({ uri, bytes });
  if (dryRun) return doomed;
  await removeAll(io, doomed);
  await io.store.sweepLeftovers(`${location}/`, before);
  return doomed;
};

/**
 * Live files that are missing or have another size than the manifest says: somebody edited or deleted them.
 */
export const auditFiles = async (
  io: TableIo,
  state: TableState,
): Promise<{ missing: readonly LiveFile[]; resized: readonly LiveFile[] }> => {
  const sizes = new Map<string, number>();
  for await (const { uri, bytes } of io.store.list(`${state.location}/`)) sizes.set(fileKey(uri), bytes);
  const own = [...(await liveFiles(io.store, state)).values()].filter((file) =>
    inside(state.location, file.path),
  );
  const missing = own.filter((file) => !sizes.has(fileKey(file.path)));
  const resized = own.filter((file) => (sizes.get(fileKey(file.path)) ?? file.bytes) !== file.bytes);
  return { missing, resized };
};
