// Owns reading of network-order integers and texts out of a frame, with every length checked before it is
// used. Pure; knows no message.
import { VarveError } from '../../src/errors.ts';

// A name may begin with U+FEFF, which a decoder drops unless told otherwise.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One bigint and its halves, low one first as on all platforms of Node: shifting would make three more. */
const WHOLE = new BigUint64Array(1);
const HALVES = new Uint32Array(WHOLE.buffer);

/** Walks over `bytes` from `pos` to `end`; every read that would pass `end` throws `protocol_error`. */
export class FrameCursor {
  bytes: Uint8Array;
  pos: number;
  end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
  }

  #take(count: number): number {
    const at = this.pos;
    if (count > this.end - at) throw malformed('is cut short', at);
    this.pos = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }

  u16(): number {
    const at = this.#take(2);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  u32(): number {
    return readU32(this.bytes, this.#take(4));
  }

  i32(): number {
    return this.u32() | 0;
  }

  u64(): bigint {
    HALVES[1] = this.u32();
    HALVES[0] = this.u32();
    return WHOLE[0]!;
  }

  /** Ends with a zero byte, which is passed over. */
  text(): string {
    const start = this.pos;
    const zero = this.bytes.indexOf(0, start);
    if (zero < 0 || zero >= this.end) throw malformed('has a text without end', start);
    this.pos = zero + 1;
    try {
      return utf8.decode(this.bytes.subarray(start, zero));
    } catch {
      throw malformed('has a name that is not UTF-8', start);
    }
  }

  skip(count: number): void {
    this.#take(count);
  }

  /** Throws unless everything was read: a rest means that both sides do not speak of the same layout. */
  finish(): void {
    if (this.pos !== this.end) throw malformed(`has ${this.end - this.pos} bytes too many`, this.pos);
  }
}

export const readU32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

/**
 * `protocol_error`; `what` completes "A message of the log ...". The byte is an offset into the read buffer.
 */
export const malformed = (what: string, byte: number): VarveError =>
  new VarveError('protocol_error', `A message of the log ${what}.`, { facts: { byte } });
