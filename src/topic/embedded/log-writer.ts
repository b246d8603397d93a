// Owns the writing end of the log: frames are appended, made durable, and only then marked and believed.
// After the first failure it takes back what is not durable and refuses everything. Knows no queue and no
// retention rule.
import { fstatSync, writevSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import { damaged, fileError, isMissing, segmentPath } from './directory.ts';
import { encodeFrame, LAYOUT, type WriteHead } from './frame.ts';
import type { LogState } from './log-state.ts';
import { MarkWriter } from './mark.ts';
import { type Birth, type OpenLog, recover, type Segment, writeSegment } from './recovery.ts';
import { readReleased } from './released.ts';

/** `body`: the head's slices, in their order. */
export type Append = { head: WriteHead; body: readonly Uint8Array[] };

export class LogWriter {
  readonly #path: string;
  readonly #log: OpenLog;
  readonly #now: () => number;
  readonly #mark: MarkWriter;
  #file: FileHandle;
  /** Size of the current segment's opening, so that an empty segment is known. */
  #opening: number;
  #failed: VarveError | null = null;

  private constructor(
    path: string,
    log: OpenLog,
    parts: { now: () => number; mark: MarkWriter; file: FileHandle },
  ) {
    this.#path = path;
    this.#log = log;
    this.#now = parts.now;
    this.#mark = parts.mark;
    this.#file = parts.file;
    this.#opening = log.opening;
  }

  /** Under the lock only. */
  static async open(path: string, birth: Birth): Promise<LogWriter> {
    // Retention asks for it later; damage is said now.
    await readReleased(path);
    const log = await recover(path, birth);
    const last = segmentPath(path, (log.segments.at(-1) as Segment).number);
    const file = await open(last, 'r+').catch((error: unknown) => {
      throw fileError(error, last);
    });
    const mark = await MarkWriter.open(path).catch(async (error: unknown) => {
      await file.close();
      throw fileError(error, path);
    });
    const writer = new LogWriter(path, log, { now: birth.now, mark, file });
    await writer
      .#guard(() => writer.#moveMark({ durable: true }))
      .catch(async (error: unknown) => {
        await writer.close();
        throw error;
      });
    return writer;
  }

  /** As of the last durable append. */
  get state(): LogState {
    return this.#log.state;
  }

  /** Oldest first; the last one is being written. */
  get segments(): readonly Segment[] {
    return this.#log.segments;
  }

  get bytes(): number {
    return this.#log.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Bytes written to the current segment after its opening. */
  get currentBytes(): number {
    return this.#current.bytes - this.#opening;
  }

  /** Durable and visible to all readers when it resolves; one sync for all of them. */
  append(appends: readonly Append[]): Promise<void> {
    return this.#guard(async () => {
      const buffers: Uint8Array[] = [];
      let { next } = this.#log;
      for (const { head, body } of appends) {
        const bodyBytes = body.reduce((sum, part) => sum + part.length, 0);
        buffers.push(encodeFrame(next++, head, bodyBytes), ...body);
      }
      const bytes = await writeAll(this.#file, buffers, this.#current.bytes);
      await this.#file.datasync();
      // Written into a file without a name is written nowhere.
      if (fstatSync(this.#file.fd).nlink === 0) throw gone(this.#path);
      this.#current.bytes += bytes;
      this.#log.next = next;
      for (const { head } of appends) this.#log.state.apply(head);
      await this.#moveMark({ durable: false });
    });
  }

  /** Seals the current segment and begins the next. */
  roll(): Promise<void> {
    return this.#guard(async () => {
      const { log, next, state, segments } = this.#log;
      const [number, at] = [this.#current.number + 1, this.#now()];
      const topics = [...state.topics].map(([name, { id, end }]) => [name, id, end] as const);
      const head = { kind: 'segment', v: LAYOUT, log, segment: number, at, topics } as const;
      const previousBytes = this.#current.bytes;
      const bytes = await writeSegment(this.#path, { head: { ...head, previousBytes }, state, next });
      const file = await open(segmentPath(this.#path, number), 'r+');
      await this.#file.close();
      this.#file = file;
      this.#opening = bytes;
      this.#log.next = next + 2;
      segments.push({ number, bytes, at, ends: new Map(topics.map(([name, , end]) => [name, end])) });
      await this.#moveMark({ durable: true });
    });
  }

  /**
   * Drops the oldest sealed segments. The mark moves first: a file that is missing behind it would be a loss.
   */
  drop(count: number): Promise<void> {
    return this.#guard(async () => {
      const dropped = this.#log.segments.splice(0, count);
      await this.#moveMark({ durable: true });
      for (const { number } of dropped) {
        await unlink(segmentPath(this.#path, number)).catch((error: unknown) => {
          if (!isMissing(error)) throw error;
        });
      }
    });
  }

  async close(): Promise<void> {
    await this.#file.close();
    await this.#mark.close();
  }

  get #current(): Segment {
    return this.#log.segments.at(-1) as Segment;
  }

  #moveMark(how: { durable: boolean }): Promise<void> {
    const first = (this.#log.segments[0] as Segment).number;
    const { number: segment, bytes: position } = this.#current;
    return this.#mark.write({ v: LAYOUT, log: this.#log.log, first, segment, position }, how);
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    if (this.#failed) throw this.#failed;
    try {
      await work();
    } catch (error) {
      this.#failed =
        error instanceof RangeError
          ? damaged(this.#path, error.message, error)
          : fileError(error, this.#path);
      // Best effort: what stays behind the mark is cut away, or found whole, on opening.
      await this.#file.truncate(this.#current.bytes).catch(() => undefined);
      throw this.#failed;
    }
  }
}

/** As little as this is in the kernel's memory before a thread could be asked to put it there. */
const SMALL_BYTES = 1 << 16;

/** A short write is followed by its rest, which then says what is wrong. Returns the bytes written. */
const writeAll = async (
  file: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<number> => {
  const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  let left = [...buffers];
  let written = 0;
  while (written < total) {
    let bytesWritten =
      total < SMALL_BYTES
        ? writevSync(file.fd, left, position + written)
        : (await file.writev(left, position + written)).bytesWritten;
    written += bytesWritten;
    while (left[0] && bytesWritten >= left[0].length) bytesWritten -= (left.shift() as Uint8Array).length;
    if (left[0] && bytesWritten > 0) left = [left[0].subarray(bytesWritten), ...left.slice(1)];
  }
  return total;
};

const gone = (path: string): VarveError =>
  new VarveError(
    'state_lost',
    `The embedded topic in ${path} was deleted while it was written. Put the directory back, or ` +
      `\`varve reset\` and snapshot again.`,
    { facts: { path } },
  );
