// Owns the committed mark: one small file that says up to where the log is on the disk, and which segment is
// the first. Readers stop there; on opening, a log that ends before it has lost something.
import { fstatSync, statSync, writeSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import { crc32c } from '../crc32c.ts';
import { damaged, fileError, isMissing, MARK, writeWhole } from './directory.ts';
import { LAYOUT } from './frame.ts';

/** `segment` 0: the log is being created and holds nothing yet. */
export type Mark = { v: number; log: string; first: number; segment: number; position: number };

/** Overwritten in place, so always of one size, and far below what a disk writes at once. */
const MARK_BYTES = 256;

const sum = (text: string): string => crc32c(new TextEncoder().encode(text)).toString(16).padStart(8, '0');

const print = (mark: Mark): Uint8Array => {
  const text = JSON.stringify(mark);
  return new TextEncoder().encode(`${`${sum(text)} ${text}`.padEnd(MARK_BYTES - 1)}\n`);
};

/** Null: the checksum does not fit. */
const parse = (bytes: Buffer, path: string): Mark | null => {
  const [stored, text] = bytes.toString('latin1').trimEnd().split(/ (.*)/s);
  const isWhole = text !== undefined && bytes.length === MARK_BYTES && stored === sum(text);
  return isWhole ? checkLayout(path, JSON.parse(text) as Mark) : null;
};

/** Null: there is no mark. Throws `state_newer`, `state_corrupt`. */
export const readMark = async (path: string): Promise<Mark | null> => {
  for (let attempt = 1; ; attempt++) {
    const bytes = await readFile(join(path, MARK)).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw fileError(error, path);
    });
    if (bytes === null) return null;
    const mark = parse(bytes, path);
    if (mark !== null) return mark;
    // A writer may be overwriting it this very moment.
    if (attempt === 5) throw damaged(join(path, MARK), 'the checksum of the mark does not fit');
  }
};

const checkLayout = (path: string, mark: Mark): Mark => {
  if (mark.v <= LAYOUT) return mark;
  throw new VarveError(
    'state_newer',
    `The embedded topic in ${path} has layout ${mark.v}; this Varve reads up to ${LAYOUT}. Run the ` +
      'newer Varve that wrote it.',
    { facts: { path, layout: mark.v } },
  );
};

/** A directory may be moved away, and another one may stand in its place. */
const isStillAt = (file: FileHandle, path: string): boolean => {
  const [mine, there] = [fstatSync(file.fd), statSync(path, { throwIfNoEntry: false })];
  return there !== undefined && mine.ino === there.ino && mine.dev === there.dev;
};

/** Reads the same mark again and again, without opening it each time. One `read` at a time. */
export class MarkReader {
  readonly #path: string;
  readonly #bytes = Buffer.alloc(MARK_BYTES);
  #file: FileHandle | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** As `readMark`. */
  async read(): Promise<Mark | null> {
    this.#file ??= await open(join(this.#path, MARK), 'r').catch(() => null);
    const file = this.#file;
    if (file === null) return readMark(this.#path);
    const { bytesRead } = await file.read(this.#bytes, 0, MARK_BYTES, 0);
    const mark = bytesRead === MARK_BYTES ? parse(this.#bytes, this.#path) : null;
    if (mark !== null && isStillAt(file, join(this.#path, MARK))) return mark;
    // Another file stands in its place, or it is being written.
    await this.close();
    return readMark(this.#path);
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }
}

export class MarkWriter {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<MarkWriter> {
    return new MarkWriter(await open(join(path, MARK), 'r+'));
  }

  static create(path: string, mark: Mark): Promise<void> {
    return writeWhole(path, MARK, [print(mark)]);
  }

  /** Visible to readers when it resolves; on the disk as well with `durable`. */
  async write(mark: Mark, { durable }: { durable: boolean }): Promise<void> {
    // It only reaches the kernel's memory, which takes less than asking a thread to do it.
    writeSync(this.#file.fd, print(mark), 0, MARK_BYTES, 0);
    if (durable) await this.#file.datasync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
