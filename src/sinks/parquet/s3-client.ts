// Owns the calls to an object store by AWS's library, each one try: what goes out, what comes back, and that
// what comes back is whole. Knows keys and bytes, no table; what an outcome means is the caller's.
import { open as openFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { type CompletedPart, type GetObjectCommandOutput, S3 } from '@aws-sdk/client-s3';
import { CHECKSUM_MISMATCH, readFailure, S3Failure } from './s3-failure.ts';
import type { S3Choices } from './s3-place.ts';
import { storeError } from './store-error.ts';

export type S3Key = { Bucket: string; Key: string };
export type S3Entry = { key: string; bytes: number; modifiedMs: number };
export type S3Upload = { key: string; id: string; startedMs: number };
/** `next`: what asks for the page after it; null: there is none. */
export type S3Page<Item, Next> = { items: readonly Item[]; next: Next | null };
export type UploadPlace = { KeyMarker: string; UploadIdMarker: string };

type ClientOptions = S3Choices & {
  /** A connection on which nothing moves for so long is given up. */
  silentMs: number;
};

const CONNECT_MS = 10_000;
const AT_ONCE = 32;
/** Ours on every object: stores differ in which checksums they know, and which they keep of a whole file. */
const CHECKSUM = 'varve-crc32';

export const checksumText = (crc: number): string => crc.toString(16).padStart(8, '0');

const connect = ({ endpoint, region, path_style: pathStyle, silentMs }: ClientOptions): S3 =>
  new S3({
    // Absent, they come from the environment or the profile, as the credentials do.
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: pathStyle ?? endpoint !== undefined,
    // A write whose outcome is unknown must be looked at before the next try, so tries are counted here.
    maxAttempts: 1,
    // Not every store answers that it waits.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: silentMs,
      httpAgent: { keepAlive: true, maxSockets: AT_ONCE },
      httpsAgent: { keepAlive: true, maxSockets: AT_ONCE },
    },
  });

const onDisk = async <Result>(path: string, work: Promise<Result>): Promise<Result> => {
  try {
    return await work;
  } catch (thrown) {
    throw storeError('write', path, thrown);
  }
};

const writeBody = async (body: unknown, path: string): Promise<{ bytes: number; crc: number }> => {
  const file = await onDisk(path, openFile(path, 'w'));
  try {
    let bytes = 0;
    let crc = 0;
    for await (const piece of body instanceof Readable ? body : []) {
      const chunk: Uint8Array = piece;
      bytes += chunk.length;
      crc = crc32(chunk, crc);
      await onDisk(path, file.writeFile(chunk));
    }
    return { bytes, crc };
  } finally {
    await file.close();
  }
};

/** A body that is other than its headers say is as good as none. */
const demandWhole = (
  answer: GetObjectCommandOutput,
  { bytes, crc }: { bytes: number; crc: number },
): void => {
  const { ContentLength: length, Metadata: kept } = answer;
  if (length !== undefined && length !== bytes) throw new S3Failure({ status: 0, code: 'Truncated' });
  const expected = kept?.[CHECKSUM];
  if (expected !== undefined && expected !== checksumText(crc))
    throw new S3Failure({ status: 0, code: CHECKSUM_MISMATCH });
};

/** A listing that is cut and does not say where it goes on would hide files. */
const refuseCut = (isTruncated: boolean | undefined): null => {
  if (isTruncated === true) throw new S3Failure({ status: 200, code: 'ListingWithoutNextPage' });
  return null;
};

