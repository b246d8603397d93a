// Owns the text of SQL: names, types, scans of Parquet files by field id, the one list of casts. Runs
// nothing.
import type { IcebergField, IcebergPrimitive, IcebergType } from '../iceberg-type.ts';

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Columns are named by field id while they are worked on: names clash, change and fold case, ids do not. */
export const columnOf = ({ id }: { id: number }): string => `f${id}`;

const PRIMITIVE: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  date: 'DATE',
  time: 'TIME',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMPTZ',
  string: 'VARCHAR',
  uuid: 'UUID',
  binary: 'BLOB',
};

const primitiveType = (type: IcebergPrimitive): string => PRIMITIVE[type] ?? type.toUpperCase();

export const sqlType = (type: IcebergType): string =>
  typeof type === 'string' ? primitiveType(type) : `${primitiveType(type.element)}[]`;

/** `f1 BIGINT, f2 VARCHAR` */
export const columnDefinitions = (fields: readonly IcebergField[]): string =>
  fields.map((field) => `${columnOf(field)} ${sqlType(field.type)}`).join(', ');

export const columnList = (fields: readonly IcebergField[], table?: string): string =>
  fields.map((field) => (table === undefined ? '' : `${table}.`) + columnOf(field)).join(', ');

/** `a.f1 = b.f1 AND a.f2 = b.f2` */
export const matchKeys = (key: readonly IcebergField[], one: string, other: string): string =>
  key.map((field) => `${one}.${columnOf(field)} = ${other}.${columnOf(field)}`).join(' AND ');

/**
 * A scan that finds columns by field id, so that renamed, widened and missing ones come out right; also
 * gives `filename` and `file_row_number`. Without hive partitioning: a path may look like a partition.
 */
export const scanFiles = (paths: readonly string[], fields: readonly IcebergField[]): string => {
  const schema = fields.map(
    (field) =>
      `${field.id}: {name: '${columnOf(field)}', type: '${sqlType(field.type)}', default_value: NULL}`,
  );
  return (
    `read_parquet([${paths.map(quoteText).join(', ')}], schema = MAP {${schema.join(', ')}}, ` +
    'filename = true, file_row_number = true, hive_partitioning = false)'
  );
};

/**
 * Every column in schema order, cast to its exact type and under its real name; what is written went
 * through here.
 */
export const castAll = (fields: readonly IcebergField[]): string =>
  fields
    .map((field) => `CAST(${columnOf(field)} AS ${sqlType(field.type)}) AS ${quoteName(field.name)}`)
    .join(', ');

export const fieldIds = (fields: readonly IcebergField[]): string => {
  const entries = fields.map(({ id, name, type }) => {
    const ids =
      typeof type === 'string' ? `${id}` : `{__duckdb_field_id: ${id}, element: ${type['element-id']}}`;
    return `${quoteName(name)}: ${ids}`;
  });
  return `{${entries.join(', ')}}`;
};

/** Reserved field ids, https://iceberg.apache.org/spec/#reserved-field-ids. */
export const DELETE_FIELDS: readonly IcebergField[] = [
  { id: 2147483546, name: 'file_path', required: true, type: 'string' },
  { id: 2147483545, name: 'pos', required: true, type: 'long' },
];
