// The registry under faults: what is kept, what is tried again, and what stops, each with its kind.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ErrorKind, VarveError } from '../../../src/errors.ts';
import { openRegistry, type Registry, type RegistrySettings } from '../../../src/topic/kafka/registry.ts';
import { FaultyRegistry } from '../../support/faulty-registry.ts';

const text = (type: string): string =>
  JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'a', type }] });

type Bench = AsyncDisposable & { server: FaultyRegistry; registry: Registry };

const open = async (server: FaultyRegistry, more: Partial<RegistrySettings> = {}): Promise<Registry> =>
  openRegistry({
    url: server.url,
    auth: null,
    tls: null,
    timeoutMs: 2000,
    patienceMs: 2000,
    compatibility: null,
    ...more,
  });

const bench = async (more: Partial<RegistrySettings> = {}): Promise<Bench> => {
  const server = await FaultyRegistry.start();
  const registry = await open(server, more);
  return {
    server,
    registry,
    async [Symbol.asyncDispose]() {
      await registry.close();
      await server[Symbol.asyncDispose]();
    },
  };
};

const fails = async (kind: ErrorKind, what: Promise<unknown>, ...words: RegExp[]): Promise<VarveError> => {
  const thrown = await what.then(
    () => assert.fail(`${kind} expected`),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof VarveError, String(thrown));
  assert.equal(thrown.kind, kind, thrown.message);
  for (const word of words) assert.match(thrown.message, word);
  return thrown;
};

test('one text has one id, asked for once, also when many ask at once', async () => {
  await using it = await bench();
  const ids = await Promise.all([1, 2, 3].map(() => it.registry.register('s-value', text('int'))));
  assert.deepEqual(ids, [1, 1, 1]);
  assert.equal(await it.registry.register('t-value', text('int')), 1);
  assert.equal(await it.registry.register('s-value', text('long')), 2);
  const asked = it.server.asked.length;
  assert.equal(await it.registry.register('s-value', text('long')), 2);
  assert.equal(await it.registry.schema(2), text('long'));
  assert.equal(it.server.asked.length, asked);
});

test('a schema that is there is looked up, not registered again', async () => {
  await using it = await bench();
  await it.registry.register('s', text('int'));
  const other = await open(it.server);
  it.server.fault = ({ path }) => (path.endsWith('/versions') ? { status: 403, body: 'no' } : null);
  assert.equal(await other.register('s', text('int')), 1);
  await fails('registry_denied', other.register('s', text('long')), /403/, /topic\.registry\.auth/);
  await other.close();
});

test('what is known needs no registry', async () => {
  await using it = await bench({ patienceMs: 200 });
  await it.registry.register('s', text('int'));
  it.server.fault = () => ({ status: 503, body: 'down' });
  assert.equal(await it.registry.register('s', text('int')), 1);
  assert.equal(await it.registry.schema(1), text('int'));
  const error = await fails('registry_unreachable', it.registry.register('s', text('long')), /503/);
  assert.equal(error.outcome, 'retry');
  it.server.fault = () => null;
  assert.equal(await it.registry.register('s', text('long')), 2);
});

test('5xx, 429 and silence are tried again until patience ends', async () => {
  await using it = await bench();
  for (const status of [500, 502, 503, 429]) {
    let left = 2;
    it.server.fault = () => (left-- > 0 ? { status, body: '<html>busy</html>' } : null);
    assert.ok((await it.registry.register(`s${status}`, text('int'))) > 0);
    assert.ok(left < 0);
  }
});

test('an answer that does not come, or does not end, is given up in time', async () => {
  for (const way of ['hang', 'drip'] as const) {
    await using it = await bench({ timeoutMs: 100, patienceMs: 250 });
    it.server.fault = () => way;
    await fails('registry_unreachable', it.registry.register('s', text('int')), /no answer within 100 ms/);
    assert.ok(it.server.asked.length > 1, 'it was not tried again');
    it.server.fault = () => null;
    assert.equal(await it.registry.register('s', text('int')), 1);
  }
});

test('nobody there is unreachable; closing ends the waiting', async () => {
  const server = await FaultyRegistry.start();
  await server[Symbol.asyncDispose]();
  const registry = await openRegistry({
    url: `http://127.0.0.1:1/`,
    auth: null,
    tls: null,
    timeoutMs: 1000,
    patienceMs: 600_000,
    compatibility: null,
  });
  const waiting = fails('registry_unreachable', registry.schema(1));
  await registry.close();
  await waiting;
  await fails('registry_unreachable', registry.schema(1), /closed/);
});

test('an incompatible schema stops, with subject, level and reasons; nobody sets NONE', async () => {
  await using it = await bench();
  await it.registry.register('s', text('int'));
  const message = 'Schema being registered is incompatible, details: [READER_FIELD_MISSING_DEFAULT_VALUE]';
  it.server.fault = ({ path }) =>
    path === '/subjects/s/versions' ? { status: 409, body: { error_code: 409, message } } : null;
  const error = await fails(
    'schema_incompatible',
    it.registry.register('s', text('string')),
    /schema of s:/,
    /READER_FIELD_MISSING_DEFAULT_VALUE/,
    /compatibility is BACKWARD/,
  );
  assert.equal(error.outcome, 'stop');
  assert.equal(error.facts.subject, 's');
  assert.equal(it.server.asked.filter(({ method }) => method === 'PUT').length, 0);
  it.server.fault = () => null;
  assert.equal(await it.registry.register('s', text('string')), 2);
});

test('a schema that the registry takes for none is refused in the same way', async () => {
  await using it = await bench();
  it.server.fault = ({ path }) =>
    path.endsWith('/versions')
      ? { status: 422, body: { error_code: 42201, message: 'Invalid schema' } }
      : null;
  await fails('schema_incompatible', it.registry.register('s', '"int"'), /Invalid schema/);
});

