// Owns where an export goes: a directory that appears whole, or a prefix of an object store whose manifest
// comes last. A place that is not empty is refused. Knows no table.
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { VarveError } from '../../errors.ts';
import { openStore, type TablePlace } from './open-store.ts';
import { isS3, s3Root } from './s3-place.ts';
import { openScratch } from './scratch.ts';
import { codeOf, storeError } from './store-error.ts';

const MANIFEST = 'manifest.json';
/** There while an export is being written. */
const CLAIM = '_exporting';

export type ExportPlace = {
  /** As people are told. */
  readonly text: string;
  /** An empty local folder for the engine, and one for the files. */
  readonly scratch: string;
  readonly files: string;
  /** Makes all files below `files`, by their relative paths, and the manifest visible. */
  publish(paths: readonly string[], manifest: Uint8Array): Promise<void>;
  close(): Promise<void>;
};

const taken = (text: string, found: string): VarveError =>
  new VarveError(
    'usage',
    `${text} is not empty: it holds ${found}. Name a place that is; an export that was cut off in an ` +
      `object store has no ${MANIFEST}, and may be deleted.`,
    { facts: { place: text, found } },
  );

const syncPath = async (path: string): Promise<void> => {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
};

/** Files first, then the folders that name them. */
const syncAll = async (folder: string): Promise<void> => {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    await (entry.isDirectory() ? syncAll(path) : syncPath(path));
  }
  await syncPath(folder);
};

const makeScratch = async (directory: string) => {
  await mkdir(directory, { recursive: true });
  const scratch = await openScratch(directory, 'export');
  const files = join(scratch.path, 'files');
  await mkdir(files);
  return { ...scratch, files };
};

const refuseTaken = async (directory: string): Promise<void> => {
  try {
    const [found] = await readdir(directory);
    if (found !== undefined) throw taken(directory, found);
  } catch (thrown) {
    if (thrown instanceof VarveError) throw thrown;
    if (codeOf(thrown) !== 'ENOENT') throw storeError('look into', directory, thrown);
  }
};

const openDirectory = async (directory: string): Promise<ExportPlace> => {
  await refuseTaken(directory);
  // Beside it, so that it comes to its place by a rename.
  const { path: scratch, files, close } = await makeScratch(dirname(directory));
  return {
    text: directory,
    scratch,
    files,
    publish: async (_paths, manifest) => {
      const file = await open(join(files, MANIFEST), 'wx');
      await file.writeFile(manifest).finally(() => file.close());
      await syncAll(files);
      try {
        await rename(files, directory);
      } catch (thrown) {
        const isTaken = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(codeOf(thrown) ?? '');
        throw isTaken ? taken(directory, basename(directory)) : storeError('make', directory, thrown);
      }
      await syncPath(dirname(directory));
    },
    close,
  };
};

const openPrefix = async (place: TablePlace): Promise<ExportPlace> => {
  const root = s3Root(place.location);
  const { store, close: closeStore } = await openStore(place, { uuid: randomUUID, copies: null });
  for await (const { uri } of store.list(`${root}/`)) {
    closeStore();
    throw taken(root, uri);
  }
  // Two exports would write over each other's files: the first one has the place.
  const claimUri = `${root}/${CLAIM}`;
  if ((await store.createExclusive(claimUri, Buffer.from(randomUUID()))) === 'exists') {
    closeStore();
    throw taken(root, claimUri);
  }
  const { path: scratch, files, close } = await makeScratch(tmpdir());
  const manifestUri = `${root}/${MANIFEST}`;
  return {
    text: root,
    scratch,
    files,
    publish: async (paths, manifest) => {
      const stored: string[] = [];
      try {
        for (const path of paths) {
          stored.push(`${root}/${path}`);
          await store.adopt(join(files, path), `${root}/${path}`);
        }
      } catch (thrown) {
        await Promise.allSettled(stored.map((uri) => store.remove(uri)));
        throw thrown;
      }
      if ((await store.createExclusive(manifestUri, manifest)) === 'exists') throw taken(root, manifestUri);
    },
    close: async () => {
      await close();
      // Readers of such folders pass over it, so that one that stays does no harm.
      await store.remove(claimUri).catch(() => undefined);
      closeStore();
    },
  };
};

/**
 * `to`: a directory, made if it is not there, or `s3://`, reached as the tables' own store is. Throws `usage`
 * for a place that is not empty, or that lies among the tables.
 */
export const openExportPlace = (to: string, tables: TablePlace): Promise<ExportPlace> => {
  const place = isS3(to) ? s3Root(to) : resolve(to);
  const own = isS3(tables.location) ? s3Root(tables.location) : resolve(tables.location);
  if (`${place}/`.startsWith(`${own}/`) || `${own}/`.startsWith(`${place}/`))
    throw new VarveError(
      'usage',
      `${place} and the pipeline's tables in ${own} must lie apart; name another place for --to.`,
      { facts: { place, tables: own } },
    );
  return isS3(to) ? openPrefix({ location: to, s3: tables.s3 }) : openDirectory(place);
};
