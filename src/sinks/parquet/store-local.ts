// Owns files on a local disk: exclusive and atomic creation, durability (file and directory), URIs and paths.
// Knows no table. A file being written has a name that no listing shows: `.<name>.<uuid>.tmp`.
import type { FileHandle } from 'node:fs/promises';
import { copyFile, link, mkdir, open, opendir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize } from 'node:path';
import { VarveError } from '../../errors.ts';
import type { LocalCopies, Store, StoredFile } from './store.ts';
import { codeOf, storeError } from './store-error.ts';

const SCHEME = 'file://';
/** Readers would take these for escapes, queries or globs, each in its own way. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const UNSAFE = /[%#?*[\]{}\\\u0000-\u001f\u007f]/;

/**
 * `file:///abs/path`, unescaped, as every Iceberg reader takes it. Throws config_invalid for a path no URI
 * can say.
 */
export const toFileUri = (path: string): string => {
  if (isAbsolute(path) && !UNSAFE.test(path)) return SCHEME + normalize(path).replace(/(?<=.)\/$/, '');
  throw new VarveError(
    'config_invalid',
    `The location ${JSON.stringify(path)} must be absolute, without % # ? * [ ] { } \\ and controls.`,
  );
};

/** The path of `file:///x`, or of `file:/x` as Java writes it. Throws table_foreign for any other scheme. */
export const fromFileUri = (uri: string): string => {
  const path = /^file:(?:\/\/)?(\/(?!\/).*)$/s.exec(uri)?.[1];
  if (path !== undefined && !path.split('/').includes('..')) return path;
  throw new VarveError(
    'table_foreign',
    `${uri} is not a file on this machine; open the table where it was written.`,
    {
      facts: { uri },
    },
  );
};

const step = async <Result>(verb: string, path: string, work: () => Promise<Result>): Promise<Result> => {
  try {
    return await work();
  } catch (thrown) {
    throw thrown instanceof VarveError ? thrown : storeError(verb, path, thrown);
  }
};

const unlessMissing = async <Result>(work: Promise<Result>): Promise<Result | null> => {
  try {
    return await work;
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return null;
    throw thrown;
  }
};

const withFile = async (
  path: string,
  flags: string,
  work: (file: FileHandle) => Promise<void>,
): Promise<void> => {
  const file = await open(path, flags);
  try {
    await work(file);
  } finally {
    await file.close();
  }
};

const syncPath = (path: string): Promise<void> => withFile(path, 'r', (file) => file.sync());

/** Makes the directory; every directory that is new is synced into its parent. */
const makeDirectory = async (path: string): Promise<void> => {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let at = path; at.length >= first.length; at = dirname(at)) await syncPath(dirname(at));
};

const isTemporary = (name: string): boolean => name.startsWith('.') && name.endsWith('.tmp');

/** Depth first; a directory that vanishes meanwhile is empty. */
async function* walk(directory: string): AsyncGenerator<string> {
  const entries = await unlessMissing(opendir(directory));
  if (!entries) return;
  for await (const entry of entries) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile()) yield path;
  }
}

/** Paths whose text starts with the prefix, temporary ones or the others. */
async function* pathsBelow(prefix: string, temporary: boolean): AsyncGenerator<string> {
  const path = fromFileUri(prefix);
  for await (const found of walk(path.slice(0, path.lastIndexOf('/')) || '/'))
    if (found.startsWith(path) && isTemporary(basename(found)) === temporary) yield found;
}

/** A rename, or across file systems a copy under a temporary name. */
const moveFile = async (from: string, to: string, temporary: string): Promise<void> => {
  await syncPath(from);
  try {
    await rename(from, to);
  } catch (thrown) {
    if (codeOf(thrown) !== 'EXDEV') throw thrown;
    await copyFile(from, temporary);
    await syncPath(temporary);
    await rename(temporary, to);
    await unlink(from);
  }
};

const syncDirectory = (path: string): Promise<void> => syncPath(dirname(path));

