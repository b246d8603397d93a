// Owns which Connect type and which encoder a PostgreSQL type has: Debezium's defaults, and plain text where
// Debezium leaves a column out. Pure: types are described to it, by name. Knows no table.
import type { ConnectType } from '../../src/change/schema.ts';
import type { EncodeValue } from '../../src/topic/prepared-table.ts';
import { encodeArray, encodeHstore, encodeVector } from './encode-array.ts';
import { encodeDecimal, encodeMoney, encodeVariableDecimal } from './encode-decimal.ts';
import * as geometry from './encode-geometry.ts';
import {
  encodeBigInteger,
  encodeBoolean,
  encodeDouble,
  encodeFloat,
  encodeInteger,
} from './encode-number.ts';
import type { Fail, MakeEncoder } from './encode-scan.ts';
import { encodeBit, encodeBits, encodeBytea, encodeText } from './encode-text.ts';
import { encodeDate, encodeTime, encodeTimestamp } from './encode-time.ts';
import { encodeInterval, encodeTimestampTz, encodeTimeTz } from './encode-zoned.ts';
import * as shapes from './type-shapes.ts';

/**
 * One row of pg_type, with what hangs on it. Built-in types have fixed oids, all others are known by name
 * only.
 */
export type SourceType = {
  oid: number;
  namespace: string;
  name: string;
  /** typtype: b base, c composite, d domain, e enum, m multirange, p pseudo, r range. */
  kind: string;
  /** Arrays: oid of the item type, else 0. */
  element: number;
  /** Arrays: what stands between two items. */
  delimiter: string;
  /** Domains: the type below and its modifier. */
  base: number;
  baseTypmod: number;
  /** Enums: labels in sort order. */
  labels: readonly string[];
};

export type Types = ReadonlyMap<number, SourceType>;

export type MappedType = { connect: ConnectType; makeEncoder: (fail: Fail) => EncodeValue };

type MapByTypmod = (typmod: number) => MappedType;

const mapped = (connect: ConnectType, makeEncoder: MakeEncoder): MappedType => ({ connect, makeEncoder });
const fixed = (connect: ConnectType, makeEncoder: MakeEncoder): MapByTypmod => {
  const type = mapped(connect, makeEncoder);
  return () => type;
};

/** What has no row in the tables below: the source's own text. */
const PLAIN_TEXT = mapped({ type: 'string' }, encodeText);

/**
 * numeric: precision in the upper half of typmod - 4, scale in the lowest eleven bits, signed. Avro wants a
 * scale from 0 to precision, so a negative scale is spelt out in digits, and a scale beyond the precision
 * widens it.
 */
const mapNumeric: MapByTypmod = (typmod) => {
  if (typmod < 0) return mapped(shapes.VARIABLE_DECIMAL, encodeVariableDecimal);
  const precision = (typmod - 4) >> 16;
  const scale = (((typmod - 4) & 0x7ff) ^ 0x400) - 0x400;
  if (scale < 0) return mapped(shapes.decimalType(0, precision - scale), encodeDecimal(0));
  return mapped(shapes.decimalType(scale, Math.max(precision, scale)), encodeDecimal(scale));
};

/** A length that the column does not limit, as JDBC says it. */
const UNLIMITED = 2_147_483_647;

const mapBits =
  (isFixed: boolean): MapByTypmod =>
  (typmod) => {
    if (typmod === 1) return mapped({ type: 'boolean' }, encodeBit);
    return mapped(shapes.bitsType(typmod < 0 ? UNLIMITED : typmod), encodeBits(isFixed && typmod > 0));
  };

/** Digits of a second that the column holds. */
const digitsOf = (typmod: number): number => (typmod < 0 ? 6 : typmod);

const mapTime: MapByTypmod = (typmod) =>
  digitsOf(typmod) > 3
    ? mapped(shapes.timeType('int64', 'MicroTime'), encodeTime('micros'))
    : mapped(shapes.timeType('int32', 'Time'), encodeTime('millis'));

const mapTimestamp: MapByTypmod = (typmod) =>
  digitsOf(typmod) > 3
    ? mapped(shapes.timeType('int64', 'MicroTimestamp'), encodeTimestamp('micros'))
    : mapped(shapes.timeType('int64', 'Timestamp'), encodeTimestamp('millis'));

const JSON_TEXT = shapes.dataType('string', 'Json');

