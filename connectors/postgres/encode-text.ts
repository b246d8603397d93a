// Owns values that travel as text or raw bytes: strings, bytea, bit strings. Knows no column.
import { BACKSLASH, type MakeEncoder, ZERO } from './encode-scan.ts';

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

/** bytea in its hex form, `\xdead`. */
export const encodeBytea: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const digits = end - start - 2;
  if (digits < 0 || digits % 2 !== 0 || bytes[start] !== BACKSLASH || bytes[start + 1] !== LETTER_X) fail();
  out.long(digits / 2);
  out.ensure(digits / 2);
  for (let at = start + 2; at < end; at += 2) {
    const byte = hexByte(bytes, at);
    if (byte < 0) fail();
    out.bytes[out.pos++] = byte;
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
