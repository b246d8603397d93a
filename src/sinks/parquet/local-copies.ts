// Owns copies of stored files on this machine: each fetched once, all of them bounded, the least recently
// used goes first, never one that a lease holds. Knows not where files come from.
import { mkdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import type { LocalCopies } from './store.ts';
import { storeError } from './store-error.ts';

type Copy = {
  path: string;
  bytes: number;
  /** Leases that hold it. */
  holders: number;
  /** Resolves when the file is there. */
  ready: Promise<void>;
};

type CacheOptions = {
  /** Made when the first copy is. */
  directory: string;
  /** Never more than half of what the disk could give. */
  maxBytes: number;
  /** Writes the whole file to the path, or throws. */
  fetch: (uri: string, path: string) => Promise<void>;
};

const sizeOf = async (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  );

export class LocalCopyCache {
  readonly #options: CacheOptions;
  /** The least recently used first. */
  readonly #copies = new Map<string, Copy>();
  #trimming: Promise<void> = Promise.resolve();
  #next = 0;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  lease(): LocalCopies {
    const held = new Map<string, Copy>();
    return {
      localCopy: (uri) => this.#hold(uri, held),
      [Symbol.dispose]: () => {
        for (const [uri, copy] of held) this.#release(uri, copy);
        held.clear();
        void this.#trim();
      },
    };
  }

  /** Takes a local file over as the copy of what was stored under this URI; it may vanish at any time. */
  async keep(uri: string, localPath: string): Promise<void> {
    this.forget(uri);
    const path = this.#newPath();
    const bytes = (await sizeOf(localPath)) ?? 0;
    try {
      await mkdir(this.#options.directory, { recursive: true });
      await rename(localPath, path);
    } catch {
      // A copy only saves fetching it.
      await rm(localPath, { force: true });
      return;
    }
    this.#copies.set(uri, { path, bytes, holders: 0, ready: Promise.resolve() });
    await this.#trim();
  }

  /** For a file that is stored no more. */
  forget(uri: string): void {
    const copy = this.#copies.get(uri);
    this.#copies.delete(uri);
    if (copy?.holders === 0) void this.#erase(copy);
  }

  async #hold(uri: string, held: Map<string, Copy>): Promise<string> {
    for (;;) {
      const known = held.get(uri);
      const copy = known ?? this.#take(uri);
      held.set(uri, copy);
      try {
        await copy.ready;
        // Somebody may have tidied the disk.
        if ((await sizeOf(copy.path)) === copy.bytes) return copy.path;
      } catch (thrown) {
        this.#lose(uri, copy, held);
        throw thrown;
      }
      this.#lose(uri, copy, held);
    }
  }

  #take(uri: string): Copy {
    const copy = this.#copies.get(uri) ?? this.#fetch(uri);
    this.#copies.delete(uri);
    this.#copies.set(uri, copy);
    copy.holders++;
    return copy;
  }

  #fetch(uri: string): Copy {
    const path = this.#newPath();
    const copy: Copy = { path, bytes: 0, holders: 0, ready: Promise.resolve() };
    copy.ready = (async () => {
      try {
        await mkdir(this.#options.directory, { recursive: true });
        await this.#options.fetch(uri, path);
      } catch (thrown) {
        await this.#erase(copy);
        throw thrown instanceof VarveError ? thrown : storeError('write', path, thrown);
      }
      copy.bytes = (await sizeOf(path)) ?? 0;
      await this.#trim();
    })();
    return copy;
  }

  #lose(uri: string, copy: Copy, held: Map<string, Copy>): void {
    held.delete(uri);
    if (this.#copies.get(uri) === copy) this.#copies.delete(uri);
    this.#release(uri, copy);
  }

  #release(uri: string, copy: Copy): void {
    copy.holders--;
    if (copy.holders === 0 && this.#copies.get(uri) !== copy) void this.#erase(copy);
  }

  /** One at a time: two that count the same bytes would take away twice as much. */
  #trim(): Promise<void> {
    this.#trimming = this.#trimming.then(() => this.#shrink());
    return this.#trimming;
  }

  async #shrink(): Promise<void> {
    let used = 0;
    for (const { bytes } of this.#copies.values()) used += bytes;
    const disk = await statfs(this.#options.directory).catch(() => null);
    const half = disk === null ? Number.POSITIVE_INFINITY : (disk.bavail * disk.bsize + used) / 2;
    const most = Math.min(this.#options.maxBytes, half);
    for (const [uri, copy] of [...this.#copies]) {
      if (used <= most) return;
      if (copy.holders > 0 || this.#copies.get(uri) !== copy) continue;
      used -= copy.bytes;
      this.#copies.delete(uri);
      await this.#erase(copy);
    }
  }

  #newPath(): string {
    return join(this.#options.directory, `${this.#next++}.copy`);
  }

  async #erase({ path }: Copy): Promise<void> {
    await rm(path, { force: true }).catch(() => undefined);
  }
}
