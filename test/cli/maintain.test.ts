// `varve maintain`: says what it would do, does it, and changes no row by it; beside another one, beside the
// daemon, and killed in the midst.
import assert from 'node:assert/strict';
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { UNTIL } from '../support/stage.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';
import { endOf, makePipeline, type TestPipeline } from '../support/varve.ts';

const DAY_MS = 24 * 3_600_000;
const ROUNDS = 3;

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

type News = Record<string, unknown> & { kind: string };

const newsOf = (stdout: string): News[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as News);

const rowsOf = async ({ directory }: TestPipeline, table: string): Promise<string[]> =>
  rowTexts(await readTable(join(directory, 'tables'), table), ['id', 'n', 'is_current', '_order']);

/** A table of some commits, each with small files of its own. */
const makeSmallFiles = async (pipeline: TestPipeline, table: string): Promise<void> => {
  await server.query(`create table ${table} (id int primary key, n int)`);
  await server.query(`insert into ${table} select g, 0 from generate_series(1, 20) g`);
  for (let round = 1; round <= ROUNDS; round++) {
    await pipeline.run(UNTIL);
    await server.query(`update ${table} set n = n + 1 where id % 3 = ${round % 3}`);
  }
  await pipeline.run(UNTIL);
};

test('a dry run says what would be done, and then it is', async () => {
  const only = 'tables: ["public.dry"]';
  await using pipeline = await makePipeline({ url: server.url, name: 'dry', tables: '["public.dry"]' });
  await makeSmallFiles(pipeline, 'dry');
  const before = await rowsOf(pipeline, 'dry');
  const root = join(pipeline.directory, 'tables', 'public', 'dry', 'data');
  const stray = join(root, 'stray.parquet');
  await mkdir(root, { recursive: true });
  await writeFile(stray, 'a stray file');
  const old = new Date(Date.now() - 4 * DAY_MS);
  await utimes(stray, old, old);
  const { version } = (await readTable(join(pipeline.directory, 'tables'), 'dry')).state;
  const dry = newsOf((await pipeline.run(['maintain', '--json', 'pipeline.yaml', '--dry-run'])).stdout);
  const planned = dry.filter(({ kind }) => kind === 'rewritten');
  assert.ok(planned.length > 0, JSON.stringify(dry));
  for (const one of planned) assert.deepEqual([one.table, one.dryRun, one.made], ['public.dry', true, null]);
  const orphans = dry.find(({ kind }) => kind === 'orphans')?.orphans as { uri: string; bytes: number }[];
  assert.deepEqual(
    orphans.map(({ uri, bytes }) => [uri.endsWith('/stray.parquet'), bytes]),
    [[true, 12]],
  );
  assert.equal((await readTable(join(pipeline.directory, 'tables'), 'dry')).state.version, version, only);
  const { stdout } = await pipeline.run(['maintain', 'pipeline.yaml', 'public.dry']);
  assert.match(
    stdout,
    /^public\.dry: \d+ files of is_current=(true|false), .* merged into 1 file \(.*: small files$/m,
  );
  assert.match(stdout, /^public\.dry: 1 file that nothing names deleted \(12 bytes\)$/m);
  assert.ok(!(await readdir(root)).includes('stray.parquet'));
  assert.deepEqual(await rowsOf(pipeline, 'dry'), before);
  const { files } = await readTable(join(pipeline.directory, 'tables'), 'dry');
  assert.deepEqual(
    files.map(({ content }) => content),
    ['data', 'data'],
  );
  const again = newsOf((await pipeline.run(['maintain', '--json', 'pipeline.yaml'])).stdout);
  assert.deepEqual(again, [{ table: 'public.dry', dryRun: false, kind: 'nothing' }]);
  await pipeline.run(['maintain', 'pipeline.yaml', 'public.nope'], 2);
});

test('two at once, beside a daemon that folds: all end well, and no row is lost or twice', async () => {
  await using pipeline = await makePipeline({ url: server.url, name: 'race', tables: '["public.race"]' });
  await makeSmallFiles(pipeline, 'race');
  const daemon = pipeline.start(['run', 'pipeline.yaml']);
  await daemon.saw(/streaming/);
  const load = (async () => {
    for (let round = 0; round < 20; round++) await server.query('update race set n = n + 1 where id <= 5');
  })();
  const words = ['maintain', 'pipeline.yaml'];
  await Promise.all([pipeline.run(words), pipeline.run(words), load]);
  await pipeline.run(words);
  await endOf(daemon);
  await pipeline.run(UNTIL);
  const rows = await server.query('select id, n from race order by id');
  const { rows: stored } = await readTable(join(pipeline.directory, 'tables'), 'race');
  assert.deepEqual(
    stored
      .filter((row) => row.is_current === 'true')
      .map(({ id, n }) => `${id} ${n}`)
      .toSorted(),
    rows.map(({ id, n }) => `${id} ${n}`).toSorted(),
  );
  // Each of the first five has every value that it ever had, once.
  for (const row of rows.slice(0, 5)) {
    const values = stored.filter(({ id }) => id === String(row.id)).map(({ n }) => Number(n));
    assert.deepEqual(
      values.toSorted((a, b) => a - b),
      Array.from({ length: Number(row.n) + 1 }, (_, at) => at),
    );
  }
});

test('killed before or after it commits, it leaves the table as it was; the next one finishes', async () => {
  await using pipeline = await makePipeline({ url: server.url, name: 'killed', tables: '["public.killed"]' });
  await makeSmallFiles(pipeline, 'killed');
  const before = await rowsOf(pipeline, 'killed');
  for (const side of ['before', 'after']) {
    const killed = pipeline.start(['maintain', 'pipeline.yaml'], { VARVE_CRASH_AT: `table.commit:${side}` });
    assert.equal((await killed.finished).signal, 'SIGKILL');
    assert.deepEqual(await rowsOf(pipeline, 'killed'), before);
  }
  await pipeline.run(['maintain', 'pipeline.yaml']);
  assert.deepEqual(await rowsOf(pipeline, 'killed'), before);
});
