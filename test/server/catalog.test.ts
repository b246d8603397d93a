// The catalog beside a running pipeline, asked by plain HTTP: what every route answers, page by page, and
// what clients are told that ask for what is not there or want to write.
import assert from 'node:assert/strict';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { pickPort } from '../support/postgres-process.ts';
import { RUN, type Stage, setStage } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';
import { endOf, type Running } from '../support/varve.ts';

const SCHEMA = `
  create table public.items (id int primary key, v text);
  insert into public.items select g, 'first ' || g from generate_series(1, 5) g;
  create table public.b (id int primary key);
  create table public."Odd name.x" (id int primary key);
  create schema "Sales-EU";
  create table "Sales-EU"."order" (id int primary key);`;

/** As the catalog calls them, in its order: directories' names. */
const PUBLIC = ['Odd_x20_name_x2E_x', 'b', 'items'];
const NAMESPACES = ['Sales_x2D_EU', 'public'];

const server = await startPostgres({ major: 17 });
let stage: Stage;
let running: Running;
let base = '';

type Json = Record<string, unknown>;
type Reply = { code: number; headers: Headers; text: string; json: Json };

const ask = async (path: string, init: RequestInit = {}): Promise<Reply> => {
  const response = await fetch(`${base}${path}`, init);
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text) as Json);
  return { code: response.status, headers: response.headers, text, json };
};

const assertRefused = ({ code, json }: Reply, expected: number, type: string): void => {
  const { error } = json as { error: { message: string; type: string; code: number } };
  assert.deepEqual([code, error.code, error.type], [expected, expected, type]);
  assert.ok(error.message.length > 10, 'says nothing');
};

const namesIn = ({ code, json }: Reply): string[] => {
  assert.equal(code, 200);
  return (json.identifiers as { name: string }[]).map(({ name }) => name);
};

