// Owns files in an object store: exclusive creation whose outcome is known, whole uploads, retries, local
// copies. Knows no table. What is being uploaded is in no listing until it is whole.
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { VarveError } from '../../errors.ts';
import { LocalCopyCache } from './local-copies.ts';
import {
  checksumText,
  S3Client,
  type S3Entry,
  type S3Key,
  type S3Page,
  type S3Upload,
  type UploadPlace,
} from './s3-client.ts';
import { S3Failure } from './s3-failure.ts';
import { type S3Choices, s3Object, s3Root } from './s3-place.ts';
import { PATIENCE, type S3Patience, tryAgain } from './s3-retry.ts';
import type { LocalCopies, Store, StoredFile } from './store.ts';
import { storeError } from './store-error.ts';

/** From this size on a file goes in parts: what fails is a part, not the whole. */
const PART_BYTES = 16 << 20;
/** So many parts are all that a store takes; a larger file has larger parts. */
const MOST_PARTS = 10_000;
const PARTS_AT_ONCE = 4;
const SILENT_MS = 30_000;
/** Copies of current files on this machine, so that a merge does not fetch what the last one has written. */
const COPIES_BYTES = 8 * (1 << 30);

type S3StoreOptions = {
  s3: S3Choices;
  steadyMs: () => number;
  random: () => number;
  /** Local directory for copies; null: nobody will ask for one. */
  copies: string | null;
  copiesBytes?: number;
  partBytes?: number;
  silentMs?: number;
  patience?: S3Patience;
};

const missing = (uri: string): VarveError =>
  new VarveError('table_corrupt', `${uri} is missing from the object store; restore it.`, { facts: { uri } });

const readAt = async (file: FileHandle, position: number, length: number): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafe(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled);
    if (bytesRead === 0)
      throw new VarveError('internal', 'A finished file became shorter while it was stored.');
    filled += bytesRead;
  }
  return bytes;
};

export class S3Store implements Store {
  readonly #client: S3Client;
  readonly #options: S3StoreOptions;
  readonly #partBytes: number;
  /** Own URIs begin with it. */
  readonly #inside: string;
  readonly #copies: LocalCopyCache | null;

  /** Nothing is created, replaced or removed outside `location`. */
  constructor(location: string, options: S3StoreOptions) {
    const { s3, copies, copiesBytes = COPIES_BYTES, partBytes = PART_BYTES, silentMs = SILENT_MS } = options;
    this.#inside = `${s3Root(location)}/`;
    this.#options = options;
    this.#partBytes = partBytes;
    this.#client = new S3Client({ ...s3, silentMs });
    const fetch = (uri: string, path: string): Promise<void> => this.#download(uri, path);
    this.#copies =
      copies === null ? null : new LocalCopyCache({ directory: copies, maxBytes: copiesBytes, fetch });
  }

