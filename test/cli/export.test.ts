// varve export: the same rows as the table shows, with its types, read back by an engine that knows nothing
// of Varve; folders as Hive has them; all of it at once or nothing.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import { startPostgres } from '../support/postgres.ts';
import { setStage, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const SCHEMA = `create table events (id int primary key, kind text, amount numeric(12,3), made timestamptz,
    doc text);
  insert into events select g, case when g % 5 = 0 then null when g % 5 = 1 then '007'
      else 'a/b=c %' || g % 5 end,
    g * 1.125, timestamptz '2026-01-30 20:00:00.123456+00' + g * interval '1 hour', repeat('x', g)
  from generate_series(1, 40) g`;

const stage = await setStage(server, { schema: SCHEMA });
test.after(() => stage[Symbol.asyncDispose]());
await stage.pipeline.run(UNTIL);
await stage.sql("update events set doc = 'changed' where id <= 10; delete from events where id = 20");
await stage.pipeline.run(UNTIL);

type Manifest = {
  rows: number;
  bytes: number;
  snapshot: string;
  content: string;
  columns: { name: string; type: unknown }[];
  files: { path: string; rows: number; bytes: number; sha256: string; partition: Record<string, unknown> }[];
};

const query = async (sql: string): Promise<unknown[]> => {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run("set timezone = 'UTC'");
    return (await connection.runAndReadAll(sql)).getRowObjectsJson();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
};

const filesOf = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();
};

/** Its manifest, after every file was found to be what that says. */
const readExport = async (folder: string): Promise<Manifest> => {
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as Manifest;
  const named = manifest.files.map(({ path }) => path);
  assert.deepEqual(await filesOf(folder), ['manifest.json', ...named].sort());
  for (const { path, bytes, sha256, rows } of manifest.files) {
    const content = await readFile(join(folder, path));
    assert.equal(content.length, bytes, path);
    assert.equal(createHash('sha256').update(content).digest('hex'), sha256, path);
    assert.deepEqual(
      await query(`select count(*)::int as n from read_parquet('${join(folder, path)}')`),
      [{ n: rows }],
      path,
    );
  }
  assert.equal(
    manifest.rows,
    manifest.files.reduce((sum, { rows }) => sum + rows, 0),
  );
  return manifest;
};

const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const asOf = async (words: readonly string[] = []): Promise<Record<string, unknown>[]> =>
  jsonLines((await stage.pipeline.run(['asof', 'pipeline.yaml', 'events', '--json', ...words])).stdout);

const exported = async (to: string, words: readonly string[] = []): Promise<string> => {
  await stage.pipeline.run(['export', 'pipeline.yaml', 'events', '--to', to, ...words]);
  return join(stage.pipeline.directory, to);
};

/** As `asof --json` prints them. */
const PRINTED = `id, kind, amount::varchar as amount,
  strftime(made, '%Y-%m-%dT%H:%M:%S.%f') || 'Z' as made, doc, _order`;

const rowsIn = (folder: string, columns = PRINTED): Promise<unknown[]> =>
  query(`select ${columns} from read_parquet('${folder}/**/*.parquet', hive_partitioning = true)
    order by id, _order`);

const pick = (rows: readonly Record<string, unknown>[]): unknown[] =>
  rows.map(({ id, kind, amount, made, doc, _order }) => {
    const [whole = '', fraction = ''] = String(made).replace('Z', '').split('.');
    const printed = made === null ? null : `${whole}.${fraction.padEnd(6, '0')}Z`;
    return { id, kind, amount, made: printed, doc, _order };
  });

