// Owns our own catalog, which is nothing but files: v<N>.metadata.json beside the table, each created once
// only, and a hint of the newest. Whoever did not create a version has committed nothing. The hint comes
// last, at best effort, and only moves forward.
import { VarveError } from '../../../errors.ts';
import { hintFile, metadataFile, metadataVersion } from '../layout.ts';
import type { Store } from '../store.ts';
import type { CatalogBase, CatalogVersion, TableCatalog } from './catalog.ts';
import { parseMetadata, printMetadata, snapshotById, type TableMetadata } from './metadata.ts';

export type FilesIo = {
  store: Store;
  /** Milliseconds. */
  now: () => number;
  /**
   * The version hint could not be written: the commit stands, but readers by path may see an older version.
   */
  onHintFailure: (thrown: unknown) => void;
};

/**
 * Metadata files live longer than this by far, so a younger base cannot miss a version that came and went.
 */
export const MAX_BASE_AGE_MS = 3_600_000;

/** The number in version-hint.text; null when there is none or it is no number: it is only a hint. */
export const readHint = async (store: Store, location: string): Promise<number | null> => {
  const bytes = await store.read(hintFile(location));
  const digits =
    bytes === null ? null : /^\s*([1-9][0-9]{0,14})\s*$/.exec(Buffer.from(bytes).toString('latin1'));
  return digits ? Number(digits[1]) : null;
};

/** All versions whose metadata file is listed, rising. */
export const listVersions = async (store: Store, location: string): Promise<readonly number[]> => {
  const versions: number[] = [];
  for await (const { uri } of store.list(`${location}/metadata/v`)) {
    const version = metadataVersion(uri);
    if (version !== null) versions.push(version);
  }
  return versions.sort((a, b) => a - b);
};

/**
 * The newest version: the hint and the listing may both lag, so it goes on upward from the higher one. A
 * version that is missing below a higher one means that files were lost: committing there would fork the
 * table.
 */
const findNewest = async (store: Store, location: string): Promise<number | null> => {
  const [hint, listed] = await Promise.all([readHint(store, location), listVersions(store, location)]);
  const top = listed.at(-1) ?? 0;
  if (hint === null && top === 0) return null;
  let newest = Math.max(hint ?? 0, top);
  while (await store.exists(metadataFile(location, newest + 1))) newest++;
  const known = new Set(listed);
  for (let version = Math.max(1, Math.min(hint ?? top, top)); version <= newest; version++)
    if (!known.has(version) && !(await store.exists(metadataFile(location, version))))
      throw new VarveError(
        'table_corrupt',
        `${location} has lost v${version}.metadata.json, which v${newest} or the hint tells of; restore it.`,
        { facts: { location, version, newest } },
      );
  return newest;
};

/** One version's metadata; null when the file is not there. Throws table_corrupt, table_foreign. */
export const readVersion = async (
  store: Store,
  location: string,
  version: number,
): Promise<TableMetadata | null> => {
  const uri = metadataFile(location, version);
  const bytes = await store.read(uri);
  if (bytes === null) return null;
  const metadata = parseMetadata(bytes, uri);
  const codec = metadata.properties['write.metadata.compression-codec'] ?? 'none';
  if (codec !== 'none')
    throw new VarveError(
      'table_foreign',
      `${location} asks for ${codec} metadata, which Varve overlooks; unset that property.`,
      { facts: { location, codec } },
    );
  return metadata;
};

/**
 * Creates a version's file. True: it is there and ours, also when the answer of an earlier try was lost.
 * False: it is another's, for certain. A throw means that nobody knows yet; nothing may be deleted then.
 */
const createVersion = async (store: Store, uri: string, bytes: Uint8Array): Promise<boolean> => {
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

const versionAt = (location: string, version: number, metadata: TableMetadata): CatalogVersion => ({
  at: location,
  location,
  version,
  file: metadataFile(location, version),
  metadata,
});

class FilesCatalog implements TableCatalog {
  readonly isFiles = true;
  readonly #io: FilesIo;

  constructor(io: FilesIo) {
    this.#io = io;
  }

  async load(at: string): Promise<CatalogVersion | null> {
    const { store } = this.#io;
    const version = await findNewest(store, at);
    if (version === null) return null;
    const metadata = await readVersion(store, at, version);
    if (metadata !== null) return versionAt(at, version, metadata);
    const sentence = `v${version}.metadata.json of ${at} vanished while it was read.`;
    throw new VarveError('table_corrupt', sentence);
  }

  async isNewest({ at, version }: CatalogBase): Promise<boolean> {
    const hint = await readHint(this.#io.store, at);
    return hint !== null && hint <= version;
  }

  async create(at: string, made: TableMetadata): Promise<CatalogVersion | null> {
    if (!(await createVersion(this.#io.store, metadataFile(at, 1), printMetadata(made)))) return null;
    await this.#moveHint(at, 1);
    return versionAt(at, 1, made);
  }

  async replace(base: CatalogBase, next: TableMetadata): Promise<CatalogVersion | null> {
    const { store } = this.#io;
    const { location } = base;
    const version = base.version + 1;
    const ours = await createVersion(store, metadataFile(location, version), printMetadata(next));
    if (!ours) return null;
    const hint = await readHint(store, location);
    await this.#standDown(base, { next, hint });
    if ((hint ?? 0) < version) await this.#moveHint(location, version);
    return versionAt(location, version, next);
  }

  /**
   * A writer that slept while versions came and were cleaned away can create a number that was used before.
   * Then a higher version stands that does not know our snapshot: ours goes, and we stand down.
   */
  async #standDown(base: CatalogBase, { next, hint }: { next: TableMetadata; hint: number | null }) {
    const { store, now } = this.#io;
    const { location } = base;
    const version = base.version + 1;
    const aged = now() - base.loadedAtMs > MAX_BASE_AGE_MS;
    const listed = aged ? ((await listVersions(store, location)).at(-1) ?? 0) : 0;
    const newest = Math.max(hint ?? 0, listed);
    if (newest <= version) return;
    const higher = await readVersion(store, location, newest);
    const ours = next['current-snapshot-id'] ?? -1;
    const isNew = base.metadata['current-snapshot-id'] !== ours;
    if (isNew && higher !== null && snapshotById(higher, BigInt(ours)) !== null) return;
    if (isNew) await store.remove(metadataFile(location, version));
    throw new VarveError(
      'commit_conflict',
      `Another writer committed v${newest} of ${location}; load the table again and redo the work.`,
      { facts: { location, version: newest } },
    );
  }

  async #moveHint(location: string, version: number): Promise<void> {
    try {
      await this.#io.store.write(hintFile(location), Buffer.from(String(version)));
    } catch (thrown) {
      this.#io.onHintFailure(thrown);
    }
  }
}

export const filesCatalog = (io: FilesIo): TableCatalog => new FilesCatalog(io);
