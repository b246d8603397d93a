// Owns zoned times and intervals: timestamptz and timetz to ISO text in UTC, intervals to microseconds. Knows
// no column.
import type { ByteWriter } from '../../src/topic/byte-writer.ts';
import { isoYear } from './encode-iso.ts';
import {
  DOT,
  type Fail,
  infinitySign,
  type MakeEncoder,
  MINUS,
  matches,
  PLUS,
  readText,
  ZERO,
} from './encode-scan.ts';
import { dateEnd, eraStart, MICROS_PER_DAY, readDays, readMicros } from './encode-time.ts';

const NINE = 57;
const LETTER_T = 84;
const LETTER_Z = 90;
const UTC = '+00';

/** Infinities, years of more than four digits, years before Christ; refuses what is none of them. */
const encodeRareTimestampTz =
  (digits: number): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    if (infinitySign(bytes, start, end) !== 0) {
      out.prefixed(bytes, start, end);
      return true;
    }
    const era = eraStart(bytes, start, end);
    const zone = era - UTC.length;
    const space = dateEnd(bytes, start, era, fail);
    const time = zone - space - 1;
    if (!matches(UTC, bytes, zone, era)) fail();
    readDays(bytes, start, space, { isBc: era < end, fail });
    readMicros(bytes, space + 1, zone, fail);
    const year = isoYear(readText(bytes, start, space - 6), era < end);
    const date = space - 6;
    const fraction = Math.max(time - 9, digits);
    out.long(year.length + space - date + 10 + (fraction > 0 ? fraction + 1 : 0));
    for (let at = 0; at < year.length; at++) out.byte(year.charCodeAt(at));
    out.raw(bytes, date, space);
    out.byte(LETTER_T);
    out.raw(bytes, space + 1, zone);
    writePadding(out, time, fraction);
    out.byte(LETTER_Z);
    return true;
  };

/** Digits stand for digits, and the last of them for those that the column holds beyond what was sent. */
const PLAIN = Uint8Array.from('0000-00-00 00:00:00.000000', (char) => char.charCodeAt(0));
const [MONTH_AT, DAY_AT, SPACE_AT, POINT_AT] = [5, 8, 10, 19];

const twoDigitsAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! - ZERO) * 10 + bytes[at + 1]! - ZERO;

type PlainRange = { start: number; end: number; digits: number };

/**
 * A time in a year of four digits, which nearly every one is: every character is looked at while it is
 * copied. False, and nothing written, for all others.
 */
const writePlain = (out: ByteWriter, bytes: Uint8Array, { start, end, digits }: PlainRange): boolean => {
  const width = end - start - UTC.length;
  const length = Math.max(width, digits > 0 ? POINT_AT + 1 + digits : POINT_AT);
  if (width < POINT_AT || width === POINT_AT + 1 || length > PLAIN.length) return false;
  if (!matches(UTC, bytes, end - UTC.length, end)) return false;
  out.ensure(length + 2);
  const into = out.bytes;
  const to = out.pos + 1;
  for (let at = 0; at < width; at++) {
    const byte = bytes[start + at]!;
    const plain = PLAIN[at]!;
    if (plain === ZERO ? byte < ZERO || byte > NINE : byte !== plain) return false;
    into[to + at] = byte;
  }
  const [month, day] = [twoDigitsAt(bytes, start + MONTH_AT), twoDigitsAt(bytes, start + DAY_AT)];
  if (month < 1 || month > 12 || day < 1 || day > 31) return false;
  for (let at = width; at < length; at++) into[to + at] = PLAIN[at]!;
  into[to + SPACE_AT] = LETTER_T;
  into[to + length] = LETTER_Z;
  out.long(length + 1);
  out.pos = to + length + 1;
  return true;
};

/**
 * `2024-02-29 10:34:56.1+00` to `2024-02-29T10:34:56.100000Z`, with as many digits as the column holds. The
 * server prints UTC, because the connection says so; any other offset is refused. Infinities stay the words
 * they are.
 */
export const encodeTimestampTz =
  (digits: number): MakeEncoder =>
  (fail) => {
    const encodeRare = encodeRareTimestampTz(digits)(fail);
    return (bytes, start, end, out) =>
      writePlain(out, bytes, { start, end, digits }) || encodeRare(bytes, start, end, out);
  };

type Bytes = { byte(value: number): void };

/** Zeros up to `fraction` digits after a time text that is `width` long. */
const writePadding = (out: Bytes, width: number, fraction: number): void => {
  if (fraction === 0) return;
  if (width === 8) out.byte(DOT);
  for (let have = Math.max(width - 9, 0); have < fraction; have++) out.byte(ZERO);
};

const twoDigits = (value: number): string => String(value).padStart(2, '0');

/** Seconds that lie between the offset's clock and UTC: `+05:30`, `-08`, `+00:19:32`. */
const offsetSeconds = (text: string, fail: Fail): number => {
  const [, sign, hours, minutes = '0', seconds = '0'] =
    /^([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text) ?? fail();
  const total = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds);
  return sign === '-' ? -total : total;
};

/**
 * timetz, shifted to UTC within one day, zeros at the fraction's end dropped; the offset itself is not kept.
 */
export const encodeTimeTz: MakeEncoder = (fail) => (bytes, start, end, out) => {
  let zone = start + 8;
  while (zone < end && bytes[zone] !== PLUS && bytes[zone] !== MINUS) zone++;
  const offset = offsetSeconds(readText(bytes, zone, end), fail) * 1_000_000;
  const shifted = readMicros(bytes, start, zone, fail) - offset;
  const micros = ((shifted % MICROS_PER_DAY) + MICROS_PER_DAY) % MICROS_PER_DAY;
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = String(micros % 1_000_000)
    .padStart(6, '0')
    .replace(/0+$/, '');
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
    .map(twoDigits)
    .join(':');
  out.text(`${clock}${fraction === '' ? '' : `.${fraction}`}Z`);
  return true;
};

/** Months count 30.4375 days, so that a year has 365.25, as Debezium counts them. */
const MICROS_PER_MONTH = 2_629_800_000_000n;
const ISO_INTERVAL =
  /^P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d{1,6}))?S)?)?$/;

/**
 * interval in IntervalStyle iso_8601 to microseconds. Exact for days (24 hours) and times; with months the
 * number is only what Debezium makes of them, because months, days and microseconds are three numbers.
 */
export const encodeInterval: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const infinity = infinitySign(bytes, start, end);
  const limit = 2n ** 63n;
  if (infinity !== 0) {
    out.bigLong(infinity > 0 ? limit - 1n : -limit);
    return false;
  }
  const parts = ISO_INTERVAL.exec(readText(bytes, start, end)) ?? fail();
  const part = (index: number): bigint => BigInt(parts[index] ?? 0);
  const months = part(1) * 12n + part(2);
  const seconds = BigInt(`${parts[7] ?? '0'}${(parts[8] ?? '').padEnd(6, '0')}`);
  const clock = (part(4) * 60n + part(5)) * 60_000_000n + (parts[6] === '-' ? -seconds : seconds);
  const micros = months * MICROS_PER_MONTH + part(3) * BigInt(MICROS_PER_DAY) + clock;
  const held = micros >= limit ? limit - 1n : micros < -limit ? -limit : micros;
  out.bigLong(held);
  return months === 0n && held === micros;
};