test('an export holds the rows of the table: now, of a moment, of a snapshot, all versions', async () => {
  const now = await exported('now', ['--current']);
  const manifest = await readExport(now);
  assert.deepEqual(await rowsIn(now), pick(await asOf()));
  assert.equal(manifest.rows, 39);
  const types = await query(
    `select column_name as name, column_type as type from (describe from read_parquet('${now}/*.parquet'))`,
  );
  assert.deepEqual(types.slice(0, 5), [
    { name: 'id', type: 'INTEGER' },
    { name: 'kind', type: 'VARCHAR' },
    { name: 'amount', type: 'DECIMAL(12,3)' },
    { name: 'made', type: 'TIMESTAMP WITH TIME ZONE' },
    { name: 'doc', type: 'VARCHAR' },
  ]);
  assert.deepEqual(
    manifest.columns.map(({ name }) => name),
    types.map((column) => (column as { name: string }).name),
  );
  const order = String((await asOf()).map(({ _order }) => _order).sort()[0]);
  const before = await exported('before', ['--at', order]);
  const then = await asOf(['--at', order]);
  assert.ok(then.length > 0);
  assert.deepEqual(await rowsIn(before), pick(then));
  const history = await exported('history', ['--history']);
  assert.equal((await readExport(history)).rows, 50);
  assert.deepEqual(
    await query(
      `select count(*)::int as n, count(valid_to)::int as ended from read_parquet('${history}/*.parquet')`,
    ),
    [{ n: 50, ended: 11 }],
  );
  const old = await exported('old', ['--snapshot', manifest.snapshot]);
  assert.deepEqual(await rowsIn(old), await rowsIn(now));
});

test('folders are as Hive has them, and any value can name one', async () => {
  const folder = await exported('parts', ['--partition-by', 'day(made)', '--partition-by', 'kind']);
  const { files } = await readExport(folder);
  assert.deepEqual(
    files.map(({ path }) => path).slice(0, 5),
    [
      'made_day=2026-01-30/kind=007',
      'made_day=2026-01-30/kind=a%2Fb%3Dc %252',
      'made_day=2026-01-30/kind=a%2Fb%3Dc %253',
      'made_day=2026-01-31/kind=007',
      'made_day=2026-01-31/kind=a%2Fb%3Dc %252',
    ].map((path) => `${path}/part-0.parquet`),
  );
  assert.ok(files.some(({ path }) => path.includes('kind=__HIVE_DEFAULT_PARTITION__/')));
  assert.deepEqual(await rowsIn(folder), pick(await asOf()));
  const [day] = await query(
    `select count(*)::int as n, any_value(typeof(made_day)) as type
      from read_parquet('${folder}/**/*.parquet', hive_partitioning = true)
      where made_day = date '2026-01-31'`,
  );
  assert.deepEqual(day, { n: 23, type: 'DATE' });
});

test('a place that is taken is refused and stays as it was; what is cut off leaves none', async () => {
  const { directory } = stage.pipeline;
  await mkdir(join(directory, 'taken'));
  await writeFile(join(directory, 'taken', 'mine'), 'mine');
  const refused = async (words: readonly string[], says: RegExp): Promise<void> => {
    const { stderr } = await stage.pipeline.run(['export', 'pipeline.yaml', 'events', ...words], 2);
    assert.match(stderr, says);
  };
  await refused(['--to', 'taken'], /taken is not empty: it holds mine/);
  assert.deepEqual(await filesOf(join(directory, 'taken')), ['mine']);
  await refused(['--to', 'tables/here'], /must lie apart/);
  await refused(['--to', 'x', '--partition-by', 'day(kind)'], /kind is string/);
  await refused(['--to', 'x', '--at', '2026-01-01', '--history'], /say one of them/);
  await assert.rejects(stat(join(directory, 'x')), { code: 'ENOENT' });
  // An empty folder is as good as none, and what a killed export left goes.
  await mkdir(join(directory, 'empty'));
  await mkdir(join(directory, '.varve-scratch-export', 'gone-1-abc'), { recursive: true });
  await readExport(await exported('empty'));
  await refused(['--to', 'empty'], /is not empty/);
  const left = (await readdir(directory)).filter((name) => name.startsWith('.varve'));
  assert.deepEqual(left, ['.varve-scratch-export'], 'that of another machine stays for a day');
});
