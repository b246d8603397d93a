// `varve pause` and `varve resume FILE TABLE`: one table waits, whoever runs and however often it is
// restarted; the others and the capture go on; then it goes on from where it stands, whatever others did
// meanwhile.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { UNTIL } from '../support/stage.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';
import { endOf, makePipeline, type TestPipeline } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const tablesOf = ({ directory }: TestPipeline): string => join(directory, 'tables');

const current = async (pipeline: TestPipeline, table: string): Promise<string[]> => {
  const { rows } = await readTable(tablesOf(pipeline), table);
  return rows
    .filter((row) => row.is_current === 'true')
    .map(({ id, n }) => `${id} ${n}`)
    .toSorted();
};

const inSource = async (table: string): Promise<string[]> =>
  (await server.query(`select id, n from ${table}`)).map(({ id, n }) => `${id} ${n}`).toSorted();

const isFolded = async (pipeline: TestPipeline, table: string): Promise<boolean> =>
  (await current(pipeline, table)).join() === (await inSource(table)).join();

type Shown = { table: string; waiting: number; summary: { pausedSince: string | null } };

const statusOf = async (pipeline: TestPipeline, table: string): Promise<Shown> => {
  const { stdout } = await pipeline.run(['status', '--json', 'pipeline.yaml']);
  const { tables } = JSON.parse(stdout) as { tables: Shown[] };
  const found = tables.find((one) => one.table === `public.${table}`);
  assert.ok(found);
  return found;
};

const makeTables = async (one: string, other: string): Promise<string> => {
  for (const name of [one, other]) {
    await server.query(`create table ${name} (id int primary key, n int)`);
    await server.query(`insert into ${name} select g, 0 from generate_series(1, 10) g`);
  }
  return `["public.${one}", "public.${other}"]`;
};

const change = async (...tables: string[]): Promise<void> => {
  for (const table of tables) await server.query(`update ${table} set n = n + 1 where id <= 3`);
};

test('a paused table waits, through kills and restarts, and the other goes on', async () => {
  const tables = await makeTables('quiet', 'busy');
  await using pipeline = await makePipeline({ url: server.url, name: 'pausing', tables });
  await pipeline.run(['pause', 'pipeline.yaml', 'quiet'], 1);
  await pipeline.run(UNTIL);
  const daemon = pipeline.start(['run', 'pipeline.yaml']);
  await daemon.saw(/streaming/);
  await change('quiet', 'busy');
  await until(async () => (await isFolded(pipeline, 'quiet')) && (await isFolded(pipeline, 'busy')));
  const told = await pipeline.run(['pause', 'pipeline.yaml', 'quiet']);
  assert.match(told.stdout, /^public\.quiet is paused since \d{4}-/);
  const held = (await readTable(tablesOf(pipeline), 'quiet')).state.version;
  await change('quiet', 'busy');
  await until(() => isFolded(pipeline, 'busy'));
  await daemon.saw(/the table is paused/);
  // Told again, it is as it was.
  const again = await pipeline.run(['pause', 'pipeline.yaml', 'public.quiet']);
  assert.equal(again.stdout, told.stdout);
  daemon.kill('SIGKILL');
  await daemon.finished;
  await pipeline.run(UNTIL);
  await change('quiet', 'busy');
  await pipeline.run(UNTIL);
  assert.ok(await isFolded(pipeline, 'busy'));
  assert.equal((await readTable(tablesOf(pipeline), 'quiet')).state.version, held);
  const shown = await statusOf(pipeline, 'quiet');
  assert.ok(shown.summary.pausedSince !== null && shown.waiting > 0, JSON.stringify(shown));
  assert.match((await pipeline.run(['status', 'pipeline.yaml'])).stdout, /public\.quiet is paused since/);
  const kept = await pipeline.run(['maintain', 'pipeline.yaml']);
  assert.match(kept.stdout, /^public\.quiet: .* is paused since/m);
  await pipeline.run(['maintain', 'pipeline.yaml', 'quiet'], 1);
  const second = pipeline.start(['run', 'pipeline.yaml']);
  await second.saw(/the table is paused/);
  const resumed = await pipeline.run(['resume', 'pipeline.yaml', 'quiet']);
  assert.match(resumed.stdout, /^public\.quiet goes on from the offsets that it has \(0: \d+\)/);
  await until(() => isFolded(pipeline, 'quiet'));
  await endOf(second);
  assert.equal((await statusOf(pipeline, 'quiet')).summary.pausedSince, null);
  const versions = rowTexts(await readTable(tablesOf(pipeline), 'quiet'), ['id', 'n']);
  assert.equal(versions.length, 10 + 3 * 3, versions.join());
  assert.equal(new Set(versions).size, versions.length);
});

test('after a rollback by another writer, a resumed table has every version again', async () => {
  const tables = await makeTables('rolled', 'other');
  await using pipeline = await makePipeline({ url: server.url, name: 'rolling', tables });
  for (let round = 0; round < 3; round++) {
    await pipeline.run(UNTIL);
    await change('rolled');
  }
  await pipeline.run(UNTIL);
  const before = rowTexts(await readTable(tablesOf(pipeline), 'rolled'), ['id', 'n', 'is_current']);
  await pipeline.run(['pause', 'pipeline.yaml', 'rolled']);
  const { metadata, state } = await readTable(tablesOf(pipeline), 'rolled');
  // As another engine does it: a version more, that stands on an older snapshot.
  const json = JSON.parse(await readFile(metadata, 'utf8')) as Record<string, unknown>;
  const older = state.metadata.snapshots[1]?.['snapshot-id'];
  json['current-snapshot-id'] = older;
  json.refs = { main: { 'snapshot-id': older, type: 'branch' } };
  const next = state.version + 1;
  await writeFile(join(metadata, `../v${next}.metadata.json`), JSON.stringify(json));
  await writeFile(join(metadata, '../version-hint.text'), String(next));
  const rolled = rowTexts(await readTable(tablesOf(pipeline), 'rolled'), ['id', 'n', 'is_current']);
  assert.notDeepEqual(rolled, before);
  await pipeline.run(['resume', 'pipeline.yaml', 'rolled']);
  await pipeline.run(UNTIL);
  assert.deepEqual(
    rowTexts(await readTable(tablesOf(pipeline), 'rolled'), ['id', 'n', 'is_current']),
    before,
  );
});
