// Owns the step between engine values and DuckDB's own value objects. Knows no table.
import './whole-text.ts';
import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  type DuckDBType,
  DuckDBUUIDValue,
  type DuckDBValue,
  FLOAT,
  INTEGER,
  LIST,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  UUID,
  VARCHAR,
} from '@duckdb/node-api';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergPrimitive, IcebergType } from '../iceberg-type.ts';

type Codec = {
  type: DuckDBType;
  /** Null: values are DuckDB's already. */
  wrap: ((value: EngineValue) => DuckDBValue) | null;
  unwrap: ((value: DuckDBValue) => EngineValue) | null;
};

const plain = (type: DuckDBType): Codec => ({ type, wrap: null, unwrap: null });

const CODECS: Readonly<Record<string, Codec>> = {
  boolean: plain(BOOLEAN),
  int: plain(INTEGER),
  long: plain(BIGINT),
  float: plain(FLOAT),
  double: plain(DOUBLE),
  string: plain(VARCHAR),
  date: {
    type: DATE,
    wrap: (value) => new DuckDBDateValue(value as number),
    unwrap: (value) => (value as DuckDBDateValue).days,
  },
  time: {
    type: TIME,
    wrap: (value) => new DuckDBTimeValue(value as bigint),
    unwrap: (value) => (value as DuckDBTimeValue).micros,
  },
  timestamp: {
    type: TIMESTAMP,
    wrap: (value) => new DuckDBTimestampValue(value as bigint),
    unwrap: (value) => (value as DuckDBTimestampValue).micros,
  },
  timestamptz: {
    type: TIMESTAMPTZ,
    wrap: (value) => new DuckDBTimestampTZValue(value as bigint),
    unwrap: (value) => (value as DuckDBTimestampTZValue).micros,
  },
  uuid: {
    type: UUID,
    wrap: (value) => DuckDBUUIDValue.fromUint128(BigInt(`0x${(value as string).replaceAll('-', '')}`)),
    unwrap: (value) => (value as DuckDBUUIDValue).toString(),
  },
  binary: {
    type: BLOB,
    wrap: (value) => new DuckDBBlobValue(value as Uint8Array),
    // A view on memory that the next chunk may take.
    unwrap: (value) => (value as DuckDBBlobValue).bytes.slice(),
  },
};

const primitiveCodec = (type: IcebergPrimitive): Codec => {
  const known = CODECS[type];
  if (known !== undefined) return known;
  const found = /^decimal\(([0-9]+), ([0-9]+)\)$/.exec(type);
  if (found === null) throw new RangeError(`no codec for the Iceberg type ${type}`);
  const [width, scale] = [Number(found[1]), Number(found[2])];
  return {
    type: DECIMAL(width, scale),
    wrap: (value) => new DuckDBDecimalValue(value as bigint, width, scale),
    unwrap: (value) => (value as DuckDBDecimalValue).value,
  };
};

export const codecOf = (type: IcebergType): Codec => {
  if (typeof type === 'string') return primitiveCodec(type);
  const { type: itemType, wrap, unwrap } = primitiveCodec(type.element);
  return {
    type: LIST(itemType),
    wrap: (value) => {
      const items = value as readonly EngineValue[];
      const wrapped = wrap === null ? items : items.map((item) => (item === null ? null : wrap(item)));
      return new DuckDBListValue(wrapped as DuckDBValue[]);
    },
    unwrap: (value) => {
      const { items } = value as DuckDBListValue;
      return items.map((item) => (unwrap === null || item === null ? (item as EngineValue) : unwrap(item)));
    },
  };
};
