// What a REST catalog is asked, and what its answers come to: settings, prefix, tokens, TLS, refusals.
// Against a server of fixed answers; the real catalog is in catalog-rest.all.test.ts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ErrorKind, VarveError } from '../../../src/errors.ts';
import { printMetadata } from '../../../src/sinks/parquet/iceberg/metadata.ts';
import { failsAs } from '../../contract/catalog.ts';
import { refusal, type ScriptedAnswer, startScriptedCatalog } from '../../support/scripted-catalog.ts';
import { makeWorld, newTable } from './table-world.ts';

const AT = 's3://bucket/lake/public/orders';
const TABLE = '/namespaces/public/tables/orders';

const failure = async (kind: ErrorKind, promise: Promise<unknown>): Promise<VarveError> => {
  const thrown: unknown = await promise.then(
    () => assert.fail('it did not fail'),
    (error: unknown) => error,
  );
  failsAs(kind)(thrown);
  return thrown as VarveError;
};

test('the warehouse is opened once, and what the service overrides stands in every request', async () => {
  await using elsewhere = await startScriptedCatalog(() => null);
  await using server = await startScriptedCatalog(({ url }) => {
    if (!url.startsWith('/base/v1/config')) return null;
    const defaults = { prefix: 'none', uri: 'http://127.0.0.1:1' };
    return { body: { defaults, overrides: { prefix: 'main%7Clake', uri: `${elsewhere.uri}/there/` } } };
  });
  const catalog = server.open({ uri: `${server.uri}/base/`, warehouse: 'a lake&co' });
  await catalog.prove();
  assert.equal(await catalog.load(AT), null);
  assert.equal(await catalog.load(AT), null);
  assert.deepEqual(
    server.calls.map(({ url }) => url),
    ['/base/v1/config?warehouse=a%20lake%26co'],
  );
  assert.deepEqual(
    elsewhere.calls.map(({ method, url }) => `${method} ${url}`),
    [`GET /there/v1/main%7Clake${TABLE}`, `GET /there/v1/main%7Clake${TABLE}`],
  );
});

test('a table is what the service says, with whole numbers of 63 bits, wherever it put it', async () => {
  const world = makeWorld();
  const { metadata } = await newTable(world);
  const id = 9_007_199_254_740_993n;
  const theirs = {
    ...metadata,
    location: 's3://bucket/lake/public/orders-1/',
    'current-snapshot-id': id,
    snapshots: [
      { 'snapshot-id': id, 'sequence-number': 1, 'timestamp-ms': 1, 'manifest-list': 's3://x', summary: {} },
    ],
  };
  const text = `{"metadata-location":"s3://m","metadata":${Buffer.from(printMetadata(theirs)).toString()}}`;
  await using server = await startScriptedCatalog(({ url }) => (url.endsWith(TABLE) ? { text } : null));
  const found = await server.open().load(AT);
  assert.deepEqual(
    [found?.at, found?.location, found?.file],
    [AT, 's3://bucket/lake/public/orders-1', 's3://m'],
  );
  assert.equal(found?.metadata['current-snapshot-id'], id);
});

test('a bearer token goes with every request', async () => {
  await using server = await startScriptedCatalog(() => null);
  await server.open({ token: 'sesame' }).load(AT);
  assert.deepEqual(
    server.calls.map(({ headers }) => headers.authorization),
    ['Bearer sesame', 'Bearer sesame'],
  );
});

test('tokens are asked for by client credentials, before they end and when they are refused', async () => {
  let issued = 0;
  let revoked = '';
  await using server = await startScriptedCatalog(({ url, headers }) => {
    if (url === '/tokens') return { body: { access_token: `t${++issued}`, expires_in: 3600 } };
    return headers.authorization === revoked ? refusal(401, 'NotAuthorizedException', 'ended') : null;
  });
  const oauth = {
    token_url: `${server.uri}/tokens`,
    ...{ client_id: 'me & you', client_secret: 'geheim', scope: 'catalog' },
  };
  const catalog = server.open({ oauth });
  await catalog.load(AT);
  await catalog.load(AT);
  const [first] = server.calls;
  assert.equal(first?.url, '/tokens');
  assert.deepEqual(Object.fromEntries(new URLSearchParams(first?.body)), {
    ...{ grant_type: 'client_credentials', client_id: 'me & you', client_secret: 'geheim' },
    scope: 'catalog',
  });
  assert.equal(issued, 1);
  server.clock.nowMs = 3_541_000;
  await catalog.load(AT);
  assert.equal(issued, 2);
  revoked = 'Bearer t2';
  await catalog.load(AT);
  assert.equal(issued, 3);
  assert.equal(server.calls.at(-1)?.headers.authorization, 'Bearer t3');
});

