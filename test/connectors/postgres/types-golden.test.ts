// Schemas and values against what a real Debezium wrote for the same SQL: the recorded cases run on a real
// server, rows are read as text, encoded, read back, and compared. Whatever differs is in the lists below
// with its reason.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { Catalog, type CatalogTable } from '../../../connectors/postgres/catalog.ts';
import type { Column, ConnectField } from '../../../src/change/schema.ts';
import type { AvroValue } from '../../../src/topic/avro-read.ts';
import { fieldNames, topicName } from '../../../src/topic/naming.ts';
import { decodeRecorded, GOLDEN, type GoldenCase, loadGolden, toConnectType } from '../../support/golden.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { encodeWith, openPinned, printed, readBack } from './types-encoding.ts';

const CASES = [
  'bench-table',
  'ddl-columns',
  'defaults-notnull',
  'generated-columns',
  'partitions',
  'quoted-identifiers',
  'types-extension',
  'types-geo-range-fts',
  'types-interval-numeric',
  'types-network-bit',
  'types-numeric',
  'types-numeric-nan-precise',
  'types-numeric-negative-scale',
  'types-temporal',
  'types-temporal-extreme',
  'types-text',
];

type Row = Record<string, AvroValue>;

/** `column`, as Varve has it where Debezium has something else. */
type Difference = { why: string; case: string; column: string };
type SchemaDifference = Difference & { field: ConnectField | null };
type ValueDifference = Difference & { op: string; id: number; ours: AvroValue };

const text = (field: string): ConnectField => ({ field, type: { type: 'string' }, optional: true });

const leftOut = 'Debezium leaves out types that it does not know';
const noRow = 'the log does not carry generated columns, so the snapshot must not either';
const scale = 'a negative scale has no Avro form: the digits are spelt out instead';
const NEGATIVE_SCALE = {
  type: 'bytes',
  name: 'org.apache.kafka.connect.data.Decimal',
  version: 1,
  parameters: { scale: '0', 'connect.decimal.precision': '6' },
} as const;

const SCHEMA_DIFFERENCES: SchemaDifference[] = [
  { why: leftOut, case: 'types-extension', column: 'c_lquery', field: text('c_lquery') },
  { why: leftOut, case: 'types-geo-range-fts', column: 'c_tsq', field: text('c_tsq') },
  { why: leftOut, case: 'types-geo-range-fts', column: 'c_i4mr', field: text('c_i4mr') },
  { why: noRow, case: 'generated-columns', column: 'b', field: null },
  {
    why: scale,
    case: 'types-numeric-negative-scale',
    column: 'c_num_neg',
    field: { field: 'c_num_neg', type: NEGATIVE_SCALE, optional: true },
  },
];

const julian = 'the snapshot reads dates before 1582-10-15 by another calendar than the stream';
const infinite = 'the snapshot has other numbers for infinity than the stream';
const overflow = 'microseconds past 64 bits wrap around; the highest number stands in, the text is beside it';
const isName = 'the stream loses values of the type name';
const isDefault = 'a NULL is published as the default of the column';
const notNumber = 'NaN and infinity become NULL; zero stands in, the text is beside it';
const ZERO = Uint8Array.of(0);

const extremes = (op: string, dates: Record<number, number>, why: string): ValueDifference[] =>
  Object.entries(dates).map(([id, ours]) => ({
    why,
    case: 'types-temporal-extreme',
    column: 'c_date',
    op,
    id: Number(id),
    ours,
  }));

const VALUE_DIFFERENCES: ValueDifference[] = [
  { why: julian, case: 'types-temporal', column: 'c_date', op: 'r', id: 4, ours: -141_432 },
  ...extremes('r', { 3: -735_160, 4: -2_440_550, 6: -719_163 }, julian),
  ...extremes('r', { 1: 2_146_033_979, 2: -2_147_472_691 }, infinite),
  { why: overflow, case: 'types-temporal-extreme', column: 'c_ts', op: 'c', id: 107, ours: 2n ** 63n - 1n },
  { why: isName, case: 'types-text', column: 'c_name', op: 'c', id: 101, ours: 'some_name' },
  { why: isName, case: 'types-text', column: 'c_name', op: 'c', id: 102, ours: '' },
  { why: isDefault, case: 'defaults-notnull', column: 'n_uuid', op: 'c', id: 2, ours: null },
  { why: isDefault, case: 'defaults-notnull', column: 'n_txt_q', op: 'u', id: 1, ours: null },
  { why: isDefault, case: 'defaults-notnull', column: 'n_json', op: 'u', id: 1, ours: null },
  ...[2, 4].map((id) => ({
    why: notNumber,
    case: 'types-numeric-nan-precise',
    column: 'c_num',
    op: 'c',
    id,
    ours: { scale: 0, value: ZERO },
  })),
  { why: notNumber, case: 'types-numeric-nan-precise', column: 'c_num_12_2', op: 'c', id: 3, ours: ZERO },
  ...(
    [
      ['r', 1, [0x01, 0xe2, 0x6c]],
      ['c', 2, [0xf0, 0xbe, 0x24]],
    ] as const
  ).map(([op, id, value]) => ({
    why: scale,
    case: 'types-numeric-negative-scale',
    column: 'c_num_neg',
    op,
    id,
    ours: Uint8Array.from(value),
  })),
];

/** Types whose values are compared in their own test: Debezium has nothing to compare with. */
const UNCOMPARED = new Set(
  SCHEMA_DIFFERENCES.filter(({ why }) => why === leftOut).map(({ column }) => column),
);

const toField = ({ type, optional, ...column }: Column, field: string): ConnectField => ({
  field,
  type,
  optional,
  ...(column.default === undefined ? {} : { default: column.default }),
});

const used = new Set<Difference>();

