// A condition of somebody's looks at one row and computes. Whatever else it tries is refused before it runs,
// and nothing that it says or sees of a row comes out in an error.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { checkCondition } from '../../../src/sinks/parquet/engine/condition.ts';
import { Database } from '../../../src/sinks/parquet/engine/database.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';

const directory = mkdtempSync(join(tmpdir(), 'varve-condition-'));
const database = await Database.open({ memoryLimit: '256MB', threads: 1, directory });
const shared = new SharedEngine();
after(async () => {
  await database[Symbol.asyncDispose]();
  await shared[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

const HARMLESS = [
  'id > 18',
  "v like '% 7' -- a remark",
  "id = 1 /* or */ OR v ILIKE 'x%'",
  'id BETWEEN 1 AND 2 AND v IS NOT NULL',
  "id IN (1, 2) AND NOT (v = 'a')",
  "lower(v) = 'a' AND length(v) < 3",
  "CASE WHEN id > 1 THEN v ELSE 'x' END = 'x'",
  'CAST(v AS INTEGER) > 1',
  'TRY_CAST(v AS INTEGER) > 1',
  "valid_from < now() - INTERVAL 1 DAY AND valid_from::DATE > DATE '2024-01-01'",
  'current_date > valid_from',
  'list_contains(tags, 1) OR len(list_filter(tags, lambda x: x > 1)) > 0',
  "v COLLATE nocase = 'a'",
  "regexp_matches(v, '^a') AND v || 'x' ^@ 'ax'",
  'coalesce(a, b, 0) + abs(a) % 2 = 0',
  '"a""b".c = 1',
  "v->>'$.name' = 'x'",
];

for (const text of HARMLESS) test(`goes: ${text}`, () => checkCondition(database, text));

const HOSTILE: readonly (readonly [text: string, why: RegExp])[] = [
  ["(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", /subquery/],
  ['id IN (SELECT id FROM live_file)', /subquery/],
  ['EXISTS (FROM duckdb_settings())', /subquery/],
  ['id = ANY (SELECT 1)', /subquery/],
  ['id = (FROM query_table(x))', /subquery/],
  ["list_filter(tags, lambda x: x = (SELECT content FROM read_text('x')))", /subquery/],
  ["true); COPY (SELECT 1) TO 'x'; SELECT (true", /syntax error|more than one/],
  ["true; COPY (SELECT 1) TO 'x'", /more than one|SELECT/],
  ['id = 1) OR (id = 2', /syntax error/],
  ['id, v', /more than one expression/],
  ['id AS x', /more than one expression/],
  ['id FROM read_text(1)', /more than one expression/],
  ['DISTINCT id', /more than one expression/],
  ['id ORDER BY 1', /more than one expression/],
  ['id LIMIT 1', /more than one expression/],
  ['id UNION ALL SELECT 1', /more than one expression/],
  ['id WHERE true', /more than one expression/],
  ['id QUALIFY true', /more than one expression/],
  ['row_number() OVER () = 1', /window/],
  ['COLUMNS(*) > 5', /star/],
  ['*', /star/],
  ['$1 = id', /parameter/],
  ['? = id', /parameter/],
  ['', /it is empty/],
  ['-- nothing', /it is empty/],
  ["current_setting('temp_directory') = 'x'", /function current_setting/],
  ["CURRENT_SETTING('threads') = '1'", /function current_setting/],
  ["getvariable('x') = 1", /function getvariable/],
  ["nextval('x') = 1", /function nextval/],
  ["error('x') = 'y'", /function error/],
  ['random() > 0.5', /function random/],
  ['sleep_ms(1000) IS NULL', /function sleep_ms/],
  ['pg_sleep(10) IS NULL', /function pg_sleep/],
  ['pg_get_viewdef(1) IS NULL', /function pg_get_viewdef/],
  ["get_block_size('x') = 1", /function get_block_size/],
  ["write_log('x') IS NULL", /function write_log/],
  ["json_serialize_plan('SELECT 1') = '{}'", /function json_serialize_plan/],
  ['current_query() IS NOT NULL', /function current_query/],
  ['sum(id) > 1', /function sum/],
  ["main.current_setting('x') = 'y'", /function current_setting/],
];

for (const [text, why] of HOSTILE)
  test(`is refused: ${text}`, async () => {
    await assert.rejects(checkCondition(database, text), (thrown: unknown) => {
      assert.ok(thrown instanceof VarveError && thrown.kind === 'usage');
      assert.match(thrown.message, why);
      return true;
    });
  });

test('no function that reads or acts is among those that go', async () => {
  const rows = await database.rows(
    "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('scalar', 'macro') " +
      "AND regexp_matches(function_name, '^[a-z_0-9]*(file|read|glob|setting|variable|query|env|secret|" +
      "sleep|nextval|currval|extension|pragma|log|path)[a-z_0-9]*$') ORDER BY 1",
  );
  assert.ok(rows.length > 10);
  const going: string[] = [];
  for (const [name] of rows)
    await checkCondition(database, `${String(name)}(id)`).then(
      () => going.push(String(name)),
      () => undefined,
    );
  // They compute on the text that they are given.
  assert.deepEqual(
    going.filter((name) => !/^(log(10|2)?|json_extract_path(_text)?|parse_.*)$/.test(name)),
    [],
  );
});

test('what a row makes of it is not said, and nothing is written', async () => {
  using table = new EngineTable({ engine: shared.engine });
  const row = { id: 1n, a: { int: 4711 }, b: null };
  const [key, order] = [{ id: 1n }, '00000001.000000000000000000000001.1.000000000000'];
  await table.merge([{ op: 'c', order, ts: 1n, key, row }]);
  const before = readdirSync(table.directory, { recursive: true }).length;
  for (const where of [
    "CAST(a || 'x' AS INTEGER) = 1",
    'a / 0 = nothing',
    "strptime(a::VARCHAR, '%Y-%m') = a",
  ]) {
    const request = { ...table.tableFiles(), rows: { kind: 'current' as const }, where, limit: 1 };
    await assert.rejects(shared.engine.query(request, table.answers), (thrown: unknown) => {
      assert.ok(thrown instanceof VarveError && thrown.kind === 'usage', String(thrown));
      assert.doesNotMatch(thrown.message, /4711/);
      return true;
    });
  }
  assert.equal(readdirSync(table.directory, { recursive: true }).length, before);
});
