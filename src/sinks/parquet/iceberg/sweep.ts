// Owns what may be deleted from a table's directory, and deletes it: what only retired versions reach, and
// what no version ever reached. Never deletes in doubt: ages, reachability and the table's own prefix all
// have to agree.
import { VarveError } from '../../../errors.ts';
import type { LiveFile } from '../iceberg-type.ts';
import { fileKey, hintFile, metadataFile, metadataVersion } from '../layout.ts';
import type { StoredFile } from '../store.ts';
import { partitionSpecs, type Snapshot, type TableMetadata } from './metadata.ts';
import {
  liveFiles,
  readManifest,
  readManifestList,
  readVersion,
  type TableIo,
  type TableState,
} from './table-state.ts';

type VersionFile = { version: number; modifiedMs: number };

/**
 * The oldest versions that nobody needs: older than `minAgeMs`, not in the metadata log, none older left
 * behind.
 */
export const retiredVersions = (
  files: readonly VersionFile[],
  logged: ReadonlySet<number>,
  { nowMs, minAgeMs, limit }: { nowMs: number; minAgeMs: number; limit: number },
): readonly number[] => {
  const sorted = files.toSorted((a, b) => a.version - b.version);
  const firstKept = sorted.findIndex(
    (file, at) => at === sorted.length - 1 || logged.has(file.version) || nowMs - file.modifiedMs < minAgeMs,
  );
  return sorted.slice(0, Math.min(Math.max(firstKept, 0), limit)).map(({ version }) => version);
};

/** URIs by `fileKey`, in the order in which they may be deleted: what is pointed to before what points. */
type Reach = { data: Map<string, string>; manifests: Map<string, string>; lists: Map<string, string> };

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
    reach.lists.set(fileKey(uri), uri);
    const manifests = await readManifestList(io.store, uri);
    if (manifests === null && strict)
      throw new VarveError('table_corrupt', `The manifest list ${uri} is missing; nothing is swept.`, {
        facts: { uri },
      });
    for (const manifest of manifests ?? []) {
      if (reach.manifests.has(fileKey(manifest.path))) continue;
      reach.manifests.set(fileKey(manifest.path), manifest.path);
      if (!strict && !(await io.store.exists(manifest.path))) continue;
      for (const { status, file } of await readManifest(io.store, manifest, specs))
        if (status !== 'deleted') reach.data.set(fileKey(file.path), file.path);
    }
  }
};

const without = (gone: Map<string, string>, kept: ReadonlyMap<string, string>): string[] =>
  [...gone].filter(([key]) => !kept.has(key)).map(([, uri]) => uri);

const inside = (location: string, uri: string): boolean => fileKey(uri).startsWith(`${fileKey(location)}/`);

const listAll = async (files: AsyncIterable<StoredFile>): Promise<StoredFile[]> => {
  const all: StoredFile[] = [];
  for await (const file of files) all.push(file);
  return all;
};

const versionFiles = async (io: TableIo, location: string): Promise<VersionFile[]> => {
  const found: VersionFile[] = [];
  for (const { uri, modifiedMs } of await listAll(io.store.list(`${location}/metadata/v`))) {
    const version = metadataVersion(uri);
    if (version !== null) found.push({ version, modifiedMs });
  }
  return found;
};

type SweepOptions = { minAgeMs: number; dryRun: boolean };
/** Versions handled in one call. */
const RETIRE_AT_ONCE = 500;

/**
 * Retires versions that are older than `minAgeMs` (24 hours at least, or readers lose files under their
 * hands) and out of the metadata log, with all files that only they reach. Returns what was, or with `dryRun`
 * would be, deleted. A cut-off run is finished by the next: the metadata files go last, oldest first.
 */
export const retireVersions = async (
  io: TableIo,
  state: TableState,
  { minAgeMs, dryRun }: SweepOptions,
): Promise<readonly string[]> => {
  const { location, metadata } = state;
  const logged = new Set(
    metadata['metadata-log'].map((entry) => metadataVersion(entry['metadata-file']) ?? 0),
  );
  const files = (await versionFiles(io, location)).filter(({ version }) => version <= state.version);
  const retired = retiredVersions(files, logged, { nowMs: io.now(), minAgeMs, limit: RETIRE_AT_ONCE });
  const last = retired.at(-1);
  if (last === undefined) return [];
  const survivor = await readVersion(io.store, location, last + 1);
  if (survivor === null) return [];
  const kept = emptyReach();
  await addReach(io, kept, { metadata: survivor, snapshots: survivor.snapshots, strict: true });
  await addReach(io, kept, { metadata, snapshots: metadata.snapshots, strict: true });
  const gone = emptyReach();
  const stats = new Map<string, string>();
  for (const version of retired) {
    const old = await readVersion(io.store, location, version);
    if (old === null) continue;
    const expired = old.snapshots.filter((snapshot) => !kept.lists.has(fileKey(snapshot['manifest-list'])));
    await addReach(io, gone, { metadata: old, snapshots: expired, strict: false });
    for (const path of statisticsPaths(old)) stats.set(fileKey(path), path);
  }
  for (const path of [...statisticsPaths(survivor), ...statisticsPaths(metadata)])
    stats.delete(fileKey(path));
  const doomed = [
    ...without(gone.data, kept.data),
    ...stats.values(),
    ...without(gone.manifests, kept.manifests),
    ...without(gone.lists, kept.lists),
    ...retired.map((version) => metadataFile(location, version)),
  ].filter((uri) => inside(location, uri));
  if (!dryRun) for (const uri of doomed) await io.store.remove(uri);
  return doomed;
};

/**
 * Deletes files below the table's prefix that are older than `minAgeMs` (three days are customary: a commit
 * may be under way) and that no version reaches, and what cut-off writes left. Returns what was, or would be,
 * deleted.
 */
export const sweepOrphans = async (
  io: TableIo,
  state: TableState,
  { minAgeMs, dryRun }: SweepOptions,
): Promise<readonly string[]> => {
  const { location } = state;
  const before = io.now() - minAgeMs;
  const candidates = new Map<string, string>();
  for await (const { uri, modifiedMs } of io.store.list(`${location}/`))
    if (modifiedMs < before && !uri.endsWith('.metadata.json') && uri !== hintFile(location))
      candidates.set(fileKey(uri), uri);
  const spare = (keys: Iterable<string>): void => {
    for (const key of keys) candidates.delete(key);
  };
  const reach = emptyReach();
  // The newest version first: it spares nearly all, and then there is nothing left to read old ones for.
  const versions = (await versionFiles(io, location)).map(({ version }) => version).sort((a, b) => b - a);
  for (const version of versions) {
    if (candidates.size === 0) break;
    const metadata =
      version === state.version ? state.metadata : await readVersion(io.store, location, version);
    if (metadata === null) continue;
    const strict = version >= state.version;
    const missing = metadata.snapshots.filter((one) => !reach.lists.has(fileKey(one['manifest-list'])));
    await addReach(io, reach, { metadata, snapshots: missing, strict });
    spare(statisticsPaths(metadata).map(fileKey));
    for (const part of [reach.data, reach.manifests, reach.lists]) spare(part.keys());
    // Spared once is spared; only the lists and manifests must be remembered, so as not to read them again.
    reach.data.clear();
  }
  const doomed = [...candidates.values()];
  if (dryRun) return doomed;
  for (const uri of doomed) await io.store.remove(uri);
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
