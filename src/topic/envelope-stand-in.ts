// Owns what is written where the source sent no value: Debezium's placeholder, the schema's default, the
// type's zero. Knows no row.
import type { Column, ConnectDefault, ConnectType } from '../change/schema.ts';
import { DECIMAL, defaultText } from './avro-schema.ts';
import { ByteWriter } from './byte-writer.ts';

const PLACEHOLDER = '__debezium_unavailable_value';

/** Zeros of string types that a consumer parses. */
const ZERO_TEXT: Readonly<Record<string, string>> = {
  'io.debezium.time.ZonedTimestamp': '1970-01-01T00:00:00Z',
  'io.debezium.time.ZonedTime': '00:00:00Z',
  'io.debezium.time.IsoDate': '1970-01-01Z',
  'io.debezium.time.IsoTime': '00:00:00Z',
  'io.debezium.time.IsoTimestamp': '1970-01-01T00:00:00Z',
  'io.debezium.time.Interval': 'P0Y0M0DT0H0M0S',
  'io.debezium.data.Uuid': '00000000-0000-0000-0000-000000000000',
  'io.debezium.data.Json': '{}',
};

const VARIABLE_DECIMAL = 'io.debezium.data.VariableScaleDecimal';

/** Two's complement of zero: Java's BigInteger refuses an empty array. */
const ZERO_DECIMAL = Uint8Array.of(0);

/**
 * `null` comes first in a union, unless the other type has a default: a default belongs to the first branch.
 */
const isNullFirst = (column: Column): boolean => defaultText(column.type, column.default) === null;

export const NO_BRANCH = 0xff;

/** The union's branch byte before a value, NO_BRANCH for a required column. */
export const valueBranch = (column: Column): number =>
  column.optional ? (isNullFirst(column) ? 2 : 0) : NO_BRANCH;

/** The union's branch byte of null; meaningless for a required column. */
export const nullBranch = (column: Column): number => (isNullFirst(column) ? 0 : 2);

const writeZero = (out: ByteWriter, type: ConnectType): void => {
  if (type.name === DECIMAL) {
    out.prefixed(ZERO_DECIMAL);
    return;
  }
  switch (type.type) {
    case 'float32':
      out.float(0);
      return;
    case 'float64':
      out.double(0);
      return;
    case 'string':
      out.text(ZERO_TEXT[type.name ?? ''] ?? '');
      return;
    case 'struct':
      for (const field of type.fields ?? []) {
        if (field.optional) out.byte(defaultText(field.type, field.default) === null ? 0 : 2);
        else if (type.name === VARIABLE_DECIMAL && field.type.type === 'bytes') out.prefixed(ZERO_DECIMAL);
        else writeZero(out, field.type);
      }
      return;
    default:
      // False, 0, and the empty bytes, array and map are all one zero byte.
      out.byte(0);
  }
};

const writeDefault = (out: ByteWriter, type: ConnectType, value: ConnectDefault): void => {
  switch (type.type) {
    case 'boolean':
      out.byte(value === true ? 1 : 0);
      return;
    case 'float32':
      out.float(Number(value));
      return;
    case 'float64':
      out.double(Number(value));
      return;
    case 'string':
      out.text(String(value));
      return;
    case 'bytes':
      out.prefixed(Uint8Array.from(String(value), (char) => char.charCodeAt(0)));
      return;
    default:
      out.bigLong(BigInt(String(value)));
  }
};

const writePlaceholder = (out: ByteWriter, type: ConnectType): boolean => {
  const { items } = type;
  if (type.type === 'string' || (type.type === 'bytes' && type.name === undefined)) {
    out.text(PLACEHOLDER);
    return true;
  }
  const isOfText = (type.type === 'array' || type.type === 'map') && items?.type === 'string';
  if (!isOfText) return false;
  out.long(1);
  if (type.type === 'map') out.text(PLACEHOLDER);
  if (items.optional) out.byte(2);
  out.text(PLACEHOLDER);
  out.byte(0);
  return true;
};

const standIn = (write: (out: ByteWriter) => void): Uint8Array => {
  const out = new ByteWriter(64);
  write(out);
  return out.bytes.slice(0, out.pos);
};

/**
 * A column that is not part of a key-only image, union branch included: null, else its default, else zero.
 */
export const absentValue = (column: Column): Uint8Array =>
  standIn((out) => {
    if (column.optional) out.byte(nullBranch(column));
    else if (isNullFirst(column)) writeZero(out, column.type);
    else writeDefault(out, column.type, column.default as ConnectDefault);
  });

/** A value that the source left out because it did not change, union branch included. */
export const unchangedValue = (column: Column): Uint8Array =>
  standIn((out) => {
    if (column.optional) out.byte(valueBranch(column));
    if (writePlaceholder(out, column.type)) return;
    out.pos = 0;
    if (column.optional) out.byte(nullBranch(column));
    else writeZero(out, column.type);
  });
