// Owns the shape of Debezium's change event and of its key, as Connect types. Knows no value and no database;
// the `source` struct is the connector's.
import type { Column, ConnectField, ConnectType, TableSchema } from '../change/schema.ts';

const INT64: ConnectType = { type: 'int64' };

const TRANSACTION: ConnectType = {
  type: 'struct',
  name: 'event.block',
  version: 1,
  fields: [
    { field: 'id', type: { type: 'string' }, optional: false },
    { field: 'total_order', type: INT64, optional: false },
    { field: 'data_collection_order', type: INT64, optional: false },
  ],
};

type EnvelopeNames = {
  /** Full name of the topic's records, without `.Key`, `.Value`, `.Envelope`. */
  record: string;
  /** Avro field names, one a column. */
  fields: readonly string[];
};

const fieldOf = (column: Column, field: string): ConnectField => ({
  field,
  type: column.type,
  optional: column.optional,
  ...(column.default === undefined ? {} : { default: column.default }),
});

/** The key columns in key order; null for a table without key. */
export const keyType = ({ columns, key }: TableSchema, names: EnvelopeNames): ConnectType | null =>
  key.length === 0
    ? null
    : {
        type: 'struct',
        name: `${names.record}.Key`,
        fields: key.map((at) => fieldOf(columns[at] as Column, names.fields[at] as string)),
      };

/** before, after, source, transaction, op, ts_ms, ts_us, ts_ns, in this order. */
export const envelopeType = (
  { columns }: TableSchema,
  names: EnvelopeNames,
  source: ConnectType,
): ConnectType => {
  const row: ConnectType = {
    type: 'struct',
    name: `${names.record}.Value`,
    fields: columns.map((column, at) => fieldOf(column, names.fields[at] as string)),
  };
  return {
    type: 'struct',
    name: `${names.record}.Envelope`,
    version: 2,
    fields: [
      { field: 'before', type: row, optional: true },
      { field: 'after', type: row, optional: true },
      { field: 'source', type: source, optional: false },
      { field: 'transaction', type: TRANSACTION, optional: true },
      { field: 'op', type: { type: 'string' }, optional: false },
      { field: 'ts_ms', type: INT64, optional: true },
      { field: 'ts_us', type: INT64, optional: true },
      { field: 'ts_ns', type: INT64, optional: true },
    ],
  };
};
