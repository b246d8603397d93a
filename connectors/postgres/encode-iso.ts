// Owns dates, times, timestamps and intervals as ISO 8601 text, in the forms that Debezium gives them. Knows
// no column. DateStyle=ISO, IntervalStyle=iso_8601 and TimeZone=UTC are pinned by the connection.
import { type Fail, infinitySign, type MakeEncoder, readText } from './encode-scan.ts';
import { dateEnd, eraStart, readDays, readMicros } from './encode-time.ts';

/** Year as ISO 8601 has it: 1 BC is 0000, 44 BC is -0043, beyond 9999 with a plus. */
export const isoYear = (year: string, isBc: boolean): string => {
  if (isBc) return Number(year) === 1 ? '0000' : `-${String(Number(year) - 1).padStart(4, '0')}`;
  return year.length > 4 ? `+${year}` : year;
};

type DateRange = { start: number; end: number; isBc: boolean };

/** `YYYY-MM-DD` with the year as ISO has it. */
const dateText = (bytes: Uint8Array, { start, end, isBc }: DateRange, fail: Fail): string => {
  readDays(bytes, start, end, { isBc, fail });
  return isoYear(readText(bytes, start, end - 6), isBc) + readText(bytes, end - 6, end);
};

/** `10:34:56.1`: without zeros at the fraction's end. */
const clockText = (bytes: Uint8Array, start: number, end: number, fail: Fail): string => {
  readMicros(bytes, start, end, fail);
  const text = readText(bytes, start, end);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
};

/** Infinities stay the words they are. */
export const encodeIsoDate: MakeEncoder = (fail) => (bytes, start, end, out) => {
  if (infinitySign(bytes, start, end) !== 0) {
    out.prefixed(bytes, start, end);
    return true;
  }
  const era = eraStart(bytes, start, end);
  out.text(`${dateText(bytes, { start, end: era, isBc: era < end }, fail)}Z`);
  return true;
};

/** ISO knows no end of the day: 24:00:00 is not held, and the day's begin stands in. */
export const encodeIsoTime: MakeEncoder = (fail) => (bytes, start, end, out) => {
  const clock = clockText(bytes, start, end, fail);
  const isHeld = !clock.startsWith('24');
  out.text(isHeld ? `${clock}Z` : '00:00:00Z');
  return isHeld;
};

export const encodeIsoTimestamp: MakeEncoder = (fail) => (bytes, start, end, out) => {
  if (infinitySign(bytes, start, end) !== 0) {
    out.prefixed(bytes, start, end);
    return true;
  }
  const era = eraStart(bytes, start, end);
  const space = dateEnd(bytes, start, era, fail);
  const date = dateText(bytes, { start, end: space, isBc: era < end }, fail);
  out.text(`${date}T${clockText(bytes, space + 1, era, fail)}Z`);
  return true;
};

const ISO_INTERVAL =
  /^P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d{1,6})?)S)?)?$/;

const NO_INTERVAL = 'P0Y0M0DT0H0M0S';

/** `P1Y2M3DT4H5M6.789S`: every part, zeros too. An infinite one is not held. */
export const encodeIsoInterval: MakeEncoder = (fail) => (bytes, start, end, out) => {
  if (infinitySign(bytes, start, end) !== 0) {
    out.text(NO_INTERVAL);
    return false;
  }
  const found = ISO_INTERVAL.exec(readText(bytes, start, end)) ?? fail();
  const [years, months, days, hours, minutes, seconds] = found.slice(1).map((part) => part ?? '0');
  const second = (seconds as string).includes('.') ? (seconds as string).replace(/\.?0+$/, '') : seconds;
  out.text(`P${years}Y${months}M${days}DT${hours}H${minutes}M${second}S`);
  return true;
};
