// The commands that write or ask, over tables in an object store: maintain, erase and export killed at each
// kind of call, pause and resume, asof and history; read back by DuckDB and by the objects' own bytes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type S3Kill, type S3Shop, setS3Shop } from '../support/s3-shop.ts';
import { UNTIL } from '../support/stage.ts';

let shop: S3Shop;
before(async () => {
  shop = await setS3Shop();
  await shop.stage.pipeline.run(UNTIL);
});
after(() => shop[Symbol.asyncDispose]());

const FILE = 'pipeline.yaml';
const DATA = { method: 'PUT', name: /public\/people\/data\/.*\.parquet$/ };
const MANIFEST = { method: 'PUT', name: /public\/people\/metadata\/.*\.avro$/ };
const VERSION = { method: 'PUT', name: /public\/people\/metadata\/v\d+\.metadata\.json$/ };
const COMMIT: readonly S3Kill[] = [DATA, MANIFEST, VERSION].flatMap((at) => [
  { ...at, done: false },
  { ...at, done: true },
]);
const described = ({ method, name, done }: S3Kill): string =>
  `${done ? 'after' : 'before'} ${method} ${name.source.replaceAll('\\', '')}`;

const jsonOf = (stdout: string): Record<string, unknown>[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const ask = async (...words: string[]): Promise<Record<string, unknown>[]> =>
  jsonOf((await shop.stage.pipeline.run([...words, '--json'])).stdout);

test('maintain, killed at any call of a commit, changes no row, and the next one finishes', async () => {
  const words = ['maintain', FILE];
  await shop.work(4);
  for (const at of COMMIT) {
    const rows = await shop.rows();
    await shop.kill(words, at);
    assert.deepEqual(await shop.rows(), rows, described(at));
  }
  await shop.work(3);
  const rows = await shop.rows();
  const news = await ask(...words);
  assert.ok(
    news.some(({ kind }) => kind === 'rewritten'),
    JSON.stringify(news),
  );
  assert.deepEqual(await shop.rows(), rows);
  assert.deepEqual(
    (await ask(...words)).map(({ kind }) => kind),
    ['nothing'],
  );
});

test('pause and resume: the table waits in the store, and goes on with every version', async () => {
  const { pipeline, sql } = shop.stage;
  const told = await pipeline.run(['pause', FILE, 'people']);
  assert.match(told.stdout, /^public\.people is paused since/);
  const held = (await shop.load()).version;
  await sql("update people set city = 'while paused' where id = 1");
  await pipeline.run(UNTIL);
  assert.equal((await shop.load()).version, held);
  await pipeline.run(['maintain', FILE, 'people'], 1);
  assert.match((await pipeline.run(['resume', FILE, 'people'])).stdout, /goes on from the offsets/);
  await pipeline.run(UNTIL);
  assert.match((await shop.rows()).join('\n'), /while paused/);
});

test('asof and history show what was, and what is', async () => {
  const { sql, pipeline } = shop.stage;
  const [then] = await ask('asof', FILE, 'people', '--where', 'id = 2');
  await sql("update people set city = 'Elsewhere' where id = 2");
  await pipeline.run(UNTIL);
  const [now] = await ask('asof', FILE, 'people', '--where', 'id = 2');
  assert.equal(now?.city, 'Elsewhere');
  const [again] = await ask('asof', FILE, 'people', '--where', 'id = 2', '--at', String(then?._order));
  assert.equal(again?.city, then?.city);
  const cities = JSON.stringify(await ask('history', FILE, 'people', '2'));
  for (const city of [then?.city, 'Elsewhere', 'City 2']) assert.ok(cities.includes(String(city)), cities);
});

type Manifest = { rows: number; files: { path: string; bytes: number; sha256: string }[] };

test('export: from the store to a directory and to the store; what is cut off has no manifest', async () => {
  const { pipeline } = shop.stage;
  await pipeline.run(['export', FILE, 'people', '--to', 'out', '--history']);
  const out = join(pipeline.directory, 'out');
  const manifest = JSON.parse(await readFile(join(out, 'manifest.json'), 'utf8')) as Manifest;
  assert.equal(manifest.rows, (await shop.rows()).length);
  const words = ['export', FILE, 'people', '--to', `s3://${shop.bucket}/out`, '--history'];
  for (const done of [false, true]) {
    await shop.kill(words, { method: 'PUT', name: /\/out\/.*\.parquet$/, done });
    const left = await shop.objects('out/');
    assert.ok(!left.some((uri) => uri.endsWith('manifest.json')), left.join());
    const { stderr } = await pipeline.run(words, 2);
    assert.match(stderr, /is not empty/);
    await shop.remove('out/');
  }
  const both = await Promise.all([pipeline.start(words).finished, pipeline.start(words).finished]);
  assert.deepEqual(both.map(({ code }) => code).toSorted(), [0, 2], both.map(({ stderr }) => stderr).join());
  const stored = JSON.parse(String(await shop.read(`out/manifest.json`))) as Manifest;
  assert.equal(stored.rows, manifest.rows);
  for (const { path, bytes, sha256 } of stored.files) {
    const body = await shop.read(`out/${path}`);
    assert.equal(body.length, bytes);
    assert.equal(createHash('sha256').update(body).digest('hex'), sha256);
  }
  const named = stored.files.map(({ path }) => `s3://${shop.bucket}/out/${path}`);
  assert.deepEqual(await shop.objects('out/'), [`s3://${shop.bucket}/out/manifest.json`, ...named].sort());
  const local = (await readdir(out)).filter((name) => name !== 'manifest.json');
  assert.equal(local.length, named.length);
});

test('erase, killed at any call, is done again to the end: no object holds the row', async () => {
  const { pipeline } = shop.stage;
  const words = ['erase', FILE, 'people', '5', '--yes', '--json'];
  assert.ok((await shop.objects('tables/', 'Secret Name 5')).length > 0);
  const gone = { method: 'DELETE', name: /public\/people.*\.(parquet|avro|json)$/ };
  const others = (await shop.rows()).filter((row) => !row.includes('Secret Name 5'));
  for (const at of [...COMMIT, { ...gone, done: false }, { ...gone, done: true }]) {
    await shop.kill(words, at);
    const rows = (await shop.rows()).filter((row) => !row.includes('Secret Name 5'));
    assert.deepEqual(rows, others, described(at));
  }
  const [done] = jsonOf((await pipeline.run(words)).stdout);
  assert.equal(done?.state, 'proved');
  assert.deepEqual(await shop.objects('tables/', 'Secret Name 5'), []);
  assert.deepEqual(await shop.rows(), others);
  await shop.work(1);
  assert.deepEqual(await ask('history', FILE, 'people', '5'), []);
});
