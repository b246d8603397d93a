// Owns Iceberg's binary form of one value and the bounds made of it, from the text that an engine prints.
// Pure. A wrong bound makes readers skip rows without a word, so whatever is in doubt has no bound.
// https://iceberg.apache.org/spec/#binary-single-value-serialization
import { isOrder } from '../../../change/order.ts';
import type { IcebergPrimitive, IcebergType } from '../iceberg-type.ts';

const utf8 = new TextEncoder();
/** Code points of a string, bytes of a binary. */
const BOUND_LENGTH = 16;

/** Minimal big-endian two's complement. */
export const unscaledBytes = (value: bigint): Uint8Array => {
  const digits = value < 0n ? ~value : value;
  const length = Math.floor(digits.toString(2).length / 8) + 1;
  const bytes = new Uint8Array(digits === 0n ? 1 : length);
  let rest = value;
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
};

const fixed = (length: number, fill: (view: DataView) => void): Uint8Array => {
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
};

export const intBytes = (value: number): Uint8Array => fixed(4, (view) => view.setInt32(0, value, true));
export const longBytes = (value: bigint): Uint8Array => fixed(8, (view) => view.setBigInt64(0, value, true));
export const booleanBytes = (value: boolean): Uint8Array => Uint8Array.of(value ? 1 : 0);

const integer = (text: string, bits: number): bigint | null => {
  if (!/^-?[0-9]{1,20}$/.test(text)) return null;
  const value = BigInt(text);
  return BigInt.asIntN(bits, value) === value ? value : null;
};

/**
 * Days since 1970-01-01 of a proleptic Gregorian date, as the engine prints it: `2024-02-29`, `0044-03-15
 * (BC)`.
 */
const days = (text: string, suffix: string): bigint | null => {
  const found = /^([0-9]{4,6})-([0-9]{2})-([0-9]{2})$/.exec(text);
  if (!found || (suffix !== '' && suffix !== ' (BC)')) return null;
  const year = suffix === '' ? Number(found[1]) : 1 - Number(found[1]);
  const date = new Date(0);
  date.setUTCFullYear(year, Number(found[2]) - 1, Number(found[3]));
  // setUTCFullYear rolls over what is no date; then nothing is known.
  if (Number.isNaN(date.getTime()) || date.getUTCDate() !== Number(found[3])) return null;
  return BigInt(date.getTime()) / 86_400_000n;
};

/** Microseconds since midnight of `12:34:56.789`. */
const micros = (text: string): bigint | null => {
  const found = /^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?$/.exec(text);
  if (!found) return null;
  const seconds = (Number(found[1]) * 60 + Number(found[2])) * 60 + Number(found[3]);
  return BigInt(seconds) * 1_000_000n + BigInt((found[4] ?? '').padEnd(6, '0'));
};

const instant = (text: string, zoned: boolean): bigint | null => {
  const found = /^([0-9-]+)( \(BC\))? ([0-9:.]+)(\+00(?::?00)?)?$/.exec(text);
  if (!found || zoned !== (found[4] !== undefined)) return null;
  const day = days(found[1] ?? '', found[2] ?? '');
  const time = micros(found[3] ?? '');
  return day === null || time === null ? null : day * 86_400_000_000n + time;
};

const unscaled = (text: string, scale: number): bigint | null => {
  const found = /^(-?)([0-9]*)(?:\.([0-9]*))?$/.exec(text);
  if (!found || (found[2] ?? '') + (found[3] ?? '') === '' || (found[3] ?? '').length > scale) return null;
  const value = BigInt((found[2] ?? '') + (found[3] ?? '').padEnd(scale, '0'));
  return found[1] === '-' ? -value : value;
};

/**
 * -0 and 0 are one value to some readers and two to others, so a zero bound takes the side that holds both.
 */
const floating = (text: string, side: Side): number | null => {
  const value = Number(text.replace(/^(-?)inf(inity)?$/i, '$1Infinity'));
  if (text === '' || Number.isNaN(value)) return null;
  if (value === 0) return side === 'lower' ? -0 : 0;
  return value;
};

const hexBytes = (text: string): Uint8Array | null =>
  /^(?:[0-9a-fA-F]{2})*$/.test(text)
    ? Uint8Array.from({ length: text.length / 2 }, (_, at) =>
        Number.parseInt(text.slice(at * 2, at * 2 + 2), 16),
      )
    : null;

