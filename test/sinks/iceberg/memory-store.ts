// Owns a Store in memory, for tests that make and break many tables. Time is the caller's.
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VarveError } from '../../../src/errors.ts';
import type { LocalCopies, Store } from '../../../src/sinks/parquet/store.ts';

export class MemoryStore implements Store {
  readonly files = new Map<string, { bytes: Uint8Array; modifiedMs: number }>();
  readonly leftovers = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  async read(uri: string): Promise<Uint8Array | null> {
    return this.files.get(uri)?.bytes.slice() ?? null;
  }

  async exists(uri: string): Promise<boolean> {
    return this.files.has(uri);
  }

  async createExclusive(uri: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    // A real store takes a while; others run meanwhile.
    await Promise.resolve();
    if (this.files.has(uri)) return 'exists';
    this.files.set(uri, { bytes: bytes.slice(), modifiedMs: this.#now() });
    return 'created';
  }

  async write(uri: string, bytes: Uint8Array): Promise<void> {
    this.files.set(uri, { bytes: bytes.slice(), modifiedMs: this.#now() });
  }

  async *list(prefix: string) {
    for (const [uri, { bytes, modifiedMs }] of [...this.files])
      if (uri.startsWith(prefix)) yield { uri, bytes: bytes.length, modifiedMs };
  }

  async remove(uri: string): Promise<void> {
    this.files.delete(uri);
  }

  async adopt(localPath: string, uri: string): Promise<void> {
    await this.write(uri, await readFile(localPath));
    await unlink(localPath);
  }

  lease(): LocalCopies {
    const directories: string[] = [];
    return {
      localCopy: async (uri) => {
        const found = this.files.get(uri);
        if (!found) throw new VarveError('table_corrupt', `${uri} is missing.`);
        const directory = await mkdtemp(join(tmpdir(), 'varve-memory-store-'));
        directories.push(directory);
        await writeFile(join(directory, 'copy'), found.bytes);
        return join(directory, 'copy');
      },
      [Symbol.dispose]: () => {
        for (const directory of directories) rmSync(directory, { recursive: true, force: true });
      },
    };
  }

  async sweepLeftovers(prefix: string, beforeMs: number): Promise<number> {
    const old = [...this.leftovers].filter(([uri, ms]) => uri.startsWith(prefix) && ms < beforeMs);
    for (const [uri] of old) this.leftovers.delete(uri);
    return old.length;
  }
}