  #own(uri: string): S3Key {
    if (uri.startsWith(this.#inside)) return s3Object(uri);
    const sentence = `${uri} lies outside ${this.#inside}; Varve changes nothing there.`;
    throw new VarveError('table_foreign', sentence, { facts: { uri, root: this.#inside } });
  }

  #try<Result>(verb: string, uri: string, work: () => Promise<Result>): Promise<Result> {
    const { patience = PATIENCE, steadyMs, random } = this.#options;
    return tryAgain([verb, uri], work, { patience, steadyMs, random });
  }

  read(uri: string): Promise<Uint8Array | null> {
    const at = s3Object(uri);
    return this.#try('read', uri, () => this.#client.get(at));
  }

  async exists(uri: string): Promise<boolean> {
    const at = s3Object(uri);
    return (await this.#try('look for', uri, () => this.#client.look(at))) !== null;
  }

  /**
   * After a try whose outcome nobody knows, what is there decides: our bytes are ours. So two writers of the
   * very same bytes may both be told 'created'; what must have one winner holds a fresh id.
   */
  createExclusive(uri: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    const at = this.#own(uri);
    let isUnsure = false;
    return this.#try('create', uri, async () => {
      try {
        await this.#client.put(at, bytes, { onlyNew: true });
        return 'created';
      } catch (thrown) {
        if (!(thrown instanceof S3Failure) || !thrown.isTaken) {
          isUnsure = true;
          throw thrown;
        }
        const found = isUnsure ? await this.#client.get(at) : null;
        return found !== null && Buffer.compare(found, bytes) === 0 ? 'created' : 'exists';
      }
    });
  }

  write(uri: string, bytes: Uint8Array): Promise<void> {
    const at = this.#own(uri);
    return this.#try('write', uri, () => this.#client.put(at, bytes, { onlyNew: false }));
  }

  async *#pages<Item, Next>(
    [verb, uri]: readonly [verb: string, uri: string],
    ask: (from: Next | null) => Promise<S3Page<Item, Next>>,
  ): AsyncGenerator<Item> {
    let from: Next | null = null;
    do {
      const page: S3Page<Item, Next> = await this.#try(verb, uri, () => ask(from));
      yield* page.items;
      from = page.next;
    } while (from !== null);
  }

  async *list(prefix: string): AsyncGenerator<StoredFile> {
    const at = s3Object(prefix);
    const ask = (from: string | null): Promise<S3Page<S3Entry, string>> => this.#client.list(at, from);
    // Folders that people made in a console are no files.
    for await (const { key, bytes, modifiedMs } of this.#pages(['list', prefix], ask))
      if (!key.endsWith('/')) yield { uri: `s3://${at.Bucket}/${key}`, bytes, modifiedMs };
  }

  async remove(uri: string): Promise<void> {
    const at = this.#own(uri);
    await this.#try('remove', uri, () => this.#client.remove(at));
    this.#copies?.forget(uri);
  }

  async adopt(localPath: string, uri: string): Promise<void> {
    const at = this.#own(uri);
    const file = await open(localPath).catch((thrown: unknown) => {
      throw storeError('read', localPath, thrown);
    });
    try {
      const { size } = await file.stat();
      if (size > this.#partBytes) await this.#upload(file, size, { at, uri });
      else {
        const bytes = await readAt(file, 0, size);
        await this.#try('store', uri, () => this.#client.put(at, bytes, { onlyNew: false }));
      }
    } finally {
      await file.close();
    }
    await (this.#copies?.keep(uri, localPath) ?? unlink(localPath));
  }

  async #upload(file: FileHandle, size: number, { at, uri }: { at: S3Key; uri: string }): Promise<void> {
    const partBytes = Math.max(this.#partBytes, Math.ceil(size / MOST_PARTS));
    const starts = Array.from({ length: Math.ceil(size / partBytes) }, (_, part) => part * partBytes);
    const part = (start: number): Promise<Buffer> => readAt(file, start, Math.min(partBytes, size - start));
    let crc = 0;
    for (const start of starts) crc = crc32(await part(start), crc);
    const checksum = checksumText(crc);
    const id = await this.#try('store', uri, () => this.#client.beginUpload(at, checksum));
    try {
      const parts: Awaited<ReturnType<S3Client['uploadPart']>>[] = [];
      let next = 0;
      const carry = async (): Promise<void> => {
        for (let index = next++; index < starts.length; index = next++) {
          const body = await part(starts[index] ?? 0);
          const upload = { id, number: index + 1 };
          parts[index] = await this.#try('store', uri, () => this.#client.uploadPart(at, upload, body));
        }
      };
      const carried = await Promise.allSettled(Array.from({ length: PARTS_AT_ONCE }, carry));
      for (const result of carried) if (result.status === 'rejected') throw result.reason;
      await this.#try('store', uri, () => this.#finishUpload(at, { id, parts, size, checksum }));
    } catch (thrown) {
      // What stays is swept by age.
      await this.#client.abortUpload(at, id).catch(() => undefined);
      throw thrown;
    }
  }

  /** The answer to an earlier try may have been lost: then the upload is gone and the file is there. */
  async #finishUpload(
    at: S3Key,
    upload: { id: string; parts: Parameters<S3Client['finishUpload']>[2]; size: number; checksum: string },
  ): Promise<void> {
    const { id, parts, size, checksum } = upload;
    try {
      await this.#client.finishUpload(at, id, parts);
    } catch (thrown) {
      if (!(thrown instanceof S3Failure) || thrown.code !== 'NoSuchUpload') throw thrown;
      const found = await this.#client.look(at);
      if (found?.bytes !== size || found.checksum !== checksum) throw thrown;
    }
  }

  lease(): LocalCopies {
    if (this.#copies !== null) return this.#copies.lease();
    throw new VarveError('internal', 'An object store was opened without a place for local copies.');
  }

  async #download(uri: string, path: string): Promise<void> {
    const at = s3Object(uri);
    if (!(await this.#try('fetch', uri, () => this.#client.download(at, path)))) throw missing(uri);
  }

  async sweepLeftovers(prefix: string, beforeMs: number): Promise<number> {
    const at = this.#own(prefix);
    const ask = (from: UploadPlace | null): Promise<S3Page<S3Upload, UploadPlace>> =>
      this.#client.listUploads(at, from);
    let swept = 0;
    for await (const { key, id, startedMs } of this.#pages(['list uploads of', prefix], ask)) {
      if (!(startedMs < beforeMs)) continue;
      const of = { Bucket: at.Bucket, Key: key };
      await this.#try('abort an upload of', prefix, () => this.#client.abortUpload(of, id));
      swept++;
    }
    return swept;
  }

  /** Ends its connections; what is under way fails. */
  close(): void {
    this.#client.close();
  }
}

/** `location`: `s3://bucket/prefix`. Reaches nothing yet. Throws config_invalid. */
export const openS3Store = (
  location: string,
  { s3, copies }: Pick<S3StoreOptions, 's3' | 'copies'>,
): S3Store => new S3Store(location, { s3, copies, steadyMs: () => performance.now(), random: Math.random });
