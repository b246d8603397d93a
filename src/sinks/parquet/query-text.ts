// Owns reading what people write on a command line into values of a column's type: keys, times. Exact: what
// would be rounded or guessed is refused. Pure; knows no table.
import { VarveError } from '../../errors.ts';
import { parseInstant } from './columns-time.ts';
import type { EngineValue } from './columns-value.ts';
import type { IcebergField, IcebergPrimitive } from './iceberg-type.ts';

type Value = Exclude<EngineValue, null>;

const DAY_US = 86_400_000_000n;
const MINUTE_US = 60_000_000n;

const ZONED =
  /^([+-]?\d{4,6}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?)? ?(Z|[+-]\d{2}(?::?\d{2})?)?$/i;

const isDate = (text: string): boolean => {
  const day = Number(text.slice(-2));
  const month = Number(text.slice(-5, -3));
  const year = Number(text.slice(0, -6));
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return days !== undefined && day >= 1 && day <= days;
};

const offsetMinutes = (zone: string): number | null => {
  if (/^z$/i.test(zone)) return 0;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(3).replace(':', ''))];
  if (hours > 18 || minutes > 59) return null;
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
};

/**
 * Microseconds since 1970-01-01 UTC of `2026-01-31`, `2026-01-31 12:00`, `2026-01-31T12:00:00.123456+02:00`;
 * without a zone UTC. Null for anything else, and for what is finer than a microsecond.
 */
export const readInstant = (text: string): bigint | null => {
  const [, date = '', clock = '00:00', seconds = ':00', zone = 'Z'] = ZONED.exec(text.trim()) ?? [];
  if (date === '' || !isDate(date) || Number(clock.slice(0, 2)) > 23 || Number(clock.slice(3)) > 59)
    return null;
  const minutes = offsetMinutes(zone);
  if (minutes === null || Number(seconds.slice(1, 3)) > 59) return null;
  const local = parseInstant(`${date}T${clock}${seconds}Z`);
  return local === null ? null : local - BigInt(minutes) * MINUTE_US;
};

const integer = (text: string, bits: 32 | 64): bigint | null => {
  const digits = /^([+-]?\d{1,20})(?:\.0*)?$/.exec(text)?.[1];
  if (digits === undefined) return null;
  const value = BigInt(digits.replace(/^\+/, ''));
  return BigInt.asIntN(bits, value) === value ? value : null;
};

const decimal = (text: string, precision: number, scale: number): bigint | null => {
  const [, sign = '', whole = '', fraction = ''] = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text) ?? [];
  const digits = fraction.replace(/0+$/, '');
  if (whole + fraction === '' || digits.length > scale) return null;
  const value = BigInt(whole + digits.padEnd(scale, '0') || '0');
  if (value >= 10n ** BigInt(precision)) return null;
  return sign === '-' ? -value : value;
};

const floating = (text: string, bits: 32 | 64): number | null => {
  const spelled = text.replace(/^([+-]?)inf(?:inity)?$/i, '$1Infinity').replace(/^nan$/i, 'NaN');
  const value = Number(spelled);
  if (text === '' || (Number.isNaN(value) && spelled !== 'NaN') || /^[+-]?0[xob]/i.test(text)) return null;
  return bits === 32 ? Math.fround(value) : value;
};

const time = (text: string): bigint | null => {
  if (!/^\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?$/.test(text)) return null;
  return readInstant(`1970-01-01T${text}`);
};

const hex = (text: string): Uint8Array | null => {
  const digits = /^(?:\\x|0x)?((?:[0-9a-f]{2})*)$/i.exec(text)?.[1];
  return digits === undefined ? null : new Uint8Array(Buffer.from(digits, 'hex'));
};

const uuid = (text: string): string | null => {
  const digits = text
    .replace(/^\{(.*)\}$/, '$1')
    .replaceAll('-', '')
    .toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) return null;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

const TRUTH: Readonly<Record<string, boolean>> = { true: true, t: true, false: false, f: false };

/** Null for a text that no value of the type is written as. */
const readText = (text: string, type: IcebergPrimitive): Value | null => {
  switch (type) {
    case 'string':
      return text;
    case 'boolean':
      return TRUTH[text.toLowerCase()] ?? null;
    case 'int': {
      const value = integer(text, 32);
      return value === null ? null : Number(value);
    }
    case 'long':
      return integer(text, 64);
    case 'float':
      return floating(text, 32);
    case 'double':
      return floating(text, 64);
    case 'date': {
      const micros = /^[+-]?\d{4,6}-\d{2}-\d{2}$/.test(text) ? readInstant(text) : null;
      return micros === null ? null : Number(micros / DAY_US);
    }
    case 'time':
      return time(text);
    case 'timestamp':
      return /(Z|[+-]\d{2}(:?\d{2})?)$/i.test(text.slice(10)) ? null : readInstant(text);
    case 'timestamptz':
      return readInstant(text);
    case 'uuid':
      return uuid(text);
    case 'binary':
      return hex(text);
    default: {
      const [, precision, scale] = /^decimal\((\d+), ?(\d+)\)$/.exec(type) ?? [];
      return decimal(text, Number(precision), Number(scale));
    }
  }
};

/** How a value of the type is written, where that is not plain. */
const EXAMPLES: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  date: 'as 2026-01-31',
  time: 'as 12:00:00.5',
  timestamp: 'as 2026-01-31T12:00:00, without a zone',
  timestamptz: 'as 2026-01-31T12:00:00Z; without a zone it is UTC',
  uuid: 'as 00000000-0000-0000-0000-000000000000',
  binary: 'as \\x00ff',
};

const keyText = (key: readonly IcebergField[]): string =>
  key.map(({ name, type }) => `${name} (${typeof type === 'string' ? type : 'list'})`).join(', ');

/**
 * The values of a key as its columns' types have them. Throws `usage`, with the key's columns and their
 * types, for a wrong count or a text that no value is written as.
 */
export const readKeyValues = (texts: readonly string[], key: readonly IcebergField[]): Value[] => {
  if (key.length === 0)
    throw new VarveError('usage', 'A table without a key is a list of events: no row in it has a life.');
  if (texts.length !== key.length)
    throw new VarveError(
      'usage',
      `The table's key has these columns, to be given in this order: ${keyText(key)}. ` +
        `${texts.length} ${texts.length === 1 ? 'value was' : 'values were'} given.`,
    );
  return key.map(({ name, type }, at) => {
    const text = texts[at] ?? '';
    const value = typeof type === 'string' ? readText(text, type) : null;
    if (value !== null) return value;
    const how = EXAMPLES[typeof type === 'string' ? type : 'list'];
    throw new VarveError(
      'usage',
      `The key column ${name} is of type ${typeof type === 'string' ? type : 'list'}: ` +
        `${JSON.stringify(text)} is none${how === undefined ? '' : `; it is written ${how}`}. ` +
        `The whole key: ${keyText(key)}.`,
    );
  });
};
