// The table of types in the docs is what the code does.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import type pg from 'pg';
import { Catalog } from '../../../connectors/postgres/catalog.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { encodeWith, openPinned } from './types-encoding.ts';

const docs = readFileSync(join(import.meta.dirname, '../../../docs/types.md'), 'utf8');
const rows = [...docs.matchAll(/^\| `([^`]+)` +\| `([a-z0-9]+)` +\| (?:`([\w.]+)`)? *\|/gm)].map(
  ([, type, connect, name]) => ({ type: type as string, connect, name }),
);

let server: TestPostgres;

before(async () => {
  server = await startPostgres({ major: 15 });
});

after(async () => {
  await server[Symbol.asyncDispose]();
});

const openCatalog = (client: pg.Client): Promise<Catalog> =>
  Catalog.open({ client, selects: () => true, known: () => null });

it('every type of the docs is what they say', async () => {
  assert.ok(rows.length > 50, `${rows.length} rows`);
  const client = await openPinned(server.url);
  try {
    for (const extension of ['hstore', 'ltree', 'citext', 'isn'])
      await client.query(`CREATE EXTENSION ${extension}`);
    await client.query(`CREATE TABLE t (${rows.map(({ type }, at) => `c${at} ${type}`).join(', ')})`);
    const [found] = await (await openCatalog(client)).tables();
    const columns = found?.table.schema.columns.map(({ type }, at) => ({
      type: rows[at]?.type,
      connect: type.type,
      name: type.name,
    }));
    assert.deepEqual(columns, rows);
  } finally {
    await client.end();
  }
});

it('a database that holds any bytes has its strings looked at', async () => {
  await server.query("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0");
  const url = new URL(server.url);
  url.pathname = '/bytes';
  const client = await openPinned(url.href);
  try {
    await client.query('CREATE TABLE t (v text)');
    const [found] = await (await openCatalog(client)).tables();
    const encode = found?.table.encode[0];
    assert.deepEqual(
      [encodeWith(encode, Uint8Array.of(0xfc)).isExact, encodeWith(encode, 'ü').isExact],
      [false, true],
    );
  } finally {
    await client.end();
  }
});