before(async () => {
  const port = await pickPort();
  base = `http://127.0.0.1:${port}/v1`;
  stage = await setStage(server, {
    name: 'shop',
    schema: SCHEMA,
    tables: '["*.*"]',
    extra: `http:\n  listen: 127.0.0.1:${port}\n`,
  });
  running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  // Empty tables are made with their first change.
  await stage.sql(`insert into public.b values (1); insert into public."Odd name.x" values (1);
    insert into "Sales-EU"."order" values (1)`);
  const [eu, own] = NAMESPACES;
  const paths = [...PUBLIC.map((name) => `${own}/tables/${name}`), `${eu}/tables/order`];
  for (const path of paths)
    for (let rows = false; !rows; )
      rows = /"current-snapshot-id":\d/.test((await ask(`/namespaces/${path}`)).text);
});
after(async () => {
  await endOf(running);
  await stage[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test('config names what is answered, and the one warehouse', async () => {
  for (const query of ['', '?warehouse=', '?warehouse=shop']) {
    const { code, json, headers } = await ask(`/config${query}`);
    assert.deepEqual([code, headers.get('content-type')], [200, 'application/json']);
    assert.deepEqual(json.defaults, {});
    const endpoints = json.endpoints as string[];
    assert.ok(endpoints.includes('GET /v1/{prefix}/namespaces/{namespace}/tables/{table}'));
    assert.ok(endpoints.every((one) => /^(GET|HEAD) \/v1\/\{prefix\}\/namespaces/.test(one)));
  }
  assertRefused(await ask('/config?warehouse=other'), 404, 'NoSuchWarehouseException');
});

test('namespaces and tables go by the names of their directories, companions are not listed', async () => {
  const all = await ask('/namespaces');
  assert.deepEqual(all.json, { namespaces: NAMESPACES.map((name) => [name]), 'next-page-token': null });
  assert.deepEqual((await ask('/namespaces?parent=')).json, all.json);
  assert.deepEqual((await ask('/namespaces?parent=public')).json.namespaces, []);
  assertRefused(await ask('/namespaces?parent=nope'), 404, 'NoSuchNamespaceException');
  const tables = await ask('/namespaces/public/tables');
  assert.deepEqual(tables.json, {
    identifiers: PUBLIC.map((name) => ({ namespace: ['public'], name })),
    'next-page-token': null,
  });
  assert.deepEqual((await ask('/namespaces/Sales_x2D_EU')).json, {
    namespace: ['Sales_x2D_EU'],
    properties: { 'varve.schema': 'Sales-EU' },
  });
  assertRefused(await ask('/namespaces/nope'), 404, 'NoSuchNamespaceException');
  assertRefused(await ask('/namespaces/nope/tables'), 404, 'NoSuchNamespaceException');
  assertRefused(await ask('/namespaces/public/tables/items__varve_state'), 404, 'NoSuchTableException');
});

test('pages: a token goes on where the page before ended, the last one says so', async () => {
  const seen: string[] = [];
  let token: string | null = '';
  for (let pages = 0; token !== null; pages++) {
    assert.ok(pages < 3, 'it does not end');
    const reply: Reply = await ask(`/namespaces/public/tables?pageSize=1&pageToken=${token}`);
    const names = namesIn(reply);
    assert.equal(names.length, 1);
    seen.push(...names);
    token = reply.json['next-page-token'] as string | null;
  }
  assert.deepEqual(seen, PUBLIC);
  const [first] = PUBLIC;
  const page = await ask('/namespaces/public/tables?pageSize=1&pageToken=');
  assert.deepEqual(namesIn(page), [first]);
  // Without a token nobody asked for pages.
  assert.deepEqual(namesIn(await ask('/namespaces/public/tables?pageSize=1')), PUBLIC);
  assert.deepEqual((await ask('/namespaces?pageToken=&pageSize=1')).json.namespaces, [[NAMESPACES[0]]]);
  for (const query of ['pageToken=&pageSize=0', 'pageToken=&pageSize=x', 'pageToken=%21', 'pageToken=_w'])
    assertRefused(await ask(`/namespaces/public/tables?${query}`), 400, 'BadRequestException');
});

test('HEAD says whether it is there, without a body', async () => {
  const head = async (path: string): Promise<number> => (await ask(path, { method: 'HEAD' })).code;
  assert.equal(await head('/namespaces/public'), 204);
  assert.equal(await head('/namespaces/nope'), 404);
  assert.equal(await head('/namespaces/public/tables/items'), 204);
  assert.equal(await head('/namespaces/public/tables/nope'), 404);
  assert.equal(await head('/namespaces/nope/tables/items'), 404);
  assert.equal(await head('/config'), 404);
});

test('a table that is not there is a missing table, wherever it was looked for', async () => {
  const paths = ['public/tables/nope', 'nope/tables/items', 'public%1Fitems/tables/snapshots'];
  for (const path of [...paths, 'public/tables/..%2Fitems', 'public/tables/%00'])
    assertRefused(await ask(`/namespaces/${path}`), 404, 'NoSuchTableException');
  for (const path of ['', '/nothing', '/namespaces/public/views', '/namespaces/public/tables/items/plan'])
    assertRefused(await ask(`${path === '' ? '/' : path}`), 404, 'NotFoundException');
  assertRefused(await ask('/namespaces/%ff/tables/x'), 400, 'BadRequestException');
});

test('whatever writes is refused, and nothing has changed', async () => {
  const before = await ask('/namespaces/public/tables/items');
  const body = JSON.stringify({ requirements: [], updates: [{ action: 'set-properties' }] });
  const writes: [string, string][] = [
    ['POST', '/namespaces'],
    ['DELETE', '/namespaces/public'],
    ['POST', '/namespaces/public/properties'],
    ['POST', '/namespaces/public/tables'],
    ['POST', '/namespaces/public/register'],
    ['POST', '/namespaces/public/tables/items'],
    ['DELETE', '/namespaces/public/tables/items?purgeRequested=true'],
    ['POST', '/namespaces/public/tables/items/metrics'],
    ['POST', '/tables/rename'],
    ['POST', '/transactions/commit'],
    ['POST', '/oauth/tokens'],
    ['PUT', '/config'],
  ];
  for (const [method, path] of writes) {
    const refused = await ask(path, method === 'DELETE' ? { method } : { method, body });
    assertRefused(refused, 405, 'UnsupportedOperationException');
    assert.equal(refused.headers.get('allow'), 'GET, HEAD');
  }
  const after = await ask('/namespaces/public/tables/items');
  assert.deepEqual(after.json, before.json);
});

test('a table is its newest metadata file, byte for byte; 304 where the client has it', async () => {
  const path = '/namespaces/public/tables/items';
  const { metadata } = await readTable(stage.tables, 'items');
  const text = await readFile(metadata, 'utf8');
  const loaded = await ask(path);
  assert.equal(loaded.text, `{"metadata-location":"file://${metadata}","metadata":${text},"config":{}}`);
  const etag = loaded.headers.get('etag') ?? '';
  const same = await ask(path, { headers: { 'if-none-match': etag } });
  assert.deepEqual([same.code, same.text, same.headers.get('etag')], [304, '', etag]);
  await stage.sql('insert into public.items values (100)');
  for (let code = 304; code === 304; )
    ({ code } = await ask(path, { headers: { 'if-none-match': `"other", ${etag}` } }));
  const later = await ask(path);
  assert.notEqual(later.headers.get('etag'), etag);
  assert.notEqual(later.json['metadata-location'], loaded.json['metadata-location']);
});

/** Writes the version after the newest of public.b; every number of the id's stays as it is written here. */
const writeForeignVersion = async (id: string): Promise<string> => {
  const { metadata, state } = await readTable(stage.tables, 'b');
  const old = String(state.snapshot?.['snapshot-id']);
  const next = metadata.replace(/v\d+\.metadata/, `v${state.version + 1}.metadata`);
  const text = (await readFile(metadata, 'utf8')).replaceAll(`:${old}`, `:${id}`).replace('{', '{\n  ');
  await writeFile(next, text);
  return text;
};

test("ids of 63 bits stay what they are; a damaged table is that table's error alone", async () => {
  const text = await writeForeignVersion('9007199254740993123');
  const loaded = await ask('/namespaces/public/tables/b');
  assert.ok(loaded.text.includes(text), 'the text is not the same');
  assert.match(loaded.text, /9007199254740993123/);

  const { metadata } = await readTable(stage.tables, 'Odd name.x');
  await rename(metadata, join(metadata, '../moved'));
  await writeFile(metadata, '{"format-version": 2');
  assertRefused(await ask(`/namespaces/public/tables/${PUBLIC[0]}`), 500, 'InternalServerError');
  assert.deepEqual(namesIn(await ask('/namespaces/public/tables')), PUBLIC);
  assert.equal((await ask('/namespaces/public/tables/items')).code, 200);
  await rename(join(metadata, '../moved'), metadata);
});
