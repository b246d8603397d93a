// Owns dates, times and timestamps: ISO text to counts since 1970-01-01, by proleptic Gregorian arithmetic,
// years BC and up to 5874897 included. Knows no column. DateStyle=ISO and TimeZone=UTC are pinned by the
// connection.
import {
  COLON,
  DOT,
  type Fail,
  infinitySign,
  type MakeEncoder,
  MINUS,
  readDigits,
  SPACE,
} from './encode-scan.ts';

export const MICROS_PER_DAY = 86_400_000_000;
const LETTER_C = 67;

/**
 * Days from 1970-01-01; years count through zero (1 BC is 0). Eras of 400 years begin on the first of March.
 */
const daysFromCivil = (year: number, month: number, day: number): number => {
  const marchYear = month > 2 ? year : year - 1;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    dayOfYear -
    719_468
  );
};

/** Where ` BC` begins, or `end` where there is none. */
export const eraStart = (bytes: Uint8Array, start: number, end: number): number =>
  end - start > 3 && bytes[end - 1] === LETTER_C ? end - 3 : end;

type DateOptions = { isBc: boolean; fail: Fail };

/** `YYYY-MM-DD`, four digits of year or more, without the era. */
export const readDays = (bytes: Uint8Array, start: number, end: number, options: DateOptions): number => {
  const { isBc, fail } = options;
  if (end - start < 10 || bytes[end - 3] !== MINUS || bytes[end - 6] !== MINUS) fail();
  const year = readDigits(bytes, start, end - 6, fail);
  const month = readDigits(bytes, end - 5, end - 3, fail);
  const day = readDigits(bytes, end - 2, end, fail);
  if (month < 1 || month > 12 || day < 1 || day > 31) fail();
  return daysFromCivil(isBc ? 1 - year : year, month, day);
};

/** `HH:MM:SS`, up to six digits of fraction, as microseconds of the day; 24:00:00 is one. */
export const readMicros = (bytes: Uint8Array, start: number, end: number, fail: Fail): number => {
  const width = end - start;
  if (width < 8 || bytes[start + 2] !== COLON || bytes[start + 5] !== COLON) fail();
  const hours = readDigits(bytes, start, start + 2, fail);
  const minutes = readDigits(bytes, start + 3, start + 5, fail);
  const seconds = readDigits(bytes, start + 6, start + 8, fail);
  const whole = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000;
  if (width === 8) return whole;
  if (bytes[start + 8] !== DOT || width > 15) fail();
  return whole + readDigits(bytes, start + 9, end, fail) * 10 ** (15 - width);
};

/** Where the date ends and a space stands; years may be longer than four digits. */
export const dateEnd = (bytes: Uint8Array, start: number, end: number, fail: Fail): number => {
  let at = start + 10;
  while (at < end && bytes[at] !== SPACE) at++;
  if (at >= end) fail();
  return at;
};

/** What Debezium's stream has for the infinities, by encoding; other readers know them by these numbers. */
const INFINITE_DAYS = { 1: 2_146_033_979, [-1]: -2_147_472_691 } as const;
const INFINITE_MILLIS = { 1: 9_223_372_036_825_200_000n, [-1]: -9_223_372_036_832_400_000n } as const;
const INFINITE_MICROS = { 1: 2n ** 63n - 1n, [-1]: -(2n ** 63n) } as const;

/** Days since 1970-01-01 in 32 bits. */
export const encodeDate: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const infinity = infinitySign(bytes, start, end);
  if (infinity !== 0) {
    out.long(INFINITE_DAYS[infinity]);
    return false;
  }
  const era = eraStart(bytes, start, end);
  out.long(readDays(bytes, start, era, { isBc: era < end, fail }));
  return true;
};

type TimeUnit = 'millis' | 'micros' | 'nanos';

/**
 * time of the day. `cuts`: finer digits than the unit's are not wanted, so a value without them is exact.
 */
export const encodeTime =
  (unit: TimeUnit, cuts = false): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    const micros = readMicros(bytes, start, end, fail);
    if (unit === 'micros') out.long(micros);
    else if (unit === 'nanos') out.long(micros * 1000);
    else {
      out.long(Math.floor(micros / 1000));
      return cuts || micros % 1000 === 0;
    }
    return true;
  };

/**
 * timestamp without zone; microseconds past 64 bits (years from 294247 on) are cut to the highest there is.
 * `cuts` as for times.
 */
export const encodeTimestamp =
  (unit: 'micros' | 'millis', cuts = false): MakeEncoder =>
  (fail) => {
    const divisor = unit === 'micros' ? 1 : 1000;
    const perDay = MICROS_PER_DAY / divisor;
    const safeDays = Math.floor(Number.MAX_SAFE_INTEGER / perDay) - 1;
    const infinite = unit === 'micros' ? INFINITE_MICROS : INFINITE_MILLIS;
    return (bytes, start, end, out) => {
      const infinity = infinitySign(bytes, start, end);
      if (infinity !== 0) {
        out.bigLong(infinite[infinity]);
        return false;
      }
      const era = eraStart(bytes, start, end);
      const space = dateEnd(bytes, start, era, fail);
      const days = readDays(bytes, start, space, { isBc: era < end, fail });
      const micros = readMicros(bytes, space + 1, era, fail);
      const units = Math.floor(micros / divisor);
      const isExact = cuts || micros % divisor === 0;
      if (days < safeDays && days > -safeDays) {
        out.long(days * perDay + units);
        return isExact;
      }
      const value = BigInt(days) * BigInt(perDay) + BigInt(units);
      const isHeld = BigInt.asIntN(64, value) === value;
      out.bigLong(isHeld ? value : INFINITE_MICROS[1]);
      return isHeld && isExact;
    };
  };

/** timestamp without zone in nanoseconds; outside of 1677..2262 the nearest there is stands in. */
export const encodeTimestampNanos: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const infinity = infinitySign(bytes, start, end);
  if (infinity !== 0) {
    out.bigLong(INFINITE_MICROS[infinity]);
    return false;
  }
  const era = eraStart(bytes, start, end);
  const space = dateEnd(bytes, start, era, fail);
  const days = readDays(bytes, start, space, { isBc: era < end, fail });
  const micros = BigInt(days) * BigInt(MICROS_PER_DAY) + BigInt(readMicros(bytes, space + 1, era, fail));
  const nanos = micros * 1000n;
  const isHeld = BigInt.asIntN(64, nanos) === nanos;
  out.bigLong(isHeld ? nanos : INFINITE_MICROS[nanos > 0n ? 1 : -1]);
  return isHeld;
};
