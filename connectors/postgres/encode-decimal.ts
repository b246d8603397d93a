// Owns numeric and money: decimal text to Avro decimals (unscaled two's complement, big-endian, as short as
// it can be), to plain digits, or to doubles. Knows no column. NaN and the infinities are no decimals: zero
// stands in for them.
import type { ByteWriter } from '../../src/topic/byte-writer.ts';
import { readFloat } from './encode-number.ts';
import { DOT, type Fail, type MakeEncoder, MINUS, readText, ZERO } from './encode-scan.ts';

/** Length-prefixed; `value` is a safe integer. */
const writeUnscaled = (out: ByteWriter, value: number): void => {
  let count = 1;
  for (let limit = 0x80; value >= limit || value < -limit; limit *= 0x100) count++;
  out.byte(count * 2);
  out.ensure(count);
  const low = value | 0;
  const high = Math.floor(value / 0x1_0000_0000);
  for (let at = count - 1; at >= 0; at--) {
    out.bytes[out.pos++] = at >= 4 ? high >> ((at - 4) * 8) : low >> (at * 8);
  }
};

const writeUnscaledBig = (out: ByteWriter, value: bigint): void => {
  const magnitude = (value < 0n ? -value - 1n : value).toString(16);
  const bits = (magnitude.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(magnitude[0] as string, 16)));
  const count = (bits >> 3) + 1;
  const digits = BigInt.asUintN(count * 8, value)
    .toString(16)
    .padStart(count * 2, '0');
  out.long(count);
  out.ensure(count);
  for (let at = 0; at < digits.length; at += 2) {
    out.bytes[out.pos++] = Number.parseInt(digits.slice(at, at + 2), 16);
  }
};

const SPECIALS = new Set(['NaN', 'Infinity', '-Infinity']);

/** [sign and digits before the point, digits after it], or null for NaN and the infinities. */
const splitDecimal = (text: string, fail: Fail): [string, string] | null => {
  if (SPECIALS.has(text)) return null;
  const [, whole, fraction = ''] = /^(-?\d+)(?:\.(\d+))?$/.exec(text) ?? fail();
  return [whole as string, fraction];
};

/** Writes `whole.fraction` at exactly `scale` digits; false when digits other than 0 had to go. */
const writeAtScale = (out: ByteWriter, parts: [string, string] | null, scale: number): boolean => {
  if (parts === null) {
    writeUnscaled(out, 0);
    return false;
  }
  const [whole, fraction] = parts;
  writeUnscaledBig(out, BigInt(whole + fraction.slice(0, scale).padEnd(scale, '0')));
  return !/[1-9]/.test(fraction.slice(scale));
};

/** What `scanPlain` found; one for all encoders, because nothing runs between the scan and its use. */
const plain = { value: 0, fraction: 0 };

/** Up to 15 digits with at most one point, as an unscaled number in a double, without making a string. */
const scanPlain = (bytes: Uint8Array, start: number, end: number): boolean => {
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  if (first >= end || end - first > 16) return false;
  let point = end;
  let value = 0;
  for (let at = first; at < end; at++) {
    const byte = bytes[at]!;
    const digit = byte - ZERO;
    if (digit >= 0 && digit <= 9) value = value * 10 + digit;
    else if (byte === DOT && point === end && at > first && at < end - 1) point = at;
    else return false;
  }
  plain.value = isNegative ? -value : value;
  plain.fraction = point === end ? 0 : end - point - 1;
  return value <= 999_999_999_999_999;
};

/**
 * numeric with a declared scale >= 0. The server writes that many digits; a default's literal may have fewer.
 */
export const encodeDecimal =
  (scale: number): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    if (scanPlain(bytes, start, end) && plain.fraction === scale) {
      writeUnscaled(out, plain.value);
      return true;
    }
    return writeAtScale(out, splitDecimal(readText(bytes, start, end), fail), scale);
  };

/**
 * numeric without declared scale: a struct of scale and unscaled value, without zeros at the fraction's end.
 */
export const encodeVariableDecimal: MakeEncoder = (fail) => (bytes, start, end, out) => {
  if (scanPlain(bytes, start, end)) {
    let { value, fraction } = plain;
    while (fraction > 0 && value % 10 === 0) {
      value /= 10;
      fraction--;
    }
    out.long(fraction);
    writeUnscaled(out, value);
    return true;
  }
  const parts = splitDecimal(readText(bytes, start, end), fail);
  const [whole, fraction] = parts ?? ['0', ''];
  const kept = fraction.replace(/0+$/, '');
  out.long(kept.length);
  writeUnscaledBig(out, BigInt(whole + kept));
  return parts !== null;
};

/** `-$1,234.50`, as `lc_monetary=C` prints it, to `-1234.50`. */
const moneyText = (bytes: Uint8Array, start: number, end: number, fail: Fail): string => {
  const text = readText(bytes, start, end);
  if (!/^-?\$[\d,]+\.\d\d$/.test(text)) fail();
  return text.replace(/[$,]/g, '');
};

/** money as a decimal of scale 2. */
export const encodeMoney: MakeEncoder = (fail) => (bytes, start, end, out) =>
  writeAtScale(out, splitDecimal(moneyText(bytes, start, end, fail), fail), 2);

export const encodeMoneyText: MakeEncoder = (fail) => (bytes, start, end, out) => {
  out.text(moneyText(bytes, start, end, fail));
  return true;
};

export const encodeMoneyDouble: MakeEncoder = (fail) => (bytes, start, end, out) => {
  out.double(Number(moneyText(bytes, start, end, fail)));
  return true;
};

/** As Debezium spells them; a reader of numbers knows the source's own words better. */
const SPECIAL_WORD: Readonly<Record<string, string>> = {
  NaN: 'NAN',
  Infinity: 'POSITIVE_INFINITY',
  '-Infinity': 'NEGATIVE_INFINITY',
};

/** numeric as plain digits; a declared scale is filled up, which only a default's literal may need. */
export const encodeDecimalText =
  (scale: number): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    if (scanPlain(bytes, start, end) && plain.fraction >= scale) {
      out.prefixed(bytes, start, end);
      return true;
    }
    const text = readText(bytes, start, end);
    const parts = splitDecimal(text, fail);
    const [whole, fraction] = parts ?? [SPECIAL_WORD[text] as string, ''];
    const digits = parts === null ? '' : fraction.padEnd(scale, '0');
    out.text(digits === '' ? whole : `${whole}.${digits}`);
    return parts !== null;
  };

/** numeric as the nearest double, NaN and the infinities included; 10^309 and more are not held. */
export const encodeDecimalDouble: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const value = readFloat(bytes, start, end, fail);
  out.double(value);
  return Number.isFinite(value) || SPECIALS.has(readText(bytes, start, end));
};
