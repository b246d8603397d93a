// Owns the benches' table without a database: its rows as the log prints them, and Varve's own encoder for
// them. For loops that need records and no server.
import { makeSourceBlock, makeSourcePosition } from '../connectors/postgres/source-block.ts';
import { type ColumnShape, makeEncoders, prepareTable } from '../connectors/postgres/table.ts';
import { compileTypeMap, type SourceType } from '../connectors/postgres/type-map.ts';
import { CELL_NULL, CELL_VALUE, type Cells, makeCells } from '../src/change/row.ts';
import type { TableName } from '../src/change/schema.ts';
import { prepareEnvelope } from '../src/topic/envelope-names.ts';
import { DEFAULT_FORMATS } from '../src/topic/format.ts';
import type { PreparedTable } from '../src/topic/prepared-table.ts';
import { PIPELINE, TABLE } from './database.ts';

const NAME: TableName = ['public', TABLE];
const NUMERIC_12_2 = (12 << 16) + 2 + 4;

/** Name, type, its number in every PostgreSQL, modifier. */
const COLUMNS: readonly (readonly [name: string, type: string, oid: number, typmod?: number])[] = [
  ['id', 'int8', 20],
  ['quantity', 'int4', 23],
  ['customer', 'text', 25],
  ['kind', 'int4', 23],
  ['weight', 'float8', 701],
  ['price', 'numeric', 1700, NUMERIC_12_2],
  ['paid', 'bool', 16],
  ['ordered_at', 'timestamptz', 1184],
  ['changed_at', 'timestamptz', 1184],
  ['note', 'text', 25],
];

const sourceType = (name: string, oid: number): SourceType => ({
  oid,
  namespace: 'pg_catalog',
  name,
  kind: 'b',
  element: 0,
  delimiter: ',',
  base: 0,
  baseTypmod: -1,
  labels: [],
});

const mapType = compileTypeMap(DEFAULT_FORMATS);

const makeTable = (): PreparedTable => {
  const types = new Map(COLUMNS.map(([, name, oid]) => [oid, sourceType(name, oid)]));
  const shapes = COLUMNS.flatMap(([name, sourceTypeName, typeOid, typmod = -1], at): ColumnShape[] => {
    const mapped = mapType(typeOid, typmod, { types });
    const column = { id: at + 1, name, sourceType: sourceTypeName, optional: at > 0 };
    return mapped === null ? [] : [{ ...column, mapped, hidden: null }];
  });
  const columns = shapes.map(({ mapped, hidden: _, ...column }) => ({ ...column, type: mapped.connect }));
  const encode = makeEncoders({ name: NAME, columns: shapes }, false);
  const table: PreparedTable = prepareTable({ name: NAME, columns, key: [0] }, encode, {
    checkUtf8: false,
    relax: () => table,
  });
  return table;
};

/** The position is what the log reader would fill for each event. */
export const position = makeSourcePosition();
export const envelope = prepareEnvelope({
  prefix: PIPELINE,
  table: makeTable(),
  source: makeSourceBlock({ pipeline: PIPELINE, database: 'postgres' }, position),
});

const START_MS = Date.UTC(2026, 0, 1);
const timestamp = (ms: number): string =>
  new Date(ms).toISOString().replace('T', ' ').replace('.000', '').replace('Z', '+00');

/** As the log prints row `id` of the load. */
const rowText = (id: number): (string | null)[] => [
  String(id),
  String(id % 100_000),
  `customer-${id}`,
  String(id % 7),
  String(id * 1.25),
  ((id % 1_000_000) / 100).toFixed(2),
  id % 2 === 0 ? 't' : 'f',
  timestamp(START_MS + id * 1000),
  timestamp(START_MS + id),
  id % 10 === 0 ? null : `note-abcdefghijklmnopqrs-${String(id % 10_000).padStart(4, '0')}`,
];

/** Row `id`; with `text` for its customer, which is how an update is made. */
export const makeRow = (id: number, customer?: string): Cells => {
  const text = rowText(id);
  if (customer !== undefined) text[2] = customer;
  const cells = makeCells(text.length);
  let at = 0;
  for (const [column, value] of text.entries()) {
    cells.kind[column] = value === null ? CELL_NULL : CELL_VALUE;
    cells.start[column] = at;
    at += Buffer.byteLength(value ?? '');
    cells.end[column] = at;
  }
  cells.bytes = Uint8Array.from(Buffer.from(text.join('')));
  return cells;
};
