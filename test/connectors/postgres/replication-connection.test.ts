// How connections are opened: addresses, TLS, the settings that fix how values look, and what failures
// become.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import {
  type ConnectionOptions,
  openClient,
  parseConnection,
} from '../../../connectors/postgres/connection.ts';
import { mapPostgresError, sqlStateOf } from '../../../connectors/postgres/error-map.ts';
import { VarveError } from '../../../src/errors.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { closeReaders, collectAll, makeSlot, openReader, rowsOf } from './log-reader-harness.ts';

afterEach(closeReaders);

const invalid = { name: 'VarveError', kind: 'config_invalid' };

describe('options', () => {
  test('a url and its parts; parts win', () => {
    const settings = parseConnection({
      url: 'postgres://u%40x:p%2Fw@db:6000/shop?sslmode=verify-ca',
      user: 'other',
    });
    assert.deepEqual(settings, {
      host: 'db',
      port: 6000,
      database: 'shop',
      user: 'other',
      password: 'p/w',
      tls: { verify: 'ca' },
    });
    assert.equal(parseConnection({ url: 'postgresql://u@[::1]/d' }).host, '::1');
    assert.equal(parseConnection({ url: 'postgres://u@%2Fvar%2Frun/d' }).host, '/var/run');
    assert.equal(parseConnection({ url: 'postgres://u@x/d?host=/tmp' }).host, '/tmp');
    assert.deepEqual(parseConnection({ host: 'h', user: 'u', database: 'd', tls: true }).tls, {
      verify: 'full',
    });
    assert.equal(parseConnection({ url: 'postgres://u@h/d?sslmode=require', tls: false }).tls, null);
  });

  test('what cannot be meant is refused', () => {
    const bad: ConnectionOptions[] = [
      { url: 'mysql://u@h/d' },
      { url: 'nonsense' },
      { url: 'postgres://h/d' },
      { url: 'postgres://u@h' },
      { url: 'postgres://u@h/d?sslmode=prefer' },
      { url: 'postgres://u@h/d?sslrootcert=x' },
      { host: '/tmp', user: 'u', database: 'd', tls: true },
    ];
    for (const options of bad)
      assert.throws(() => parseConnection(options), invalid, JSON.stringify(options));
  });
});

describe('errors', () => {
  const answer = (code: string, message = 'm') =>
    mapPostgresError({ code, severity: 'ERROR', message }, 'testing');

  test('each answer has its kind', () => {
    const kinds = {
      '08006': 'source_unreachable',
      '28P01': 'source_denied',
      '28000': 'source_denied',
      '42501': 'source_denied',
      '3D000': 'source_not_ready',
      '40001': 'source_busy',
      '55P03': 'source_busy',
      '57014': 'source_busy',
      '57P01': 'source_unreachable',
      '53300': 'source_unreachable',
      '58P01': 'log_lost',
      '42P01': 'internal',
      XX000: 'internal',
    };
    for (const [code, kind] of Object.entries(kinds)) {
      const error = answer(code);
      assert.equal(error.kind, kind, code);
      assert.deepEqual(error.facts, { sqlstate: code });
    }
  });

  test('an error about data says no value', () => {
    assert.doesNotMatch(answer('22P02', 'invalid input syntax: "secret"').message, /secret/);
  });

  test('sockets and TLS', () => {
    const kindOf = (code: string): string =>
      mapPostgresError(Object.assign(new Error('x'), { code }), 'y').kind;
    for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT'])
      assert.equal(kindOf(code), 'source_unreachable');
    for (const code of ['CERT_HAS_EXPIRED', 'DEPTH_ZERO_SELF_SIGNED_CERT'])
      assert.equal(kindOf(code), 'source_denied');
    assert.equal(mapPostgresError('odd', 'y').kind, 'source_unreachable');
    assert.equal(sqlStateOf(new Error('x')), null);
    const own = new VarveError('internal', 'x');
    assert.equal(mapPostgresError(own, 'y'), own);
  });
});

const tls = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../fixtures/tls', name), 'utf8');

