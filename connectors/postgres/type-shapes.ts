// Owns the Connect types with a name of their own that Debezium gives to PostgreSQL values. Knows no
// encoding.
import type { ConnectField, ConnectType } from '../../src/change/schema.ts';

/** A type that is only a name on top of a primitive; all of these are version 1. */
const named = (type: ConnectType['type'], name: string): ConnectType => ({ type, name, version: 1 });

export const timeType = (type: ConnectType['type'], name: string): ConnectType =>
  named(type, `io.debezium.time.${name}`);

/** Kafka Connect's own, always in milliseconds. */
export const connectType = (type: ConnectType['type'], name: string): ConnectType =>
  named(type, `org.apache.kafka.connect.data.${name}`);

export const dataType = (type: ConnectType['type'], name: string): ConnectType =>
  named(type, `io.debezium.data.${name}`);

const field = (name: string, type: ConnectType['type'], optional = false): ConnectField => ({
  field: name,
  type: { type },
  optional,
});

/** `precision` null: the schema does not tell it. */
export const decimalType = (scale: number, precision: number | null): ConnectType => ({
  ...named('bytes', 'org.apache.kafka.connect.data.Decimal'),
  parameters: {
    scale: String(scale),
    ...(precision === null ? {} : { 'connect.decimal.precision': String(precision) }),
  },
});

export const VARIABLE_DECIMAL: ConnectType = {
  ...dataType('struct', 'VariableScaleDecimal'),
  doc: 'Variable scaled decimal',
  fields: [field('scale', 'int32'), field('value', 'bytes')],
};

export const bitsType = (length: number): ConnectType => ({
  ...dataType('bytes', 'Bits'),
  parameters: { length: String(length) },
});

export const enumType = (labels: readonly string[]): ConnectType => ({
  ...dataType('string', 'Enum'),
  parameters: { allowed: labels.join(',') },
});

export const POINT: ConnectType = {
  ...dataType('struct', 'geometry.Point'),
  doc: 'Geometry (POINT)',
  fields: [
    field('x', 'float64'),
    field('y', 'float64'),
    field('wkb', 'bytes', true),
    field('srid', 'int32', true),
  ],
};

export const LINE: ConnectType = {
  ...dataType('struct', 'geometry.Line'),
  doc: 'Geometry (LINE)',
  fields: [field('a', 'float64'), field('b', 'float64'), field('c', 'float64')],
};

export const CIRCLE: ConnectType = {
  ...dataType('struct', 'geometry.Circle'),
  doc: 'Geometry (CIRCLE)',
  fields: [{ field: 'center', type: POINT, optional: false }, field('radius', 'float64')],
};

/** Any shape as WKB; `extensions` say what WKB cannot, such as whether a path is closed. */
export const GEOMETRY: ConnectType = {
  ...dataType('struct', 'geometry.Geometry'),
  version: 2,
  doc: 'Geometry',
  fields: [
    field('wkb', 'bytes'),
    field('srid', 'int32', true),
    {
      field: 'extensions',
      type: { type: 'map', items: { type: 'string', optional: false } },
      optional: true,
    },
  ],
};

export const GEOGRAPHY: ConnectType = {
  ...dataType('struct', 'geometry.Geography'),
  doc: 'Geography',
  fields: [field('wkb', 'bytes'), field('srid', 'int32', true)],
};

export const vectorType = (name: string, item: 'float32' | 'float64'): ConnectType => ({
  ...dataType('array', name),
  items: { type: item, optional: false },
});
