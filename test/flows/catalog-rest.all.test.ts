// The whole line with its commits through a real REST catalog: killed on both sides of a commit, a proxy that
// loses answers, other engines that read by that catalog and rewrite a paused table through it.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { openRestCatalog, type RestCatalog } from '../../src/sinks/parquet/iceberg/catalog-rest.ts';
import {
  liveFiles,
  loadTable,
  type TableIo,
  type TableState,
} from '../../src/sinks/parquet/iceberg/table-state.ts';
import { runAttached } from '../support/attached.ts';
import { startNessie, type TestNessie } from '../support/nessie.ts';
import { restChoices } from '../support/nessie-place.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { openTestStore, S3_ENVIRONMENT, S3_USER, startS3, type TestS3 } from '../support/s3.ts';
import { type S3Call, startS3Proxy } from '../support/s3-proxy.ts';
import { type Stage, setStage } from '../support/stage.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

let server: TestPostgres;
let s3: TestS3;
let nessie: TestNessie;
let proxy: Awaited<ReturnType<typeof startS3Proxy>>;
let stage: Stage;
let catalog: RestCatalog;
let io: TableIo;

before(async () => {
  Object.assign(process.env, S3_ENVIRONMENT);
  [server, s3] = await Promise.all([startPostgres({ major: 17 }), startS3()]);
  nessie = await startNessie(s3);
  proxy = await startS3Proxy(nessie);
  const files = `{endpoint: "${s3.endpoint}", region: us-east-1}`;
  const through = `{kind: rest, uri: "${proxy.endpoint}/iceberg", warehouse: lake, timeout_ms: 5000}`;
  stage = await setStage(server, {
    name: 'shop',
    schema: `create table public.items (id int primary key, v text);
      insert into public.items select n, 'first_' || n from generate_series(1, 5) n`,
    location: `${nessie.location}\n  s3: ${files}\n  catalog: ${through}`,
  });
  const store = openTestStore(nessie.location, { s3: { endpoint: s3.endpoint }, copies: null });
  catalog = openRestCatalog(restChoices(nessie.uri));
  io = { store, catalog, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
});
after(async () => {
  catalog.close();
  await stage[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await nessie[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const loadItems = async (): Promise<TableState> => {
  const state = await loadTable(io, `${nessie.location}/public/items`);
  assert.ok(state !== null);
  return state;
};

/** Current rows by id, as an engine finds them that is told what `varve attach` prints. */
const readBy = async (engine: string): Promise<[number, string][]> => {
  const { stdout } = await stage.pipeline.run(['attach', 'pipeline.yaml', 'items', '--engine', engine]);
  assert.ok(!stdout.includes(S3_USER.secret), 'a secret is printed');
  const rows = (await runAttached[engine]?.(stdout)) ?? [];
  return rows.sort(([one], [two]) => one - two);
};

const wanted = async (): Promise<[number, string][]> =>
  (await stage.sql('select id, v from public.items order by id')).map(({ id, v }) => [Number(id), String(v)]);

const isCommit = ({ method, url }: S3Call): boolean => method === 'POST' && url.includes('/tables/items');

test('check tries the catalog, and says why it will not do', async () => {
  const { stdout } = await stage.pipeline.start(['check', 'pipeline.yaml']).finished;
  assert.match(stdout, /ok .*files are written/);
  proxy.plan = () => ({ kind: 'answer', status: 403, code: '', done: false, body: '{}' });
  const denied = await stage.pipeline.start(['check', 'pipeline.yaml']).finished;
  proxy.plan = () => null;
  assert.match(denied.stdout + denied.stderr, /FAIL .*catalog at .* does not allow it/);
});

test('tables are made in the catalog, and engines read them by it as they are told', async () => {
  await stage.pipeline.run(UNTIL);
  const rows = await wanted();
  assert.equal(rows.length, 5);
  for (const engine of ['pyiceberg', 'duckdb']) assert.deepEqual(await readBy(engine), rows, engine);
});

test('killed on both sides of a commit, and answers lost: every change is there once', async () => {
  await stage.sql(`update public.items set v = 'second' where id <= 3`);
  for (const point of ['table.commit:before', 'table.commit:after']) {
    await stage.sql(`insert into public.items select max(id) + 1, '${point}' from public.items`);
    const { signal, stderr } = await stage.pipeline.start(UNTIL, { VARVE_CRASH_AT: point }).finished;
    assert.equal(signal, 'SIGKILL', stderr);
  }
  await stage.sql('delete from public.items where id = 5');
  let commits = 0;
  proxy.plan = (call) => {
    if (!isCommit(call)) return null;
    commits++;
    return commits === 1 ? { kind: 'cut', done: true } : null;
  };
  await stage.pipeline.run(UNTIL);
  proxy.plan = () => null;
  assert.ok(commits > 0);
  assert.deepEqual(await readBy('pyiceberg'), await wanted());
  const live = [...(await liveFiles(io.store, await loadItems())).values()];
  const rows = live.reduce((sum, { content, records }) => sum + (content === 'data' ? records : -records), 0);
  // Five at first, three updates, two inserts; a delete only closes.
  assert.equal(rows, 10);
});

test('the commands ask through the catalog', async () => {
  const asof = await stage.pipeline.run(['asof', 'pipeline.yaml', 'public.items', '--json']);
  assert.equal(asof.stdout.trim().split('\n').length, (await wanted()).length);
  const history = await stage.pipeline.run(['history', 'pipeline.yaml', 'public.items', '1', '--json']);
  assert.match(history.stdout, /first_1/);
  assert.match(history.stdout, /second/);
  await stage.pipeline.run(['maintain', 'pipeline.yaml', 'public.items']);
  assert.deepEqual(await readBy('duckdb'), await wanted());
});

test('a paused table goes on after another engine has rewritten it', async () => {
  await stage.pipeline.run(['pause', 'pipeline.yaml', 'public.items']);
  const paused = await loadItems();
  const offsets = paused.snapshot?.summary['varve.offsets'];
  assert.ok(offsets !== undefined && offsets !== '');
  assert.ok(paused.properties['varve.paused'] !== undefined);
  const { stdout } = await stage.pipeline.run(['attach', 'pipeline.yaml', 'items', '--engine', 'spark']);
  const options = "options => map('rewrite-all', 'true')";
  const statement = `CALL shop.system.rewrite_data_files(table => 'public.items', ${options})`;
  await runAttached.spark?.(`${stdout.slice(0, stdout.lastIndexOf('-e '))}-e "${statement}"`);
  const rewritten = await loadItems();
  assert.notEqual(rewritten.snapshot?.['snapshot-id'], paused.snapshot?.['snapshot-id']);
  await stage.sql(`update public.items set v = 'third' where id = 1`);
  await stage.pipeline.run(['resume', 'pipeline.yaml', 'public.items']);
  await stage.pipeline.run(UNTIL);
  assert.deepEqual(await readBy('pyiceberg'), await wanted());
});

test('erasure leaves nothing of a row, and nothing of the catalog is lost', async () => {
  const erased = await stage.pipeline.run(['erase', 'pipeline.yaml', 'public.items', '2', '--yes', '--json']);
  assert.doesNotMatch(erased.stdout, /erase_incomplete/);
  assert.deepEqual(
    await readBy('duckdb'),
    (await wanted()).filter(([id]) => id !== 2),
  );
});