type Side = 'lower' | 'upper';

const afterCodePoint = (point: number): number | null => {
  if (point >= 0x10ffff) return null;
  // Surrogates are no characters.
  return point + 1 === 0xd800 ? 0xe000 : point + 1;
};

/**
 * The first 16 code points; an upper bound that was cut counts its last one up, or has none. An order is kept
 * whole: its first characters are the same everywhere, and files are looked for by it.
 */
export const stringBound = (text: string, side: Side): Uint8Array | null => {
  if (isOrder(text)) return utf8.encode(text);
  if (!text.isWellFormed()) return null;
  const points = Array.from(text.slice(0, BOUND_LENGTH * 2 + 2), (char) => char.codePointAt(0) as number);
  if (points.length <= BOUND_LENGTH && text.length <= BOUND_LENGTH * 2) return utf8.encode(text);
  const kept = points.slice(0, BOUND_LENGTH);
  if (side === 'lower') return utf8.encode(String.fromCodePoint(...kept));
  for (let at = kept.length - 1; at >= 0; at--) {
    const next = afterCodePoint(kept[at]!);
    if (next !== null) return utf8.encode(String.fromCodePoint(...kept.slice(0, at), next));
  }
  return null;
};

export const binaryBound = (bytes: Uint8Array, side: Side): Uint8Array | null => {
  if (bytes.length <= BOUND_LENGTH) return bytes.slice();
  const kept = bytes.slice(0, BOUND_LENGTH);
  if (side === 'lower') return kept;
  let end = BOUND_LENGTH;
  while (end > 0 && kept[end - 1] === 0xff) end--;
  if (end === 0) return null;
  kept[end - 1]! += 1;
  return kept.slice(0, end);
};

const numberBytes = (value: bigint | null, bits: 32 | 64): Uint8Array | null => {
  if (value === null || BigInt.asIntN(bits, value) !== value) return null;
  return bits === 32 ? intBytes(Number(value)) : longBytes(value);
};

const floatBytes = (value: number | null, bits: 32 | 64): Uint8Array | null => {
  if (value === null) return null;
  return bits === 32
    ? fixed(4, (view) => view.setFloat32(0, value, true))
    : fixed(8, (view) => view.setFloat64(0, value, true));
};

const dateOf = (text: string): bigint | null => {
  const found = /^([0-9-]+)( \(BC\))?$/.exec(text);
  return found ? days(found[1] ?? '', found[2] ?? '') : null;
};

/** Scale of a decimal type. */
const scaleOf = (type: string): number => Number(/,\s*([0-9]+)\)$/.exec(type)?.[1]);

const boundOf = (type: IcebergPrimitive, text: string, side: Side): Uint8Array | null => {
  switch (type) {
    case 'boolean':
      return /^(0|1|true|false)$/.test(text) ? booleanBytes(text === '1' || text === 'true') : null;
    case 'int':
      return numberBytes(integer(text, 32), 32);
    case 'long':
      return numberBytes(integer(text, 64), 64);
    case 'date':
      return numberBytes(dateOf(text), 32);
    case 'time':
      return numberBytes(micros(text), 64);
    case 'timestamp':
    case 'timestamptz':
      return numberBytes(instant(text, type === 'timestamptz'), 64);
    case 'float':
    case 'double':
      return floatBytes(floating(text, side), type === 'float' ? 32 : 64);
    case 'string':
      return stringBound(text, side);
    case 'binary': {
      const bytes = hexBytes(text);
      return bytes && binaryBound(bytes, side);
    }
    case 'uuid':
      // Java compares the halves of a UUID as signed numbers, others byte by byte: no bound is right for
      // both.
      return null;
    default: {
      const value = unscaled(text, scaleOf(type));
      return value === null ? null : unscaledBytes(value);
    }
  }
};

/**
 * Bounds of one column of one file from the engine's printed minimum and maximum (strings as they are, binary
 * in hexadecimal, zoned timestamps in UTC). Both bounds or none.
 */
export const columnBounds = (
  type: IcebergType,
  printed: { min: string | null; max: string | null; hasNan: boolean },
): { lower: Uint8Array; upper: Uint8Array } | null => {
  if (typeof type !== 'string' || printed.min === null || printed.max === null || printed.hasNan) return null;
  const lower = boundOf(type, printed.min, 'lower');
  const upper = boundOf(type, printed.max, 'upper');
  return lower && upper && { lower, upper };
};