test('who is not let in is told so, once, and no secret is in it', async () => {
  for (const status of [401, 403]) {
    await using server = await startScriptedCatalog(() =>
      refusal(status, 'NotAuthorizedException', 'not you'),
    );
    const error = await failure('catalog_denied', server.open({ token: 'sesame' }).load(AT));
    assert.match(error.message, new RegExp(`${status}, NotAuthorizedException, not you`));
    assert.match(error.message, /table\.catalog/);
    assert.ok(!`${error.message}${JSON.stringify(error.facts)}`.includes('sesame'));
    assert.equal(server.calls.length, 1);
  }
  await using issuer = await startScriptedCatalog(() => ({ status: 400, body: { error: 'invalid_client' } }));
  const oauth = { token_url: `${issuer.uri}/tokens`, client_id: 'me', client_secret: 'geheim', scope: null };
  const error = await failure('catalog_denied', issuer.open({ oauth }).load(AT));
  assert.match(error.message, /get a token.*invalid_client/);
  assert.ok(!error.message.includes('geheim'));
});

test('what is no catalog is said to be none', async () => {
  const answers: readonly ScriptedAnswer[] = [
    { text: '<html>hello</html>' },
    { status: 404, text: '<html>not here</html>' },
    { body: { some: 'thing' } },
  ];
  for (const answer of answers) {
    await using server = await startScriptedCatalog(() => answer);
    const error = await failure('protocol_error', server.open().prove());
    assert.match(error.message, /table\.catalog\.uri/);
  }
  await using half = await startScriptedCatalog(({ url }) =>
    url.endsWith(TABLE) ? { status: 404, text: '' } : null,
  );
  await failure('protocol_error', half.open().load(AT));
  await using other = await startScriptedCatalog(({ url }) =>
    url.endsWith(TABLE) ? { text: '{"metadata":' } : null,
  );
  await failure('protocol_error', other.open().load(AT));
});

test('questions are asked again while the service is busy or silent, up to a point', async () => {
  let busy = 3;
  await using server = await startScriptedCatalog(() =>
    busy-- > 0 ? refusal(503, 'SlowDown', 'later') : null,
  );
  await server.open().prove();
  assert.equal(server.calls.length, 4);
  busy = 100;
  const error = await failure('catalog_unreachable', server.open({ warehouse: 'lake' }).prove());
  assert.match(error.message, /open the warehouse lake.*503, SlowDown, later/);
  assert.equal(error.outcome, 'retry');
  const gone = server.open({ uri: 'http://127.0.0.1:9' });
  assert.match((await failure('catalog_unreachable', gone.prove())).message, /ECONNREFUSED/);
});

test('a service that numbers columns in its own way gets no rows', async () => {
  const world = makeWorld();
  const { metadata } = await newTable(world);
  const [schema] = metadata.schemas;
  const fields = schema?.fields.map((field) => ({ ...field, id: field.id + 10 })) ?? [];
  const renumbered = { ...metadata, schemas: [{ ...schema, fields }], 'partition-specs': [] };
  await using server = await startScriptedCatalog(({ method }) =>
    method === 'POST' ? { body: { 'metadata-location': 's3://m', metadata: renumbered } } : null,
  );
  const error = await failure('table_foreign', server.open().create(AT, metadata));
  assert.match(error.message, /other columns, or other ids/);
});

test('TLS: only a known authority is trusted, and no secret leaves the encryption', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'varve-catalog-'));
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', '/CN=catalog', '-addext', 'subjectAltName=DNS:localhost'];
    const files = ['-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...made, ...names, ...files], { stdio: 'ignore' });
    const pems = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
    await using open = await startScriptedCatalog(() => null);
    await using server = await startScriptedCatalog(
      ({ url }) => (url.startsWith('/v1/config') ? { body: { overrides: { uri: open.uri } } } : null),
      pems,
    );
    const none = { ca: null, cert: null, key: null, passphrase: null, verify: 'full' } as const;
    const known = { ...none, ca: pems.cert };
    assert.equal(await server.open({ tls: known, token: 'sesame' }).load(AT), null);
    assert.equal(open.calls.length, 0);
    const error = await failure('catalog_denied', server.open().load(AT));
    assert.match(error.message, /no trust.*table\.catalog\.tls/);
    const elsewhere = { tls: known, uri: server.uri.replace('localhost', '127.0.0.1') };
    const other = await failure('catalog_denied', server.open(elsewhere).load(AT));
    assert.match(other.message, /ERR_TLS_CERT_ALTNAME_INVALID/);
    assert.equal(await server.open({ tls: { ...none, verify: 'none' } }).load(AT), null);
  } finally {
    await rm(folder, { recursive: true });
  }
});
