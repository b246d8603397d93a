// Owns which Connect type and which encoder a type has whose form the user chooses: decimals, bytes, times,
// intervals, key-value pairs. Pure. Knows no table and no name of a type in the catalog.
import type { ConnectType } from '../../src/change/schema.ts';
import type { Formats } from '../../src/topic/format.ts';
import type { EncodeValue } from '../../src/topic/prepared-table.ts';
import { encodeHstore, encodeHstoreMap } from './encode-array.ts';
import * as decimal from './encode-decimal.ts';
import * as iso from './encode-iso.ts';
import type { Fail, MakeEncoder } from './encode-scan.ts';
import * as text from './encode-text.ts';
import { encodeDate, encodeTime, encodeTimestamp, encodeTimestampNanos } from './encode-time.ts';
import { encodeInterval } from './encode-zoned.ts';
import * as shapes from './type-shapes.ts';

export type MappedType = { connect: ConnectType; makeEncoder: (fail: Fail) => EncodeValue };

export type MapByTypmod = (typmod: number) => MappedType;

export const mapped = (connect: ConnectType, makeEncoder: MakeEncoder): MappedType => ({
  connect,
  makeEncoder,
});

export const fixed = (connect: ConnectType, makeEncoder: MakeEncoder): MapByTypmod => {
  const type = mapped(connect, makeEncoder);
  return () => type;
};

/**
 * numeric: precision in the upper half of typmod - 4, scale in the lowest eleven bits, signed.
 */
const readNumeric = (typmod: number): { precision: number; scale: number } => ({
  precision: (typmod - 4) >> 16,
  scale: (((typmod - 4) & 0x7ff) ^ 0x400) - 0x400,
});

/**
 * Avro wants a scale from 0 to precision, so a negative scale is spelt out in digits, and a scale beyond the
 * precision widens it.
 */
const mapPrecise: MapByTypmod = (typmod) => {
  if (typmod < 0) return mapped(shapes.VARIABLE_DECIMAL, decimal.encodeVariableDecimal);
  const { precision, scale } = readNumeric(typmod);
  if (scale < 0) return mapped(shapes.decimalType(0, precision - scale), decimal.encodeDecimal(0));
  return mapped(shapes.decimalType(scale, Math.max(precision, scale)), decimal.encodeDecimal(scale));
};

const mapDigits: MapByTypmod = (typmod) =>
  mapped(
    { type: 'string' },
    decimal.encodeDecimalText(typmod < 0 ? 0 : Math.max(readNumeric(typmod).scale, 0)),
  );

type Modes<Mode extends string, Forms> = Readonly<Record<Mode, Forms>>;

const DECIMALS: Modes<Formats['decimal'], { numeric: MapByTypmod; money: MapByTypmod }> = {
  precise: { numeric: mapPrecise, money: fixed(shapes.decimalType(2, null), decimal.encodeMoney) },
  string: { numeric: mapDigits, money: fixed({ type: 'string' }, decimal.encodeMoneyText) },
  double: {
    numeric: fixed({ type: 'float64' }, decimal.encodeDecimalDouble),
    money: fixed({ type: 'float64' }, decimal.encodeMoneyDouble),
  },
};

/** `unknown`: the bytes of the source's text, for types that are published as no more than that. */
const BINARY: Modes<Formats['binary'], { bytea: MapByTypmod; unknown: MappedType }> = {
  bytes: {
    bytea: fixed({ type: 'bytes' }, text.encodeBytea),
    unknown: mapped({ type: 'bytes' }, text.encodeText),
  },
  base64: {
    bytea: fixed({ type: 'string' }, text.encodeByteaBase64),
    unknown: mapped({ type: 'string' }, text.encodeTextBase64),
  },
  hex: {
    bytea: fixed({ type: 'string' }, text.encodeByteaHex),
    unknown: mapped({ type: 'string' }, text.encodeTextHex),
  },
};

/** Digits of a second that the column holds. */
export const digitsOf = (typmod: number): number => (typmod < 0 ? 6 : typmod);

const byDigits =
  (few: MappedType, many: MappedType): MapByTypmod =>
  (typmod) =>
    digitsOf(typmod) > 3 ? many : few;

const { timeType, connectType } = shapes;
const DATE = mapped(timeType('int32', 'Date'), encodeDate);
const TIME = mapped(timeType('int32', 'Time'), encodeTime('millis'));
const MICRO_TIME = mapped(timeType('int64', 'MicroTime'), encodeTime('micros'));
const TIMESTAMP = mapped(timeType('int64', 'Timestamp'), encodeTimestamp('millis'));
const MICRO_TIMESTAMP = mapped(timeType('int64', 'MicroTimestamp'), encodeTimestamp('micros'));

type TimeForms = { date: MapByTypmod; time: MapByTypmod; timestamp: MapByTypmod };

const TIMES: Modes<Formats['time'], TimeForms> = {
  adaptive: {
    date: () => DATE,
    time: byDigits(TIME, MICRO_TIME),
    timestamp: byDigits(TIMESTAMP, MICRO_TIMESTAMP),
  },
  adaptive_time_microseconds: {
    date: () => DATE,
    time: () => MICRO_TIME,
    timestamp: byDigits(TIMESTAMP, MICRO_TIMESTAMP),
  },
  microseconds: { date: () => DATE, time: () => MICRO_TIME, timestamp: () => MICRO_TIMESTAMP },
  nanoseconds: {
    date: () => DATE,
    time: fixed(timeType('int64', 'NanoTime'), encodeTime('nanos')),
    timestamp: fixed(timeType('int64', 'NanoTimestamp'), encodeTimestampNanos),
  },
  connect: {
    date: fixed(connectType('int32', 'Date'), encodeDate),
    time: fixed(connectType('int32', 'Time'), encodeTime('millis', true)),
    timestamp: fixed(connectType('int64', 'Timestamp'), encodeTimestamp('millis', true)),
  },
  isostring: {
    date: fixed(timeType('string', 'IsoDate'), iso.encodeIsoDate),
    time: fixed(timeType('string', 'IsoTime'), iso.encodeIsoTime),
    timestamp: fixed(timeType('string', 'IsoTimestamp'), iso.encodeIsoTimestamp),
  },
};

const INTERVALS: Modes<Formats['interval'], MapByTypmod> = {
  numeric: fixed(timeType('int64', 'MicroDuration'), encodeInterval),
  string: fixed(timeType('string', 'Interval'), iso.encodeIsoInterval),
};

const HSTORE: Modes<Formats['hstore'], MapByTypmod> = {
  json: fixed(shapes.dataType('string', 'Json'), encodeHstore),
  map: fixed({ type: 'map', items: { type: 'string', optional: true } }, encodeHstoreMap),
};

/** The forms that were chosen. */
export type TypeModes = ReturnType<typeof chooseModes>;

export const chooseModes = ({ decimal: decimals, binary, time, interval, hstore }: Formats) => ({
  ...DECIMALS[decimals],
  ...BINARY[binary],
  ...TIMES[time],
  interval: INTERVALS[interval],
  hstore: HSTORE[hstore],
});
