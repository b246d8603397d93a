// Owns the step from a decoded Avro value to the value that the engine takes. Knows no column, no file. Pure.
import type { ConnectType } from '../../change/schema.ts';
import type { AvroValue } from '../../topic/avro-read.ts';
import { parseInstant } from './columns-time.ts';
import type { IcebergType } from './iceberg-type.ts';

/**
 * By Iceberg type: boolean; int, float, double, date (days): number; long, time, timestamp, timestamptz
 * (microseconds) and decimal (unscaled): bigint; string, uuid (lower case): string; binary: bytes; list:
 * array of these.
 */
export type EngineValue = null | boolean | number | bigint | string | Uint8Array | readonly EngineValue[];

/** The value exists and the table's type cannot hold it: NULL, and named in `_incomplete`. */
export const UNHELD: unique symbol = Symbol('unheld');

/** Takes any value but null. Bytes are copied. */
export type Convert = (value: AvroValue) => EngineValue | typeof UNHELD;

/** Instants that the engine and its readers can print: 290309 BC to 294247. */
const MIN_MICROS = -9_223_372_022_400_000_000n;
const MAX_MICROS = 9_223_372_036_854_775_806n;
const DAY_MICROS = 86_400_000_000n;
/** More digits than any source has: a damaged value must not fill the memory. */
const MAX_SCALE = 100_000;

/** Two's complement, big-endian. */
export const bigIntOf = (bytes: Uint8Array): bigint => {
  if (bytes.length === 0) return 0n;
  if (bytes.length <= 6) {
    let value = (bytes[0]! << 24) >> 24;
    for (let at = 1; at < bytes.length; at++) value = value * 256 + bytes[at]!;
    return BigInt(value);
  }
  let hex = '0x';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return BigInt.asIntN(bytes.length * 8, BigInt(hex));
};

/** Plain digits of an unscaled integer; a negative scale appends zeros. */
export const decimalText = (unscaled: bigint, scale: number): string => {
  if (scale <= 0) return (unscaled * 10n ** BigInt(-scale)).toString();
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`;
};

const binaryText = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

const jsonOf = (value: AvroValue, type: ConnectType | undefined): string => {
  if (value === null) return 'null';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? `${value}` : JSON.stringify(`${value}`);
  if (value instanceof Uint8Array) return `"${btoa(binaryText(value))}"`;
  if (Array.isArray(value)) {
    if (type?.type !== 'struct') return `[${value.map((item) => jsonOf(item, type?.items)).join(',')}]`;
    const { fields = [] } = type;
    const text = (item: AvroValue, at: number) =>
      `${JSON.stringify(fields[at]?.field ?? `${at}`)}:${jsonOf(item, fields[at]?.type)}`;
    return `{${value.map(text).join(',')}}`;
  }
  if (typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value as { readonly [field: string]: AvroValue });
  const members = entries.map(([name, item]) => `${JSON.stringify(name)}:${jsonOf(item, type?.items)}`);
  return `{${members.join(',')}}`;
};

const asMicros = (micros: bigint): bigint | typeof UNHELD =>
  micros < MIN_MICROS || micros > MAX_MICROS ? UNHELD : micros;

/** Midnight at the end of the day is a time to SQL, and to no reader. */
const asTime = (micros: bigint): bigint | typeof UNHELD =>
  micros < 0n || micros >= DAY_MICROS ? UNHELD : micros;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export const convertPlain: Convert = (value) => value as EngineValue;
export const convertInteger =
  (target: IcebergType): Convert =>
  (value) =>
    target === 'long' ? BigInt(value as number | bigint) : Number(value);
export const convertBytes: Convert = (value) => (value as Uint8Array).slice();
export const convertJson =
  (type: ConnectType): Convert =>
  (value) =>
    jsonOf(value, type);
/** `unit`: microseconds a unit. */
export const convertInstant =
  (unit: bigint): Convert =>
  (value) =>
    asMicros(BigInt(value as number | bigint) * unit);
export const convertTime =
  (unit: bigint): Convert =>
  (value) =>
    asTime(BigInt(value as number | bigint) * unit);
const whole = (nanos: bigint): boolean => nanos % 1000n === 0n;
export const convertNanoInstant: Convert = (value) =>
  whole(value as bigint) ? asMicros((value as bigint) / 1000n) : UNHELD;
export const convertNanoTime: Convert = (value) =>
  whole(value as bigint) ? asTime((value as bigint) / 1000n) : UNHELD;
export const convertZoned: Convert = (value) => {
  const micros = parseInstant(value as string);
  return micros === null ? UNHELD : asMicros(micros);
};
/** `2024-02-29Z`, as days. */
export const convertIsoDate: Convert = (value) => {
  const micros = parseInstant((value as string).replace(/Z$/, 'T00:00:00Z'));
  return micros === null ? UNHELD : Number(micros / DAY_MICROS);
};
/** `10:15:30.5Z`, as microseconds. */
export const convertIsoTime: Convert = (value) => {
  const micros = parseInstant(`1970-01-01T${value as string}`);
  return micros === null ? UNHELD : asTime(micros);
};
export const convertUuid: Convert = (value) => {
  const text = (value as string).toLowerCase();
  return UUID.test(text) ? text : UNHELD;
};
export const convertDecimal = (scale: number, target: IcebergType): Convert => {
  const precision = /^decimal\(([0-9]+),/.exec(target as string)?.[1];
  if (precision === undefined) return (value) => decimalText(bigIntOf(value as Uint8Array), scale);
  const limit = 10n ** BigInt(precision);
  return (value) => {
    const unscaled = bigIntOf(value as Uint8Array);
    return unscaled < limit && unscaled > -limit ? unscaled : UNHELD;
  };
};
export const convertVariableDecimal: Convert = (value) => {
  const [scale, bytes] = value as readonly AvroValue[] as readonly [number, Uint8Array];
  if (Math.abs(scale) > MAX_SCALE) return UNHELD;
  return decimalText(bigIntOf(bytes), scale);
};
export const convertItems =
  (item: Convert): Convert =>
  (value) => {
    const items: EngineValue[] = [];
    for (const one of value as readonly AvroValue[]) {
      const converted = one === null ? null : item(one);
      if (converted === UNHELD) return UNHELD;
      items.push(converted);
    }
    return items;
  };

/** A value of which only the source's text is exact: kept where the table's type can hold the text. */
export const convertText = (target: IcebergType, text: string): EngineValue | typeof UNHELD => {
  if (target === 'string') return text;
  if (target !== 'float' && target !== 'double') return UNHELD;
  const value = Number(text);
  return text.trim() === '' || (Number.isNaN(value) && text !== 'NaN') ? UNHELD : value;
};
