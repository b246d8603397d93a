// Owns reading of ISO 8601 instants as change events print them, to microseconds. Pure; knows no column.

const DAY_US = 86_400_000_000n;

/** Days since 1970-01-01 of a proleptic Gregorian date; year 0 is 1 BC. */
const daysFromCivil = (year: number, month: number, day: number): number => {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
};

const ZERO = 0x30;

/** Two digits at `at`; NaN when there are none. */
const pair = (text: string, at: number): number => {
  const high = text.charCodeAt(at) - ZERO;
  const low = text.charCodeAt(at + 1) - ZERO;
  return high >= 0 && high <= 9 && low >= 0 && low <= 9 ? high * 10 + low : Number.NaN;
};

/**
 * Micros of `.123456Z` from the point on; null when anything but `Z` ends it, or digits beyond micros are
 * not 0.
 */
const fraction = (text: string, start: number): number | null => {
  if (text.length === start + 1 && text[start] === 'Z') return 0;
  if (text[start] !== '.' || !text.endsWith('Z')) return null;
  const digits = text.length - start - 2;
  if (digits < 1) return null;
  let micros = 0;
  for (let at = 0; at < Math.max(digits, 6); at++) {
    const digit = at < digits ? text.charCodeAt(start + 1 + at) - ZERO : 0;
    if (!(digit >= 0 && digit <= 9)) return null;
    if (at < 6) micros = micros * 10 + digit;
    else if (digit !== 0) return null;
  }
  return micros;
};

/**
 * Microseconds since 1970-01-01 of `2024-02-29T12:34:56.789Z`; years as ISO prints them: `-0043` is 44 BC,
 * `+10000`. Null for whatever is no such text (`infinity`), or is finer than a microsecond.
 */
export const parseInstant = (text: string): bigint | null => {
  let at = 4;
  if (text[4] !== '-' || text[0] === '-') at = text.indexOf('-', 1);
  if (at < 4) return null;
  const year = at === 4 ? pair(text, 0) * 100 + pair(text, 2) : Number(text.slice(0, at));
  const month = pair(text, at + 1);
  const day = pair(text, at + 4);
  const seconds = (pair(text, at + 7) * 60 + pair(text, at + 10)) * 60 + pair(text, at + 13);
  const micros = fraction(text, at + 15);
  const isShaped =
    text[at + 3] === '-' && text[at + 6] === 'T' && text[at + 9] === ':' && text[at + 12] === ':';
  const isDate = month >= 1 && month <= 12 && day >= 1 && day <= 31;
  if (!isShaped || !isDate || micros === null || !Number.isInteger(year) || !(seconds < 86_401)) return null;
  const days = daysFromCivil(year, month, day);
  const rest = seconds * 1e6 + micros;
  // Beyond the year 2255 a double would round.
  return Math.abs(days) < 104_000 ? BigInt(days * 86_400e6 + rest) : BigInt(days) * DAY_US + BigInt(rest);
};