/** All rows, by field name, through the encoders. */
const readRows = async (client: pg.Client, { table }: CatalogTable): Promise<Row[]> => {
  const { columns, name } = table.schema;
  const fields = fieldNames(name, columns);
  const list = columns.map((column) => printed(pg.escapeIdentifier(column.name)));
  const text = `SELECT ${list.join(', ')} FROM ${name.map(pg.escapeIdentifier).join('.')}`;
  const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array' });
  return rows.map((row) =>
    Object.fromEntries(
      row.map((value, at) => {
        if (value === null) return [fields[at], null];
        const encoded = encodeWith(table.encode[at], value);
        return [fields[at], readBack((columns[at] as Column).type, encoded)];
      }),
    ),
  );
};

const expectedFields = (name: string, fields: readonly ConnectField[]): ConnectField[] => {
  const known = new Map(fields.map((field) => [field.field, field]));
  for (const difference of SCHEMA_DIFFERENCES.filter((d) => d.case === name)) {
    const { column, field } = difference;
    if (field !== null) known.set(column, field);
    // The stream's schema has no generated column even there.
    if (field !== null || known.delete(column)) used.add(difference);
  }
  return [...known.values()].sort(byField);
};

const expectedRow = (name: string, op: string, row: Row): Row => {
  const expected = { ...row };
  for (const { column } of SCHEMA_DIFFERENCES.filter((d) => d.case === name && d.field === null)) {
    delete expected[column];
  }
  for (const difference of VALUE_DIFFERENCES) {
    const { case: of, column, op: when, id, ours } = difference;
    if (of !== name || when !== op || id !== row.id) continue;
    assert.notDeepEqual(expected[column], ours, `${difference.why}: no difference any more`);
    used.add(difference);
    expected[column] = ours;
  }
  return expected;
};

type Phase = { name: string; golden: GoldenCase; isSnapshot: boolean };

const compareTable = async (client: pg.Client, found: CatalogTable, phase: Phase): Promise<void> => {
  const { name, golden, isSnapshot } = phase;
  const { columns, name: tableName, key } = found.table.schema;
  const topic = topicName('golden', tableName);
  const records = golden.records.filter(
    ({ topic: of, value }) => of === topic && hasAfter(value) && isRead(value) === isSnapshot,
  );
  const schemaId = records.at(-1)?.valueSchema;
  if (typeof schemaId !== 'string') return;
  const image = golden.schemas[schemaId]?.connect.fields?.find(({ field }) => field === 'after');
  assert.ok(image);
  const fields = fieldNames(tableName, columns);
  const ours = columns.map((column, at) => toField(column, fields[at] as string)).sort(byField);
  assert.deepEqual(ours, expectedFields(name, toConnectType(image).fields ?? []), `fields of ${topic}`);
  const keyOf = (row: Row): string => key.map((at) => String(row[fields[at] as string])).join();
  const last = new Map<string, { op: string; row: Row }>();
  const shape = String((image.fields ?? []).map(({ field }) => field));
  for (const record of records) {
    const { op, after: row } = decodeRecorded(record, golden).value as { op: string; after: Row };
    // Rows written under an older set of columns are not what the table shows now.
    if (String(Object.keys(row)) === shape) last.set(keyOf(row), { op, row });
  }
  let compared = 0;
  for (const row of await readRows(client, found)) {
    const recorded = last.get(keyOf(row));
    if (recorded === undefined) continue;
    compared++;
    for (const column of UNCOMPARED) delete row[column];
    assert.deepEqual(plainRow(row), plainRow(expectedRow(name, recorded.op, recorded.row)), topic);
  }
  assert.ok(compared > 0, `no row of ${topic} was compared`);
};

const runCase = async (server: TestPostgres, name: string): Promise<void> => {
  const caseDir = join(GOLDEN, 'postgres', name);
  const golden = loadGolden(caseDir);
  const sql = (file: string): string => readFileSync(join(caseDir, file), 'utf8');
  const url = new URL(server.url);
  url.pathname = `/${name.replaceAll('-', '_')}`;
  await server.query(`CREATE DATABASE ${url.pathname.slice(1)}`);
  const writer = new pg.Client(url.href);
  await writer.connect();
  const client = await openPinned(url.href);
  try {
    await writer.query(sql('setup.sql'));
    const catalog = await Catalog.open({ client, selects: () => true, known: () => null });
    for (const table of await catalog.tables()) {
      await compareTable(client, table, { name, golden, isSnapshot: true });
    }
    for (const statement of sql('changes.sql').split(/;\s*\n/)) await writer.query(statement);
    for (const table of await catalog.tables()) {
      await compareTable(client, table, { name, golden, isSnapshot: false });
    }
  } finally {
    await writer.end();
    await client.end();
  }
};

describe('recorded cases', () => {
  let server: TestPostgres;

  before(async () => {
    server = await startPostgres({ major: 15 });
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  for (const name of CASES) it(name, () => runCase(server, name));

  it('has no difference in its lists that does not occur', () => {
    const stale = [...SCHEMA_DIFFERENCES, ...VALUE_DIFFERENCES].filter((difference) => !used.has(difference));
    assert.deepEqual(stale, []);
  });
});

const byField = (a: ConnectField, b: ConnectField): number => a.field.localeCompare(b.field);
const isRead = (value: unknown): boolean => (value as { op: string }).op === 'r';
const hasAfter = (value: unknown): boolean => (value as { after: unknown } | null)?.after != null;

/** Objects with prototypes and byte arrays alike, whatever made them. */
const plainRow = (row: Row): unknown =>
  JSON.parse(
    JSON.stringify(row, (_, value) => {
      if (typeof value === 'bigint') return `${value}`;
      if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
        return `number ${value}`;
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    }),
  );
