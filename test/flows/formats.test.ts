// Every form that a user can choose for the topic, down to the table: what the table has of it, the same from
// snapshot and stream, and what a large value that did not change leaves there.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable, type TextRow } from '../support/table-rows.ts';
import { makePipeline } from '../support/varve.ts';

let server: TestPostgres;

before(async () => {
  server = await startPostgres();
  await server.query('create extension hstore');
});
after(() => server[Symbol.asyncDispose]());

const TYPES = {
  num: 'numeric(12,2)',
  free: 'numeric',
  money: 'money',
  bin: 'bytea',
  day: 'date',
  clock: 'time',
  at: 'timestamp',
  at3: 'timestamp(3)',
  span: 'interval',
  pairs: 'hstore',
  query: 'tsquery',
} as const;

const ROWS = [
  `('1.10', '123.4560', '12.30', '\\x00ff', '2024-02-29', '23:59:59.999999', '2024-02-29 12:34:56.123456',
    '2024-02-29 12:34:56.789', 'P1Y2M3DT4H5M6.5S', 'a=>1, b=>NULL', 'a & b')`,
  `('NaN', 'NaN', null, '', 'infinity', '24:00:00', '-infinity', null, 'P0D', '', null)`,
];

/** Both rows, by column, as the table has them; read by the snapshot and told by the log alike. */
const tableWith = async (format: object): Promise<Record<string, (string | null)[]>> => {
  const columns = Object.entries(TYPES).map(([name, type]) => `${name} ${type}`);
  await server.query(`drop table if exists t; create table t (id int primary key, ${columns.join(', ')})`);
  await server.query('alter table t alter bin set storage external, alter pairs set storage external');
  const insert = async (from: number): Promise<void> => {
    for (const [at, row] of ROWS.entries())
      await server.query(`insert into t values (${from + at}, ${row.slice(1)}`);
  };
  await insert(0);
  await using pipeline = await makePipeline({ url: server.url, format: JSON.stringify(format) });
  const until = ['run', 'pipeline.yaml', '--until-caught-up'];
  await pipeline.run(until);
  await insert(10);
  await pipeline.run(until);
  const big = "repeat('large', 2000)";
  await server.query(`insert into t (id, bin, pairs) values (20, ${big}::bytea, hstore('k', ${big}))`);
  await server.query('update t set num = 5 where id = 20');
  await pipeline.run(until);
  const { rows } = await readTable(join(pipeline.directory, 'tables'), 't');
  const current = new Map(rows.filter(({ is_current }) => is_current === 'true').map((row) => [row.id, row]));
  const rowOf = (id: number): TextRow => current.get(String(id)) ?? assert.fail(`there is no row ${id}`);
  const cells = (name: string, from: number): (string | null)[] =>
    ROWS.map((_, at) => rowOf(from + at)[name] ?? null);
  for (const name of [...Object.keys(TYPES), '_incomplete'])
    assert.deepEqual(cells(name, 10), cells(name, 0), name);
  const kept = rows.find(({ id, valid_to }) => id === '20' && valid_to !== null);
  assert.ok(kept?.bin && kept.pairs?.includes('large'));
  assert.deepEqual([rowOf(20).bin, rowOf(20).pairs], [kept.bin, kept.pairs], 'what did not change is kept');
  await pipeline.run(['reset', 'pipeline.yaml', '--yes']);
  return Object.fromEntries([...Object.keys(TYPES), '_incomplete'].map((name) => [name, cells(name, 0)]));
};

test('text wherever there is a choice', async () => {
  const format = {
    decimal: 'string',
    binary: 'base64',
    time: 'isostring',
    interval: 'string',
    hstore: 'map',
  };
  assert.deepEqual(await tableWith(format), {
    num: ['1.10', 'NaN'],
    free: ['123.4560', 'NaN'],
    money: ['12.30', null],
    bin: ['AP8=', ''],
    day: ['2024-02-29', null],
    clock: ['23:59:59.999999', null],
    at: ['2024-02-29 12:34:56.123456', null],
    at3: ['2024-02-29 12:34:56.789', null],
    span: ['P1Y2M3DT4H5M6.5S', 'P0Y0M0DT0H0M0S'],
    pairs: ['{"a":"1","b":null}', '{}'],
    query: ["'a' & 'b'", null],
    _incomplete: [null, '["at","clock","day"]'],
  });
});

test('doubles, hexadecimal, milliseconds, unknown types as bytes', async () => {
  const format = { decimal: 'double', binary: 'hex', time: 'connect', unknown_types: 'bytes' };
  assert.deepEqual(await tableWith(format), {
    num: ['1.1', 'nan'],
    free: ['123.456', 'nan'],
    money: ['12.3', null],
    bin: ['00ff', ''],
    day: ['2024-02-29', null],
    clock: ['23:59:59.999', null],
    at: ['2024-02-29 12:34:56.123', null],
    at3: ['2024-02-29 12:34:56.789', null],
    span: [null, '0'],
    pairs: ['{"a":"1","b":null}', '{}'],
    query: [Buffer.from("'a' & 'b'").toString('hex'), null],
    _incomplete: ['["span"]', '["at","clock","day"]'],
  });
});

test('nanoseconds', async () => {
  const { clock, at, at3, query, _incomplete } = await tableWith({
    time: 'nanoseconds',
    unknown_types: 'omit',
  });
  assert.deepEqual(
    [clock, at, at3, query, _incomplete],
    [
      ['23:59:59.999999', null],
      ['2024-02-29 12:34:56.123456', null],
      ['2024-02-29 12:34:56.789', null],
      [null, null],
      ['["span"]', '["at","clock","day","num"]'],
    ],
  );
});