test('a level that was asked for is set for new subjects only, before their first schema', async () => {
  await using it = await bench();
  await it.registry.register('old', text('int'));
  const other = await open(it.server, { compatibility: 'FULL' });
  await other.register('old', text('long'));
  it.server.asked.length = 0;
  await other.register('new', text('long'));
  assert.deepEqual([...it.server.levels], [['new', 'FULL']]);
  const writes = it.server.asked.filter(({ path }) => /^.config|versions$/.test(path));
  assert.deepEqual(
    writes.map(({ path }) => path),
    ['/config/new', '/subjects/new/versions'],
  );
  assert.equal(await other.compatibility('new'), 'FULL');
  assert.equal(await other.compatibility('old'), 'BACKWARD');
  await other.close();
});

test('an id that is another schema there is never used', async () => {
  await using it = await bench();
  await it.registry.register('s', text('int'));
  it.server.fault = ({ path }) => (path === '/subjects/s' ? { status: 200, body: { id: 1 } } : null);
  await fails('protocol_error', it.registry.register('s', text('long')), /id 1, which is another schema/);
  // It was a passing fault: neither the wrong id nor a wrong text is kept.
  it.server.fault = () => null;
  assert.equal(await it.registry.register('s', text('long')), 2);
  assert.equal(await it.registry.schema(1), text('int'));
});

test('the same schema in other words is the same schema', async () => {
  await using it = await bench();
  it.server.fault = ({ path }) =>
    path.startsWith('/schemas/')
      ? { status: 200, body: { schema: JSON.stringify(JSON.parse(text('int')), null, 2) } }
      : null;
  assert.equal(await it.registry.register('s', text('int')), 1);
});

test('answers that make no sense are errors, and not kept', async () => {
  await using it = await bench();
  const html = { status: 200, body: '<html>log in</html>' };
  const bodies = [html, { status: 200, body: '{"id": ' }, { status: 200, body: { id: '1' } }];
  for (const said of [...bodies, { status: 200, body: { id: -1 } }, { status: 200, body: { id: 2 ** 31 } }]) {
    it.server.fault = ({ path }) => (path === '/subjects/s' ? said : null);
    await fails('protocol_error', it.registry.register('s', text('int')), /without an id/);
  }
  it.server.fault = () => null;
  assert.equal(await it.registry.register('s', text('int')), 1);
  const other = await open(it.server);
  it.server.fault = () => html;
  await fails('protocol_error', other.schema(1), /without a schema/);
  await fails('protocol_error', other.compatibility('s'), /gave none/);
  it.server.fault = () => ({ status: 200, body: { schema: 'syntax = "proto3"', schemaType: 'PROTOBUF' } });
  await fails('protocol_error', other.schema(1));
  it.server.fault = () => ({ status: 200, body: { schema: '"int"', references: [{ name: 'x' }] } });
  await fails('protocol_error', other.schema(1), /refers to others/);
  it.server.fault = () => ({ status: 301, body: '' });
  await fails('protocol_error', other.schema(1), /301/);
  await other.close();
});

test('absent is what the registry itself says, not what a wrong address does', async () => {
  await using it = await bench();
  await fails('schema_unknown', it.registry.schema(7), /read schema 7/, /404/);
  it.server.fault = () => ({ status: 404, body: '<html>not found</html>' });
  await fails('protocol_error', it.registry.schema(7), /topic\.registry\.url/);
  await fails('protocol_error', it.registry.register('s', text('int')), /topic\.registry\.url/);
});

test('user and password, or a token, go along and never come out again', async () => {
  await using it = await bench({ auth: { user: 'ü', password: 'p:w' } });
  await it.registry.register('s', text('int'));
  const basic = `Basic ${Buffer.from('ü:p:w').toString('base64')}`;
  assert.ok(it.server.asked.every(({ authorization }) => authorization === basic));
  const other = await open(it.server, { auth: { token: 'tell-nobody' }, patienceMs: 100 });
  await other.schema(1);
  assert.equal(it.server.asked.at(-1)?.authorization, 'Bearer tell-nobody');
  for (const status of [401, 403, 500, 400]) {
    it.server.fault = () => ({ status, body: { error_code: status, message: 'no' } });
    const error = await other.schema(2).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof VarveError);
    assert.equal(error.kind === 'registry_denied', status === 401 || status === 403);
    const { inspect } = await import('node:util');
    assert.ok(!/tell-nobody/.test(inspect(error, { depth: 20, showHidden: true })));
  }
  it.server.fault = () => ({ status: 422, body: { error_code: 42205, message: 'read-only mode' } });
  await fails('registry_denied', other.register('s', text('long')), /read-only/);
  await other.close();
});

test('TLS: an unknown authority is refused, a known one is not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'varve-registry-'));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=registry', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', ['req', '-x509', ...made, ...names, '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  const pem = readFileSync(cert, 'utf8');
  await using server = await FaultyRegistry.start({ tls: { key: readFileSync(key), cert: pem } });
  const ask = async (host: string, tls: RegistrySettings['tls']): Promise<number> => {
    const registry = await open(server, { url: `https://${host}:${server.port}`, tls });
    return registry.register('s', text('int')).finally(() => registry.close());
  };
  try {
    assert.equal(await ask('localhost', { ca: pem }), 1);
    await fails('registry_denied', ask('localhost', null), /topic\.registry\.tls/);
    await fails('registry_denied', ask('127.0.0.1', { ca: pem }), /ERR_TLS_CERT_ALTNAME_INVALID/);
    assert.equal(await ask('127.0.0.1', { verify: 'none' }), 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