class LocalStore implements Store {
  /** Own paths begin with it. */
  readonly #inside: string;
  readonly #uuid: () => string;

  constructor(root: string, uuid: () => string) {
    this.#inside = `${fromFileUri(toFileUri(root))}/`;
    this.#uuid = uuid;
  }

  #own(uri: string): string {
    const path = fromFileUri(uri);
    if (path.startsWith(this.#inside)) return path;
    const sentence = `${uri} lies outside ${this.#inside}; Varve changes nothing there.`;
    throw new VarveError('table_foreign', sentence, { facts: { uri, root: this.#inside } });
  }

  #temporary(path: string): string {
    return `${dirname(path)}/.${basename(path)}.${this.#uuid()}.tmp`;
  }

  /** Writes a temporary file durably and hands it to `finish`; on success none is left. */
  async #stage<Result>(
    path: string,
    bytes: Uint8Array,
    finish: (temporary: string) => Promise<Result>,
  ): Promise<Result> {
    await makeDirectory(dirname(path));
    const temporary = this.#temporary(path);
    try {
      await withFile(temporary, 'wx', async (file) => {
        await file.writeFile(bytes);
        await file.sync();
      });
      return await finish(temporary);
    } finally {
      await unlessMissing(unlink(temporary)).catch(() => null);
    }
  }

  async read(uri: string): Promise<Uint8Array | null> {
    const path = fromFileUri(uri);
    return step('read', path, () => unlessMissing(readFile(path)));
  }

  async exists(uri: string): Promise<boolean> {
    const path = fromFileUri(uri);
    return step('look for', path, async () => (await unlessMissing(stat(path))) !== null);
  }

  async createExclusive(uri: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    const path = this.#own(uri);
    const finish = async (temporary: string): Promise<'created' | 'exists'> => {
      try {
        await link(temporary, path);
      } catch (thrown) {
        if (codeOf(thrown) === 'EEXIST') return 'exists';
        throw thrown;
      }
      await syncDirectory(path);
      return 'created';
    };
    return step('create', path, () => this.#stage(path, bytes, finish));
  }

  async write(uri: string, bytes: Uint8Array): Promise<void> {
    const path = this.#own(uri);
    await step('write', path, () => this.#stage(path, bytes, (temporary) => rename(temporary, path)));
  }

  async *list(prefix: string): AsyncGenerator<StoredFile> {
    for await (const path of pathsBelow(prefix, false)) {
      const found = await step('look at', path, () => unlessMissing(stat(path)));
      if (found) yield { uri: SCHEME + path, bytes: found.size, modifiedMs: found.mtimeMs };
    }
  }

  async remove(uri: string): Promise<void> {
    const path = this.#own(uri);
    await step('remove', path, () => unlessMissing(unlink(path)));
  }

  async adopt(localPath: string, uri: string): Promise<void> {
    const path = this.#own(uri);
    await step('store', path, async () => {
      await makeDirectory(dirname(path));
      await moveFile(localPath, path, this.#temporary(path));
      await syncDirectory(path);
    });
  }

  lease(): LocalCopies {
    return { localCopy: async (uri) => fromFileUri(uri), [Symbol.dispose]: () => undefined };
  }

  async sweepLeftovers(prefix: string, beforeMs: number): Promise<number> {
    let swept = 0;
    for await (const path of pathsBelow(prefix, true)) {
      const found = await step('look at', path, () => unlessMissing(stat(path)));
      if (!found || found.mtimeMs >= beforeMs) continue;
      await step('remove', path, () => unlessMissing(unlink(path)));
      swept++;
    }
    return swept;
  }
}

/**
 * A store of absolute `file:` URIs; nothing is created, replaced or removed outside `root` (a local path).
 * `uuid` gives fresh ids for temporary names.
 */
export const openLocalStore = (root: string, { uuid }: { uuid: () => string }): Store =>
  new LocalStore(root, uuid);
