// Owns the frame format of lz4, https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, as Kafka has it:
// independent blocks of 64 kB and a right header checksum. Knows no record batch.
import { copyMatch, findMatches, type Range } from './match-finder.ts';

const MAGIC = 0x184d2204;
/** Version 1, independent blocks; nothing optional, because the batch has a checksum of its own. */
const FLAGS = 0x60;
const MAX_BLOCK = 0x40;
const BLOCK_BYTES = 1 << 16;
const HEADER_BYTES = 7;
const STORED = 0x8000_0000;
const MIN_MATCH = 4;
/** A byte of a length makes at most 255 bytes. */
const MAX_RATIO = 255;

const [PRIME_2, PRIME_3, PRIME_4, PRIME_5] = [0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1];
const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** xxHash32 of less than 16 bytes: a header is never longer. */
const xxHash = (bytes: Uint8Array): number => {
  let hash = (PRIME_5 + bytes.length) | 0;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash = Math.imul(rotate(hash + Math.imul(word, PRIME_3), 17), PRIME_4);
  }
  for (; at < bytes.length; at++) {
    hash = Math.imul(rotate(hash + Math.imul(bytes[at]!, PRIME_5), 11), 0x9e3779b1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return hash ^ (hash >>> 16);
};

const headerChecksum = (descriptor: Uint8Array): number => (xxHash(descriptor) >>> 8) & 0xff;

class BlockWriter {
  readonly bytes: Uint8Array;
  pos: number;

  constructor(capacity: number, pos: number) {
    this.bytes = new Uint8Array(capacity);
    this.pos = pos;
  }

  length(rest: number): void {
    let left = rest - 15;
    for (; left >= 0xff; left -= 0xff) this.bytes[this.pos++] = 0xff;
    this.bytes[this.pos++] = left;
  }

  /** `length` 0: the last sequence, which has no match. */
  sequence(literals: Uint8Array, { offset, length }: { offset: number; length: number }): void {
    const rest = length === 0 ? 0 : length - MIN_MATCH;
    this.bytes[this.pos++] = (Math.min(literals.length, 15) << 4) | Math.min(rest, 15);
    if (literals.length >= 15) this.length(literals.length);
    this.bytes.set(literals, this.pos);
    this.pos += literals.length;
    if (length === 0) return;
    this.bytes[this.pos++] = offset;
    this.bytes[this.pos++] = offset >>> 8;
    if (rest >= 15) this.length(rest);
  }
}

const writeBlock = (out: BlockWriter, bytes: Uint8Array, range: Range): void => {
  const sizeAt = out.pos;
  out.pos += 4;
  findMatches(bytes, range, (literals, matchAt, match) =>
    out.sequence(bytes.subarray(literals, matchAt), match),
  );
  const view = new DataView(out.bytes.buffer);
  const [size, plain] = [out.pos - sizeAt - 4, range.end - range.start];
  view.setUint32(sizeAt, size < plain ? size : plain + STORED, true);
  if (size < plain) return;
  out.bytes.set(bytes.subarray(range.start, range.end), sizeAt + 4);
  out.pos = sizeAt + 4 + plain;
};

/** One frame. */
export const compressLz4 = (bytes: Uint8Array): Uint8Array => {
  const blocks = Math.ceil(bytes.length / BLOCK_BYTES);
  // A block that does not shrink is stored; until that is seen it takes a 255th more.
  const out = new BlockWriter(HEADER_BYTES + 4 + bytes.length + blocks * 4 + 1024, HEADER_BYTES);
  new DataView(out.bytes.buffer).setUint32(0, MAGIC, true);
  out.bytes[4] = FLAGS;
  out.bytes[5] = MAX_BLOCK;
  out.bytes[6] = headerChecksum(out.bytes.subarray(4, 6));
  for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
    writeBlock(out, bytes, { start, end: Math.min(start + BLOCK_BYTES, bytes.length) });
  }
  // The end mark, over what a block that was stored left behind it.
  new DataView(out.bytes.buffer).setUint32(out.pos, 0);
  return out.bytes.slice(0, out.pos + 4);
};

/** Grows as blocks come, up to its bound. */
class Unpacked {
  bytes: Uint8Array;
  pos = 0;
  readonly #maxBytes: number;

  constructor(capacity: number, maxBytes: number) {
    this.bytes = new Uint8Array(Math.min(capacity, maxBytes));
    this.#maxBytes = maxBytes;
  }

  ensure(count: number): void {
    const need = this.pos + count;
    if (need <= this.bytes.length) return;
    if (need > this.#maxBytes) throw new RangeError(`it has more than ${this.#maxBytes} bytes`);
    const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(need, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.pos));
    this.bytes = grown;
  }

  literal(source: Uint8Array, start: number, end: number): void {
    if (end > source.length) throw new RangeError('a literal is out of bounds');
    this.ensure(end - start);
    this.bytes.set(source.subarray(start, end), this.pos);
    this.pos += end - start;
  }

  match(match: { offset: number; length: number }): void {
    this.ensure(match.length);
    copyMatch(this.bytes, this.pos, match);
    this.pos += match.length;
  }
}

const readBlock = (block: Uint8Array, out: Unpacked): void => {
  let at = 0;
  const lengthOf = (low: number): number => {
    if (low < 15) return low;
    let length = low;
    for (let byte = 0xff; byte === 0xff; length += byte) {
      if (at >= block.length) throw new RangeError('a length runs past its block');
      byte = block[at++]!;
    }
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = lengthOf(token >>> 4);
    out.literal(block, at, at + literals);
    at += literals;
    if (at === block.length) return;
    if (at + 2 > block.length) throw new RangeError('a match runs past its block');
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    out.match({ offset, length: lengthOf(token & 15) + MIN_MATCH });
  }
  throw new RangeError('a block does not end in literals');
};

/** Bits of the flags. */
const [BLOCK_CHECKSUM, CONTENT_SIZE, CONTENT_CHECKSUM, DICTIONARY] = [0x10, 0x08, 0x04, 0x01];

/** Where the frame's first block is. */
const readHeader = (bytes: Uint8Array, view: DataView): number => {
  if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== MAGIC)
    throw new RangeError('it does not begin as a frame does');
  const flags = bytes[4]!;
  if (flags >>> 6 !== 1 || flags & DICTIONARY) throw new RangeError(`its flags ${flags} are not Kafka's`);
  const end = 6 + (flags & CONTENT_SIZE ? 8 : 0);
  if (bytes[end] !== headerChecksum(bytes.subarray(4, end)))
    throw new RangeError('the checksum of its header does not fit');
  return end + 1;
};

/**
 * The content of one frame. Checksums within are passed over: the batch has one of its own. Throws a
 * RangeError for damage, and for more than `maxBytes`.
 */
export const decompressLz4 = (bytes: Uint8Array, maxBytes: number): Uint8Array => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = bytes[4] ?? 0;
  const bound = Math.min(maxBytes, bytes.length * MAX_RATIO);
  const out = new Unpacked(bytes.length * 4, bound);
  for (let at = readHeader(bytes, view); ; ) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) {
      if (at + (flags & CONTENT_CHECKSUM ? 4 : 0) === bytes.length) break;
      throw new RangeError('something stands behind its frame');
    }
    const length = size % STORED;
    if (at + length > bytes.length) throw new RangeError('a block runs past its end');
    if (size >= STORED) out.literal(bytes, at, at + length);
    else readBlock(bytes.subarray(at, at + length), out);
    at += length + (flags & BLOCK_CHECKSUM ? 4 : 0);
  }
  return out.bytes.subarray(0, out.pos);
};