describe('connections', () => {
  let server: TestPostgres;
  before(async () => {
    server = await startPostgres();
    await server.query('CREATE TABLE t (id int PRIMARY KEY, v interval, b bytea, d timestamptz, m money)');
  });
  after(() => server[Symbol.asyncDispose]());

  const tryTls = async (host: string, more: ConnectionOptions['tls']): Promise<unknown> => {
    const client = await openClient(parseConnection({ url: server.url, host, tls: more }), {
      applicationName: 'varve_test',
      statementTimeoutMs: 0,
    });
    const { rows } = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    await client.end();
    return rows[0].ssl;
  };

  test('a server without TLS is refused when TLS is asked', async () => {
    await assert.rejects(tryTls('127.0.0.1', true), { kind: 'source_denied', message: /refused TLS/ });
  });

  test('text looks the same whatever database and role have set', async () => {
    await server.query(`ALTER ROLE postgres SET DateStyle = 'German';
      ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo';
      ALTER ROLE postgres SET bytea_output = 'escape'; ALTER ROLE postgres SET IntervalStyle = 'sql_standard';
      ALTER ROLE postgres SET statement_timeout = '1s'`);
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t VALUES (1, '1 day 2 hours', '\\xdead', '2024-02-03 04:05:06+00', 3.5)`);
    const reader = openReader(server, place);
    const streamed = rowsOf(await collectAll(reader, server, place.start))[0];
    await reader.close();
    const settings = parseConnection({ url: server.url });
    const client = await openClient(settings, { applicationName: 'varve_x', statementTimeoutMs: 5_000 });
    const { rows } = await client.query({
      text: `SELECT id::text, v::text, b::text, d::text, m::text, current_setting('application_name'),
                    current_setting('statement_timeout') FROM t`,
      rowMode: 'array',
    });
    await client.end();
    assert.deepEqual(streamed, ['1', 'P1DT2H', '\\xdead', '2024-02-03 04:05:06+00', '$3.50']);
    assert.deepEqual(rows[0], [...streamed, 'varve_x', '5s']);
    await server.query('ALTER ROLE postgres RESET ALL');
  });

  test('the log comes through a Unix socket', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g FROM generate_series(1000, 20999) g`);
    const url = new URL(server.url);
    const reader = openReader(server, place, {
      url: `postgres://${url.username}:${url.password}@x:${server.port}/postgres?host=${server.socketDir}`,
    });
    assert.equal(rowsOf(await collectAll(reader, server, place.start)).length, 20_000);
    await reader.close();
  });

  test('TLS checks authority and name unless told otherwise, and carries the log', async () => {
    await server.query(
      `COPY (SELECT $$${tls('server.pem').trim()}$$) TO PROGRAM 'sed "s/\\\\\\\\n/\\n/g" > server.crt'`,
    );
    await server.query(
      `COPY (SELECT $$${tls('server.key').trim()}$$) TO PROGRAM 'sed "s/\\\\\\\\n/\\n/g" > server.key; ` +
        `chmod 600 server.key'`,
    );
    await server.query('ALTER SYSTEM SET ssl = on');
    await server.query('SELECT pg_reload_conf()');
    const ca = tls('ca.pem');
    while (!(await tryTls('127.0.0.1', { verify: 'none' }).catch(() => false)));
    assert.equal(await tryTls('localhost', { ca }), true);
    assert.equal(await tryTls('127.0.0.1', { ca, verify: 'ca' }), true);
    await assert.rejects(tryTls('127.0.0.1', { ca }), { kind: 'source_denied', message: /ALTNAME/ });
    await assert.rejects(tryTls('localhost', true), { kind: 'source_denied', message: /tls\.ca/ });

    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g FROM generate_series(30000, 49999) g`);
    const connection = parseConnection({ url: server.url, host: 'localhost', tls: { ca } });
    const reader = openReader(server, place, { more: { connection } });
    assert.equal(rowsOf(await collectAll(reader, server, place.start)).length, 20_000);
    await reader.close();
  });
});
