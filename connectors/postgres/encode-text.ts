// Owns values that travel as text or raw bytes: strings, bytea, bit strings. Knows no column.
import type { ByteWriter } from '../../src/topic/byte-writer.ts';
import { BACKSLASH, type Fail, type MakeEncoder, ZERO } from './encode-scan.ts';

/** The source's own text, byte for byte. */
export const encodeText: MakeEncoder = () => (bytes, start, end, out) => {
  out.prefixed(bytes, start, end);
  return true;
};

const LETTER_X = 120;

const NOT_HEX = 0xff;
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (const [value, digit] of [...'0123456789abcdef'].entries()) {
  HEX[digit.charCodeAt(0)] = value;
  HEX[digit.toUpperCase().charCodeAt(0)] = value;
}

/** The byte that two hexadecimal digits spell; negative when they are none. */
export const hexByte = (bytes: Uint8Array, at: number): number => {
  const high = HEX[bytes[at]!]!;
  const low = HEX[bytes[at + 1]!]!;
  return high === NOT_HEX || low === NOT_HEX ? -1 : high * 16 + low;
};

/** How many bytes `\xdead`, bytea's hex form, spells. */
const countBytes = (bytes: Uint8Array, start: number, end: number, fail: Fail): number => {
  const digits = end - start - 2;
  if (digits < 0 || digits % 2 !== 0 || bytes[start] !== BACKSLASH || bytes[start + 1] !== LETTER_X) fail();
  return digits / 2;
};

/** bytea as bytes. */
export const encodeBytea: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const count = countBytes(bytes, start, end, fail);
  out.long(count);
  out.ensure(count);
  for (let at = start + 2; at < end; at += 2) {
    const byte = hexByte(bytes, at);
    if (byte < 0) fail();
    out.bytes[out.pos++] = byte;
  }
  return true;
};

/** bytea as hexadecimal text, in lower case as the server has it. */
export const encodeByteaHex: MakeEncoder = (fail) => (bytes, start, end, out) => {
  countBytes(bytes, start, end, fail);
  for (let at = start + 2; at < end; at += 2) if (hexByte(bytes, at) < 0) fail();
  out.prefixed(bytes, start + 2, end);
  return true;
};

const BASE64 = Uint8Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', (char) =>
  char.charCodeAt(0),
);
const PAD = 61;

/** Length-prefixed base64 (RFC 4648, padded) of `count` bytes that `byteAt` gives by index. */
const writeBase64 = (out: ByteWriter, count: number, byteAt: (index: number) => number): void => {
  out.long(Math.ceil(count / 3) * 4);
  out.ensure(Math.ceil(count / 3) * 4);
  for (let at = 0; at < count; at += 3) {
    const left = count - at;
    const group = (byteAt(at) << 16) | (left > 1 ? byteAt(at + 1) << 8 : 0) | (left > 2 ? byteAt(at + 2) : 0);
    out.bytes[out.pos++] = BASE64[group >> 18]!;
    out.bytes[out.pos++] = BASE64[(group >> 12) & 63]!;
    out.bytes[out.pos++] = left > 1 ? BASE64[(group >> 6) & 63]! : PAD;
    out.bytes[out.pos++] = left > 2 ? BASE64[group & 63]! : PAD;
  }
};

/** bytea as base64 text. */
export const encodeByteaBase64: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const byteAt = (index: number): number => {
    const byte = hexByte(bytes, start + 2 + index * 2);
    return byte < 0 ? fail() : byte;
  };
  writeBase64(out, countBytes(bytes, start, end, fail), byteAt);
  return true;
};

/** The bytes of the source's text as base64, for types that are published as bytes. */
export const encodeTextBase64: MakeEncoder = () => (bytes, start, end, out) => {
  writeBase64(out, end - start, (index) => bytes[start + index]!);
  return true;
};

const DIGITS = Uint8Array.from('0123456789abcdef', (char) => char.charCodeAt(0));

/** The same as hexadecimal text. */
export const encodeTextHex: MakeEncoder = () => (bytes, start, end, out) => {
  out.long((end - start) * 2);
  out.ensure((end - start) * 2);
  for (let at = start; at < end; at++) {
    out.bytes[out.pos++] = DIGITS[bytes[at]! >> 4]!;
    out.bytes[out.pos++] = DIGITS[bytes[at]! & 15]!;
  }
  return true;
};

/** bit(1) and varbit(1). An empty varbit(1) has no boolean: false stands in. */
export const encodeBit: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const bit = end === start ? 0 : bytes[start]! - ZERO;
  if (end - start > 1 || (bit !== 0 && bit !== 1)) fail();
  out.byte(bit);
  return end > start;
};

/**
 * Bit strings: little-endian bytes, the last character is bit 0, zero bytes at the end are left out. `fixed`:
 * the length is in the schema; else a leading zero bit is lost to the reader.
 */
export const encodeBits =
  (isFixed: boolean): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    let first = start;
    while (first < end && bytes[first] === ZERO) first++;
    const count = Math.ceil((end - first) / 8);
    out.long(count);
    out.ensure(count);
    for (let last = end; last > first; last -= 8) {
      let byte = 0;
      for (let at = Math.max(first, last - 8); at < last; at++) {
        const bit = bytes[at]! - ZERO;
        if (bit !== 0 && bit !== 1) fail();
        byte = byte * 2 + bit;
      }
      out.bytes[out.pos++] = byte;
    }
    return isFixed || first === start;
  };
