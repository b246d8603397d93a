// Owns snappy, https://github.com/google/snappy/blob/main/format_description.txt: the plain format, and for
// reading also the frame that Java programs put around it. Knows no record batch.
import { copyMatch, findMatches } from './match-finder.ts';

const COPY_2 = 2;
const MAX_COPY = 64;
const LITERAL = 0;
/** No element makes more than 64 bytes out of 2, so a larger claim is not worth the memory. */
const MAX_RATIO = 32;

class Output {
  bytes: Uint8Array;
  pos = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
  }

  literal(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length === 0) return;
    const rest = length - 1;
    const extra = rest < 60 ? 0 : rest < 0x100 ? 1 : rest < 0x1_0000 ? 2 : rest < 0x100_0000 ? 3 : 4;
    this.bytes[this.pos++] = (extra === 0 ? rest : 59 + extra) << 2;
    for (let byte = 0; byte < extra; byte++) this.bytes[this.pos++] = rest >>> (8 * byte);
    this.bytes.set(source.subarray(start, end), this.pos);
    this.pos += length;
  }

  copy(offset: number, length: number): void {
    for (let left = length; left > 0; left -= MAX_COPY) {
      this.bytes[this.pos++] = ((Math.min(left, MAX_COPY) - 1) << 2) | COPY_2;
      this.bytes[this.pos++] = offset;
      this.bytes[this.pos++] = offset >>> 8;
    }
  }
}

/** Plain snappy, without a frame: every consumer of Kafka tells it from a framed one. */
export const compressSnappy = (bytes: Uint8Array): Uint8Array => {
  // A match of 4 bytes or more costs 3: only literals' own lengths can make it grow.
  const out = new Output(32 + bytes.length + Math.ceil(bytes.length / 6));
  for (let rest = bytes.length; ; rest >>>= 7) {
    out.bytes[out.pos++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest;
    if (rest <= 0x7f) break;
  }
  findMatches(bytes, { start: 0, end: bytes.length }, (literals, matchAt, { offset, length }) => {
    out.literal(bytes, literals, matchAt);
    if (length > 0) out.copy(offset, length);
  });
  return out.bytes.slice(0, out.pos);
};

const readLength = (bytes: Uint8Array): { length: number; at: number } => {
  let length = 0;
  for (let at = 0; at < 5 && at < bytes.length; at++) {
    const byte = bytes[at]!;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return { length, at: at + 1 };
  }
  throw new RangeError('it does not say how long it is');
};

const littleEndian = (bytes: Uint8Array, at: number, count: number): number => {
  if (at + count > bytes.length) throw new RangeError('an element runs past its end');
  let value = 0;
  for (let byte = count - 1; byte >= 0; byte--) value = value * 0x100 + bytes[at + byte]!;
  return value;
};

/** Width of an element's offset by its two low bits; a literal has none. */
const OFFSET_BYTES = [0, 1, 2, 4];

const decompressPlain = (bytes: Uint8Array, maxBytes: number): Uint8Array => {
  const { length, at: first } = readLength(bytes);
  if (length > maxBytes || length > bytes.length * MAX_RATIO)
    throw new RangeError(`it says ${length} bytes, which is too many`);
  const out = new Uint8Array(length);
  let to = 0;
  for (let at = first; at < bytes.length; ) {
    const tag = bytes[at++]!;
    const kind = tag & 3;
    if (kind === LITERAL) {
      const extra = Math.max(0, (tag >>> 2) - 59);
      const count = (extra === 0 ? tag >>> 2 : littleEndian(bytes, at, extra)) + 1;
      at += extra;
      if (at + count > bytes.length || to + count > length)
        throw new RangeError('a literal is out of bounds');
      out.set(bytes.subarray(at, at + count), to);
      at += count;
      to += count;
      continue;
    }
    const width = OFFSET_BYTES[kind]!;
    const high = kind === 1 ? (tag >>> 5) << 8 : 0;
    const match = {
      offset: high + littleEndian(bytes, at, width),
      length: kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1,
    };
    copyMatch(out, to, match);
    at += width;
    to += match.length;
  }
  if (to !== length) throw new RangeError(`it says ${length} bytes and has ${to}`);
  return out;
};

/** The frame's first bytes: 0x82, SNAPPY, 0; then two versions of 4 bytes. */
const FRAME = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];
const FRAME_HEADER_BYTES = 16;

const isFramed = (bytes: Uint8Array): boolean =>
  bytes.length >= FRAME_HEADER_BYTES && FRAME.every((byte, at) => bytes[at] === byte);

/** Plain or framed. Throws a RangeError for damage, and for more than `maxBytes`. */
export const decompressSnappy = (bytes: Uint8Array, maxBytes: number): Uint8Array => {
  if (!isFramed(bytes)) return decompressPlain(bytes, maxBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = FRAME_HEADER_BYTES; at < bytes.length; ) {
    const size = at + 4 <= bytes.length ? view.getUint32(at) : bytes.length;
    if (at + 4 + size > bytes.length) throw new RangeError('a block runs past its end');
    const part = decompressPlain(bytes.subarray(at + 4, at + 4 + size), maxBytes - total);
    parts.push(part);
    total += part.length;
    at += 4 + size;
  }
  const out = new Uint8Array(total);
  let to = 0;
  for (const part of parts) {
    out.set(part, to);
    to += part.length;
  }
  return out;
};
