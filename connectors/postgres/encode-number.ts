// Owns booleans, integers and floats: PostgreSQL's text to Avro. Knows no decimal, no column.
// Text forms: https://www.postgresql.org/docs/current/datatype-numeric.html
import { DOT, type Fail, type MakeEncoder, MINUS, readText, ZERO } from './encode-scan.ts';

const LETTER_T = 116;
const LETTER_F = 102;

export const encodeBoolean: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const letter = bytes[start];
  if (end - start !== 1 || (letter !== LETTER_T && letter !== LETTER_F)) fail();
  out.byte(letter === LETTER_T ? 1 : 0);
  return true;
};

/** Integers that a double holds exactly: int2, int4 and oid. Fails outside `min`..`max`. */
export const encodeInteger =
  (min: number, max: number): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    const negative = bytes[start] === MINUS;
    let at = negative ? start + 1 : start;
    if (at >= end || end - at > 15) fail();
    let value = 0;
    for (; at < end; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) fail();
      value = value * 10 + digit;
    }
    if (negative) value = -value;
    if (value < min || value > max) fail();
    out.long(value);
    return true;
  };

/** int8: short ones as a number, the rest by way of a bigint. */
export const encodeBigInteger: MakeEncoder = (fail) => {
  const encodeShort = encodeInteger(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)(fail);
  return (bytes, start, end, out) => {
    if (end - start <= 15) return encodeShort(bytes, start, end, out);
    const text = readText(bytes, start, end);
    if (!/^-?\d{15,19}$/.test(text)) fail();
    const value = BigInt(text);
    if (BigInt.asIntN(64, value) !== value) fail();
    out.bigLong(value);
    return true;
  };
};

/** Letters of NaN, Infinity and exponents: what else Number() would take, such as hexadecimal, has others. */
const FLOAT_LETTERS = /^[-+.\deINafinty]+$/;

const parseSlowly = (text: string, fail: Fail): number => {
  const value = Number(text);
  if (!FLOAT_LETTERS.test(text) || (Number.isNaN(value) && text !== 'NaN')) fail();
  return value;
};

/** Powers of ten that a double holds exactly. */
const TENS = Array.from({ length: 23 }, (_, power) => 10 ** power);

/**
 * The double nearest to the text. Up to 15 digits without exponent are one exact division, which rounds as it
 * must (both operands are exact); the rest, exponents and the specials go through the language's own parser.
 */
export const readFloat = (bytes: Uint8Array, start: number, end: number, fail: Fail): number => {
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  if (first >= end) fail();
  if (end - first > 16) return parseSlowly(readText(bytes, start, end), fail);
  let digits = 0;
  let point = end;
  for (let at = first; at < end; at++) {
    const byte = bytes[at]!;
    const digit = byte - ZERO;
    if (digit >= 0 && digit <= 9) digits = digits * 10 + digit;
    else if (byte === DOT && point === end && at > first) point = at;
    else return parseSlowly(readText(bytes, start, end), fail);
  }
  if (point === end && end - first > 15) return parseSlowly(readText(bytes, start, end), fail);
  const value = point >= end - 1 ? digits : digits / TENS[end - point - 1]!;
  return negative ? -value : value;
};

export const encodeFloat: MakeEncoder = (fail) => (bytes, start, end, out) => {
  out.float(readFloat(bytes, start, end, fail));
  return true;
};

export const encodeDouble: MakeEncoder = (fail) => (bytes, start, end, out) => {
  out.double(readFloat(bytes, start, end, fail));
  return true;
};
