// Every type of PostgreSQL through the whole pipeline: what a snapshot reads and what the log tells of the
// same value is the same in the table, and it is what the source says; what a type of the table cannot hold
// is NULL and named.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable, type TextRow } from '../support/table-rows.ts';
import { makePipeline } from '../support/varve.ts';
import { CASES, PRELUDE, type TypeCase } from './types-table-values.ts';

const ROWS = Math.max(...CASES.map(({ values }) => values.length)) + 1;
/** Ids of streamed rows are higher by this. */
const STREAMED = 1000;
const same = (text: string): string => text;
const columnAt = (at: number): string => `c${at}`;

let server: TestPostgres;
let rows: ReadonlyMap<number, TextRow>;

/** The row of the `n`th literal of every type; after its last one a column is NULL. */
const insert = (id: number, n: number): string => {
  const literal = ({ values, type }: TypeCase): string => {
    const value = values[n];
    return value === undefined ? 'null' : `(${value.replace(/^!/, '')})::${type}`;
  };
  return `insert into every values (${[id, ...CASES.map(literal)].join(', ')})`;
};

before(async () => {
  server = await startPostgres();
  await server.query(PRELUDE);
  const columns = CASES.map(({ type }, at) => `${columnAt(at)} ${type}`);
  await server.query(`create table every (id int primary key, ${columns.join(', ')})`);
  for (let n = 0; n < ROWS; n++) await server.query(insert(n, n));
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
  for (let n = 0; n < ROWS; n++) await server.query(insert(STREAMED + n, n));
  await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
  const found = await readTable(join(pipeline.directory, 'tables'), 'every');
  rows = new Map(found.rows.map((row) => [Number(row.id), row]));
});
after(() => server[Symbol.asyncDispose]());

const rowOf = (id: number): TextRow => {
  const row = rows.get(id);
  assert.ok(row, `row ${id} is missing`);
  return row;
};

test('every type of the docs is here', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/types.md'), 'utf8');
  const listed = [...docs.matchAll(/^\| `([^`]+)` +\| `[a-z0-9]+` +\|/gm)].map(([, type]) => type);
  const here = new Set(CASES.map(({ type }) => type));
  assert.ok(listed.length > 50);
  assert.deepEqual(
    listed.filter((type) => !here.has(type as string)),
    [],
  );
});

test('a value is the same, read by the snapshot and told by the log', () => {
  assert.equal(rows.size, 2 * ROWS);
  for (let n = 0; n < ROWS; n++) {
    const [read, told] = [rowOf(n), rowOf(STREAMED + n)];
    assert.deepEqual([read._op, told._op], ['r', 'c']);
    for (const [at, { type, values }] of CASES.entries())
      assert.equal(told[columnAt(at)], read[columnAt(at)], `${type} ${values[n]}`);
    assert.equal(told._incomplete, read._incomplete);
  }
});

test('every value is what the source says, or NULL and named', async () => {
  const wanted = CASES.map(({ sql = 'v::text' }, at) => {
    return `(select ${sql} from (select ${columnAt(at)} as v) s where v is not null) as ${columnAt(at)}`;
  });
  const source = await server.query(
    `select id, ${wanted.join(', ')} from every where id < ${STREAMED} order by id`,
  );
  // All at once, so that a failure shows every type that is wrong.
  const [expected, actual]: [string[], string[]] = [[], []];
  for (const [n, row] of source.entries()) {
    const found = rowOf(n);
    const incomplete = new Set(JSON.parse(found._incomplete ?? '[]') as string[]);
    for (const [at, { type, values, canonical = same }] of CASES.entries()) {
      const value = values[n];
      const name = columnAt(at);
      const isHeld = value === undefined || !value.startsWith('!');
      const text = isHeld ? (row[name] as string | null) : null;
      const printed = found[name] ?? null;
      const said = (held: boolean, is: string | null): string =>
        `${type} ${value}: ${held ? '' : 'incomplete '}${is === null ? null : canonical(is)}`;
      expected.push(said(isHeld, text));
      actual.push(said(!incomplete.has(name), printed));
    }
  }
  assert.deepEqual(actual, expected);
});
