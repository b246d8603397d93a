// Owns the cutting of a byte stream into PostgreSQL's protocol frames, in one buffer that rows may point
// into. Knows no message. https://www.postgresql.org/docs/current/protocol-message-formats.html
import { VarveError } from '../../src/errors.ts';
import { readU32 } from './pgoutput-cursor.ts';

/** Reading stops while this much waits to be decoded. */
const HIGH_WATER = 4 << 20;
/** Room for the read that crosses the high water mark. */
const SLACK = 1 << 20;
/** The server cannot build a larger message (MaxAllocSize), so a larger length is a damaged stream. */
const MAX_FRAME = 1 << 30;

/**
 * `append` fills, `next` steps. What `bytes`, `start` and `end` show stays where it is until the next
 * `append`. The buffer grows for a single large frame and falls back to its first size once that frame is
 * consumed.
 */
export class FrameBuffer {
  bytes: Uint8Array;
  /** Of the current frame: type byte and body without the length. */
  type = 0;
  start = 0;
  end = 0;
  readonly #highWater: number;
  readonly #base: number;
  #from = 0;
  #to = 0;

  constructor({ highWater, slack } = { highWater: HIGH_WATER, slack: SLACK }) {
    this.#highWater = highWater;
    this.#base = highWater + slack;
    this.bytes = new Uint8Array(this.#base);
  }

  /** Bytes that are not consumed yet. */
  get size(): number {
    return this.#to - this.#from;
  }

  /** True when reading on would only use memory. */
  get isFull(): boolean {
    return this.size >= this.#highWater && this.size >= this.#frameSize();
  }

  get hasFrame(): boolean {
    return this.size >= this.#frameSize();
  }

  append(source: Uint8Array, count: number): void {
    if (this.size === 0) this.#restart();
    if (this.#to + count > this.bytes.length) this.#makeRoom(count);
    this.bytes.set(count === source.length ? source : source.subarray(0, count), this.#to);
    this.#to += count;
  }

  /**
   * Steps to the next whole frame; false when there is none. Throws `protocol_error` for an impossible
   * length.
   */
  next(): boolean {
    const size = this.#frameSize();
    if (this.size < size) return false;
    this.type = this.bytes[this.#from]!;
    this.start = this.#from + 5;
    this.#from += size;
    this.end = this.#from;
    return true;
  }

  clear(): void {
    this.#from = this.#to;
  }

  /** Of the frame that comes next; Infinity while its length has not arrived. */
  #frameSize(): number {
    if (this.size < 5) return Number.POSITIVE_INFINITY;
    const length = readU32(this.bytes, this.#from + 1);
    if (length >= 4 && length <= MAX_FRAME) return length + 1;
    throw new VarveError(
      'protocol_error',
      `A frame of the replication stream says it is ${length} bytes long; between 4 and ${MAX_FRAME} are ` +
        `possible. ` +
        'The stream is damaged, or what answers is not PostgreSQL.',
      { facts: { length } },
    );
  }

  #restart(): void {
    this.#from = 0;
    this.#to = 0;
    if (this.bytes.length > this.#base) this.bytes = new Uint8Array(this.#base);
  }

  #makeRoom(count: number): void {
    const size = this.size;
    const frame = this.#frameSize();
    const wanted = Math.max(size, Number.isFinite(frame) ? frame : 0) + count;
    const capacity = Math.max(wanted, this.#base);
    if (capacity > this.bytes.length || this.bytes.length > 2 * capacity) {
      const moved = new Uint8Array(capacity);
      moved.set(this.bytes.subarray(this.#from, this.#to));
      this.bytes = moved;
    } else this.bytes.copyWithin(0, this.#from, this.#to);
    this.#from = 0;
    this.#to = size;
  }
}
