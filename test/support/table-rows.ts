// Owns reading any table back from its files, by field id as Iceberg has it, with an engine of the test's own
// and no merge code of Varve's. Values are text as that engine prints them; lists are JSON.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import {
  liveFiles,
  loadTable,
  type TableIo,
  type TableState,
} from '../../src/sinks/parquet/iceberg/table-state.ts';
import type { IcebergField, IcebergType, LiveFile } from '../../src/sinks/parquet/iceberg-type.ts';
import { directoryName } from '../../src/sinks/parquet/layout.ts';
import { fromFileUri, openLocalStore, toFileUri } from '../../src/sinks/parquet/store-local.ts';

export type TextRow = Readonly<Record<string, string | null>>;
export type ReadTable = {
  /** With the real clock: for tests that commit something of their own. */
  io: TableIo;
  state: TableState;
  fields: readonly IcebergField[];
  files: readonly LiveFile[];
  /** By the table's own `_order`. */
  rows: readonly TextRow[];
  /** Path of the newest metadata file. */
  metadata: string;
};

const SQL_TYPES: Readonly<Record<string, string>> = {
  long: 'BIGINT',
  int: 'INTEGER',
  string: 'VARCHAR',
  binary: 'BLOB',
};
const sqlType = (type: IcebergType): string => {
  if (typeof type !== 'string') return `${sqlType(type.element)}[]`;
  return SQL_TYPES[type] ?? type.toUpperCase();
};
const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const paths = (files: readonly LiveFile[]): string =>
  `[${files.map(({ path }) => quote(fromFileUri(path))).join(', ')}]`;

const printed = ({ id, type }: IcebergField): string => {
  if (typeof type !== 'string') return `to_json(f${id})::varchar`;
  if (type === 'binary') return `lower(hex(f${id}))`;
  if (type === 'timestamptz') return `(f${id} at time zone 'UTC')::varchar`;
  return `f${id}::varchar`;
};

/** Live rows, columns named by field id: `f1`, `f2`. */
const liveRows = (fields: readonly IcebergField[], files: readonly LiveFile[]): string => {
  const data = files.filter(({ content }) => content === 'data');
  const deletes = files.filter(({ content }) => content === 'position_deletes');
  const schema = fields.map(
    ({ id, type }) => `${id}: {name: 'f${id}', type: '${sqlType(type)}', default_value: NULL}`,
  );
  const dead =
    deletes.length === 0
      ? ''
      : `anti join (select file_path, pos from read_parquet(${paths(deletes)}, hive_partitioning = false)) d
         on d.file_path = 'file://' || f.filename and d.pos = f.file_row_number`;
  return (
    `read_parquet(${paths(data)}, schema = MAP {${schema.join(', ')}}, ` +
    `filename = true, file_row_number = true, hive_partitioning = false) f ${dead}`
  );
};

const runSql = async (sql: string): Promise<(string | null)[][]> => {
  const instance = await DuckDBInstance.create(':memory:', { memory_limit: '1GB' });
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    return reader.getRowsJson() as (string | null)[][];
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
};

type OpenedTable = Omit<ReadTable, 'rows'>;

const openFiles = async (location: string, name: string, schema: string): Promise<OpenedTable> => {
  const root = join(location, directoryName(schema), directoryName(name));
  const store = openLocalStore(root, { uuid: randomUUID });
  const io = { store, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  const state = await loadTable(io, toFileUri(root));
  if (state === null) throw new Error(`there is no table at ${root}`);
  const files = [...(await liveFiles(store, state)).values()];
  const metadata = join(root, 'metadata', `v${state.version}.metadata.json`);
  return { io, state, fields: state.fields, files, metadata };
};

/** What a table of any name holds; `[]` where it is there and empty. Throws when it is not there. */
export const readTable = async (location: string, name: string, schema = 'public'): Promise<ReadTable> => {
  const opened = await openFiles(location, name, schema);
  const { fields, files } = opened;
  if (files.every(({ content }) => content !== 'data')) return { ...opened, rows: [] };
  const order = fields.find((field) => field.name === '_order')?.id;
  const found = await runSql(
    `select ${fields.map(printed).join(', ')} from ${liveRows(fields, files)} order by f${order}`,
  );
  const rows = found.map((values) =>
    Object.fromEntries(fields.map((field, at) => [field.name, values[at] ?? null])),
  );
  return { ...opened, rows };
};

/** Expressions over all live rows of a table that is too large to read, such as `count(*)`, as text. */
export const measureTable = async (
  location: string,
  name: string,
  expressions: readonly string[],
): Promise<(string | null)[]> => {
  const { fields, files } = await openFiles(location, name, 'public');
  const columns = fields.map((field) => `f${field.id} as "${field.name}"`).join(', ');
  const values = expressions.map((expression) => `(${expression})::varchar`).join(', ');
  const [row] = await runSql(`select ${values} from (select ${columns} from ${liveRows(fields, files)})`);
  return row ?? [];
};

/** The rows as one text each, in order, of the named columns only. */
export const rowTexts = ({ rows }: ReadTable, columns: readonly string[]): string[] =>
  rows.map((row) => columns.map((name) => row[name] ?? 'null').join(' '));