/** Every method throws S3Failure. */
export class S3Client {
  readonly #options: ClientOptions;
  #s3: S3;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#s3 = connect(options);
  }

  async #ask<Result>(call: (s3: S3) => Promise<Result>): Promise<Result> {
    try {
      return await call(this.#s3);
    } catch (thrown) {
      const failure = readFailure(thrown);
      if (failure instanceof S3Failure && failure.isExpired) {
        // Whoever renewed the credentials did it behind the library's back: the chain is walked anew.
        this.#s3.destroy();
        this.#s3 = connect(this.#options);
      }
      throw failure;
    }
  }

  async #unlessMissing<Result>(call: (s3: S3) => Promise<Result>): Promise<Result | null> {
    try {
      return await this.#ask(call);
    } catch (thrown) {
      if (thrown instanceof S3Failure && thrown.isMissing) return null;
      throw thrown;
    }
  }

  /** Null when it is not there. */
  get(at: S3Key): Promise<Uint8Array | null> {
    return this.#unlessMissing(async (s3) => {
      const answer = await s3.getObject(at);
      const body = (await answer.Body?.transformToByteArray()) ?? new Uint8Array(0);
      demandWhole(answer, { bytes: body.length, crc: crc32(body) });
      return body;
    });
  }

  /** Into a local file; false when it is not there. Throws what storeError says as well. */
  async download(at: S3Key, path: string): Promise<boolean> {
    const done = await this.#unlessMissing(async (s3) => {
      const answer = await s3.getObject(at);
      demandWhole(answer, await writeBody(answer.Body, path));
      return true;
    });
    return done ?? false;
  }

  /**
   * Size and our checksum (null: not ours); null when it is not there. Asks for the first byte, because the
   * answer to a HEAD does not say what it was that was not found.
   */
  async look(at: S3Key): Promise<{ bytes: number; checksum: string | null } | null> {
    try {
      return await this.#unlessMissing(async (s3) => {
        const {
          Body,
          ContentRange,
          ContentLength = 0,
          Metadata,
        } = await s3.getObject({ ...at, Range: 'bytes=0-0' });
        if (Body instanceof Readable) Body.destroy();
        const whole = /\/(\d+)$/.exec(ContentRange ?? '')?.[1];
        return { bytes: Number(whole ?? ContentLength), checksum: Metadata?.[CHECKSUM] ?? null };
      });
    } catch (thrown) {
      // An empty one has no first byte.
      if (thrown instanceof S3Failure && thrown.status === 416) return { bytes: 0, checksum: null };
      throw thrown;
    }
  }

  /** With `onlyNew`, an object that is there is left alone: status 412. */
  async put(at: S3Key, body: Uint8Array, { onlyNew }: { onlyNew: boolean }): Promise<void> {
    const condition = onlyNew ? { IfNoneMatch: '*' } : {};
    const checksum = checksumText(crc32(body));
    await this.#ask((s3) =>
      s3.putObject({ ...at, Body: body, Metadata: { [CHECKSUM]: checksum }, ...condition }),
    );
  }

  async remove(at: S3Key): Promise<void> {
    await this.#unlessMissing((s3) => s3.deleteObject(at));
  }

  /** One page of objects whose keys begin with this one; `from`: the page before says it. */
  list({ Bucket, Key }: S3Key, from: string | null): Promise<S3Page<S3Entry, string>> {
    return this.#ask(async (s3) => {
      const more = from === null ? {} : { ContinuationToken: from };
      const page = await s3.listObjectsV2({ Bucket, Prefix: Key, ...more });
      const items = (page.Contents ?? []).map(({ Key: key = '', Size: bytes, LastModified: at }) => ({
        key,
        bytes: bytes ?? Number.NaN,
        modifiedMs: at?.getTime() ?? Number.NaN,
      }));
      const isCut = page.IsTruncated === true;
      return {
        items,
        next: isCut && page.NextContinuationToken ? page.NextContinuationToken : refuseCut(isCut),
      };
    });
  }

  /** One page of uploads that nobody has finished. */
  listUploads({ Bucket, Key }: S3Key, from: UploadPlace | null): Promise<S3Page<S3Upload, UploadPlace>> {
    return this.#ask(async (s3) => {
      const page = await s3.listMultipartUploads({ Bucket, Prefix: Key, ...from });
      const items = (page.Uploads ?? []).map(({ Key: key = '', UploadId: id = '', Initiated: at }) => ({
        key,
        id,
        startedMs: at?.getTime() ?? Number.NaN,
      }));
      const { IsTruncated: isCut, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      const isKnown = isCut === true && KeyMarker && UploadIdMarker;
      return { items, next: isKnown ? { KeyMarker, UploadIdMarker } : refuseCut(isCut) };
    });
  }

  /** `checksum`: of the whole, as checksumText has it. */
  beginUpload(at: S3Key, checksum: string): Promise<string> {
    return this.#ask(async (s3) => {
      const metadata = { Metadata: { [CHECKSUM]: checksum }, ChecksumAlgorithm: 'CRC32' as const };
      const { UploadId: id } = await s3.createMultipartUpload({ ...at, ...metadata });
      if (id === undefined) throw new S3Failure({ status: 0, code: 'NoUploadId' });
      return id;
    });
  }

  uploadPart(at: S3Key, part: { id: string; number: number }, body: Uint8Array): Promise<CompletedPart> {
    return this.#ask(async (s3) => {
      const place = { UploadId: part.id, PartNumber: part.number };
      const sent = { ...at, ...place, Body: body, ChecksumAlgorithm: 'CRC32' as const };
      const { ETag, ChecksumCRC32 } = await s3.uploadPart(sent);
      return { PartNumber: part.number, ETag, ChecksumCRC32 };
    });
  }

  async finishUpload(at: S3Key, id: string, parts: readonly CompletedPart[]): Promise<void> {
    await this.#ask((s3) =>
      s3.completeMultipartUpload({ ...at, UploadId: id, MultipartUpload: { Parts: [...parts] } }),
    );
  }

  /** One that is gone is no failure. */
  async abortUpload(at: S3Key, id: string): Promise<void> {
    await this.#unlessMissing((s3) => s3.abortMultipartUpload({ ...at, UploadId: id }));
  }

  close(): void {
    this.#s3.destroy();
  }
}
