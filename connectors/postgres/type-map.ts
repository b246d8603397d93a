// Owns which Connect type and encoder a PostgreSQL type has, in the forms that the user chose. Pure: types
// are described to it, by name. Knows no table.
import type { Formats } from '../../src/topic/format.ts';
import { encodeArray, encodeVector } from './encode-array.ts';
import * as geometry from './encode-geometry.ts';
import {
  encodeBigInteger,
  encodeBoolean,
  encodeDouble,
  encodeFloat,
  encodeInteger,
} from './encode-number.ts';
import { encodeBit, encodeBits, encodeText } from './encode-text.ts';
import { encodeTimestampTz, encodeTimeTz } from './encode-zoned.ts';
import {
  chooseModes,
  digitsOf,
  fixed,
  type MapByTypmod,
  type MappedType,
  mapped,
  type TypeModes,
} from './type-modes.ts';
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

const PLAIN_TEXT = mapped({ type: 'string' }, encodeText);
const plainText: MapByTypmod = () => PLAIN_TEXT;

/** A length that the column does not limit, as JDBC says it. */
const UNLIMITED = 2_147_483_647;

const mapBits =
  (isFixed: boolean): MapByTypmod =>
  (typmod) => {
    if (typmod === 1) return mapped({ type: 'boolean' }, encodeBit);
    return mapped(shapes.bitsType(typmod < 0 ? UNLIMITED : typmod), encodeBits(isFixed && typmod > 0));
  };

const JSON_TEXT = shapes.dataType('string', 'Json');

/** What Debezium publishes as the source's own text. */
const PLAIN_NAMES = [
  ...['text', 'varchar', 'bpchar', 'char', 'name', 'inet', 'cidr', 'macaddr', 'macaddr8'],
  ...['int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange'],
];

/** Types of pg_catalog by name that have one form. */
const BUILT_IN: Readonly<Record<string, MapByTypmod>> = {
  bool: fixed({ type: 'boolean' }, encodeBoolean),
  int2: fixed({ type: 'int16' }, encodeInteger(-0x8000, 0x7fff)),
  int4: fixed({ type: 'int32' }, encodeInteger(-0x8000_0000, 0x7fff_ffff)),
  int8: fixed({ type: 'int64' }, encodeBigInteger),
  oid: fixed({ type: 'int64' }, encodeInteger(0, 0xffff_ffff)),
  float4: fixed({ type: 'float32' }, encodeFloat),
  float8: fixed({ type: 'float64' }, encodeDouble),
  bit: mapBits(true),
  varbit: mapBits(false),
  timetz: fixed(shapes.timeType('string', 'ZonedTime'), encodeTimeTz),
  timestamptz: (typmod) =>
    mapped(shapes.timeType('string', 'ZonedTimestamp'), encodeTimestampTz(digitsOf(typmod))),
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
  ...Object.fromEntries(PLAIN_NAMES.map((name) => [name, plainText])),
};

const byMode = (modes: TypeModes): Readonly<Record<string, MapByTypmod>> => ({
  numeric: modes.numeric,
  money: modes.money,
  bytea: modes.bytea,
  date: modes.date,
  time: modes.time,
  timestamp: modes.timestamp,
  interval: modes.interval,
});

/** Base types of extensions by name, in whatever namespace they were installed. */
const EXTENSION: Readonly<Record<string, MapByTypmod>> = {
  ltree: fixed(shapes.dataType('string', 'Ltree'), encodeText),
  geometry: fixed(shapes.GEOMETRY, geometry.encodeEwkb(true)),
  geography: fixed(shapes.GEOGRAPHY, geometry.encodeEwkb(false)),
  vector: fixed(shapes.vectorType('DoubleVector', 'float64'), encodeVector('double')),
  halfvec: fixed(shapes.vectorType('FloatVector', 'float32'), encodeVector('float')),
  ...Object.fromEntries(
    ['citext', 'sparsevec', 'isbn', 'isbn13', 'issn', 'issn13', 'ismn', 'ismn13', 'ean13', 'upc'].map(
      (name) => [name, plainText],
    ),
  ),
};

/**
 * The Connect type and the encoder of a column of this type; null: it is left out. `types` describes the type
 * and all that it is made of. `isKey`: it may not be left out.
 */
export type TypeMap = (
  oid: number,
  typmod: number,
  { types, isKey }: { types: Types; isKey?: boolean },
) => MappedType | null;

/** Chosen once; what Debezium does not know becomes what `unknownTypes` says. */
export const compileTypeMap = (formats: Formats): TypeMap => {
  const modes = chooseModes(formats);
  const builtIn: Readonly<Record<string, MapByTypmod>> = { ...BUILT_IN, ...byMode(modes) };
  const extension: Readonly<Record<string, MapByTypmod>> = { ...EXTENSION, hstore: modes.hstore };

  /** Null: Debezium does not know it. */
  const find = (oid: number, typmod: number, types: Types): MappedType | null => {
    const type = types.get(oid);
    if (type === undefined) return null;
    if (type.kind === 'd') return find(type.base, type.baseTypmod, types);
    if (type.kind === 'e') return mapped(shapes.enumType(type.labels), encodeText);
    if (type.element !== 0) return mapArray(type, find(type.element, typmod, types) ?? otherItem);
    if (type.kind !== 'b' && type.kind !== 'r') return null;
    const table = type.namespace === 'pg_catalog' ? builtIn : extension;
    return Object.hasOwn(table, type.name) ? (table[type.name] as MapByTypmod)(typmod) : null;
  };

  const { unknownTypes } = formats;
  const other = unknownTypes === 'omit' ? null : unknownTypes === 'text' ? PLAIN_TEXT : modes.unknown;
  /** Arrays of what is unknown are unknown as a whole, but for their text. */
  const otherItem = unknownTypes === 'text' ? PLAIN_TEXT : null;
  // A type that is gone by now may have been a known one.
  return (oid, typmod, { types, isKey = false }) =>
    find(oid, typmod, types) ?? (isKey || !types.has(oid) ? (other ?? PLAIN_TEXT) : other);
};

const mapArray = (type: SourceType, item: MappedType | null): MappedType | null => {
  if (item === null) return null;
  const delimiter = type.delimiter.charCodeAt(0);
  return {
    connect: { type: 'array', items: { ...item.connect, optional: true } },
    makeEncoder: (fail) => encodeArray({ item: item.makeEncoder(fail), delimiter }, fail),
  };
};