/** Types of pg_catalog by name. */
const BUILT_IN: Readonly<Record<string, MapByTypmod>> = {
  bool: fixed({ type: 'boolean' }, encodeBoolean),
  int2: fixed({ type: 'int16' }, encodeInteger(-0x8000, 0x7fff)),
  int4: fixed({ type: 'int32' }, encodeInteger(-0x8000_0000, 0x7fff_ffff)),
  int8: fixed({ type: 'int64' }, encodeBigInteger),
  oid: fixed({ type: 'int64' }, encodeInteger(0, 0xffff_ffff)),
  float4: fixed({ type: 'float32' }, encodeFloat),
  float8: fixed({ type: 'float64' }, encodeDouble),
  numeric: mapNumeric,
  money: fixed(shapes.decimalType(2, null), encodeMoney),
  bytea: fixed({ type: 'bytes' }, encodeBytea),
  bit: mapBits(true),
  varbit: mapBits(false),
  date: fixed(shapes.timeType('int32', 'Date'), encodeDate),
  time: mapTime,
  timetz: fixed(shapes.timeType('string', 'ZonedTime'), encodeTimeTz),
  timestamp: mapTimestamp,
  timestamptz: (typmod) =>
    mapped(shapes.timeType('string', 'ZonedTimestamp'), encodeTimestampTz(digitsOf(typmod))),
  interval: fixed(shapes.timeType('int64', 'MicroDuration'), encodeInterval),
  json: fixed(JSON_TEXT, encodeText),
  jsonb: fixed(JSON_TEXT, encodeText),
  uuid: fixed(shapes.dataType('string', 'Uuid'), encodeText),
  xml: fixed(shapes.dataType('string', 'Xml'), encodeText),
  tsvector: fixed(shapes.dataType('string', 'Tsvector'), encodeText),
  point: fixed(shapes.POINT, geometry.encodePoint),
  line: fixed(shapes.LINE, geometry.encodeLine),
  lseg: fixed(shapes.GEOMETRY, geometry.encodeSegment),
  box: fixed(shapes.GEOMETRY, geometry.encodeBox),
  path: fixed(shapes.GEOMETRY, geometry.encodePath),
  polygon: fixed(shapes.GEOMETRY, geometry.encodePolygon),
  circle: fixed(shapes.CIRCLE, geometry.encodeCircle),
};

/** Base types of extensions by name, in whatever namespace they were installed. */
const EXTENSION: Readonly<Record<string, MapByTypmod>> = {
  hstore: fixed(JSON_TEXT, encodeHstore),
  ltree: fixed(shapes.dataType('string', 'Ltree'), encodeText),
  geometry: fixed(shapes.GEOMETRY, geometry.encodeEwkb(true)),
  geography: fixed(shapes.GEOGRAPHY, geometry.encodeEwkb(false)),
  vector: fixed(shapes.vectorType('DoubleVector', 'float64'), encodeVector('double')),
  halfvec: fixed(shapes.vectorType('FloatVector', 'float32'), encodeVector('float')),
};

const mapArray = (type: SourceType, typmod: number, types: Types): MappedType => {
  const item = mapType(type.element, typmod, types);
  const delimiter = type.delimiter.charCodeAt(0);
  return {
    connect: { type: 'array', items: { ...item.connect, optional: true } },
    makeEncoder: (fail) => encodeArray({ item: item.makeEncoder(fail), delimiter }, fail),
  };
};

/**
 * The Connect type and the encoder of a column of this type. `types` describes the type and all that it is
 * made of; a type that it does not know, and every type that Debezium leaves out, is carried as the source's
 * text.
 */
export const mapType = (oid: number, typmod: number, types: Types): MappedType => {
  const type = types.get(oid);
  if (type === undefined) return PLAIN_TEXT;
  if (type.kind === 'd') return mapType(type.base, type.baseTypmod, types);
  if (type.kind === 'e') return mapped(shapes.enumType(type.labels), encodeText);
  if (type.element !== 0) return mapArray(type, typmod, types);
  if (type.kind !== 'b') return PLAIN_TEXT;
  const table = type.namespace === 'pg_catalog' ? BUILT_IN : EXTENSION;
  return Object.hasOwn(table, type.name) ? (table[type.name] as MapByTypmod)(typmod) : PLAIN_TEXT;
};
