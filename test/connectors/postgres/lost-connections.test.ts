// Single connections of a source that break or fall silent while the others live: each is noticed by whoever
// needs it, and none keeps a source from closing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openClient, parseConnection } from '../../../connectors/postgres/connection.ts';
import { copyOut } from '../../../connectors/postgres/copy-stream.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { startProxy } from '../../support/tcp-proxy.ts';
import { openTestSource } from './source-reading.ts';

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

test('a connection for questions that broke is replaced by the next question', async () => {
  const source = await openTestSource(server);
  const before = await source.end();
  await server.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'varve_test'",
  );
  let found = '';
  for (let asked = 0; asked < 100 && found === ''; asked++) {
    found = await source.end().catch(() => '');
    await sleep(10);
  }
  assert.ok(found >= before, 'the broken connection was asked again and again');
  await source.close();
});

test('a copy that falls silent is given up', async () => {
  await server.query(
    `CREATE TABLE wide AS SELECT g AS id, repeat('w', 1000) AS v FROM generate_series(1, 50000) g`,
  );
  const proxy = await startProxy(server.port, { bytesPerTick: 50_000, tickMs: 10 });
  const url = server.url.replace(`:${server.port}/`, `:${proxy.port}/`);
  const options = { applicationName: 'varve_test', statementTimeoutMs: 0 };
  const client = await openClient(parseConnection({ url }), options);
  const bunches = copyOut(client, {
    sql: 'COPY wide TO STDOUT',
    columns: 2,
    signal: new AbortController().signal,
    mapError: (cause) => cause as Error,
    silenceMs: 300,
  });
  assert.equal((await bunches.next()).done, false);
  proxy.freeze();
  await assert.rejects(async () => {
    for (;;) if ((await bunches.next()).done) return;
  }, /fallen silent/);
  await client.end();
  proxy.close();
});

test('a source whose connections are dead closes all the same', async () => {
  const proxy = await startProxy(server.port);
  const source = await openTestSource(server, {
    url: server.url.replace(`:${server.port}/`, `:${proxy.port}/`),
  });
  await source.tables();
  proxy.freeze();
  const asked = assert.rejects(source.end());
  await source.close();
  await asked;
  proxy.close();
});
