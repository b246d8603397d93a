// What `table.catalog` of a pipeline file may say, and what contradicts itself there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableChoices, tableSchema } from '../src/config-table.ts';
import { secretsIn } from '../src/secrets.ts';

const read = (catalog: object) => tableSchema.safeParse({ location: 's3://lake/x', catalog });
const HTTPS = { kind: 'rest', uri: 'https://catalog.example/iceberg' };
const OAUTH = { token_url: 'https://issuer.example/token', client_id: 'varve', client_secret: 'geheim' };

test('a catalog needs its address only, and is no choice of single tables', () => {
  const { data } = read(HTTPS);
  assert.deepEqual(data?.catalog, {
    ...HTTPS,
    ...{ warehouse: null, token: null, oauth: null, tls: null, timeout_ms: 30_000, allow_cleartext: false },
  });
  assert.ok(data !== undefined && !('catalog' in tableChoices(data, ['public', 'a'])));
  assert.equal(tableSchema.parse({ location: 'x' }).catalog, undefined);
  assert.ok(read({ ...HTTPS, oauth: OAUTH, tls: { ca: 'pem' }, warehouse: 'lake' }).success);
});

test('secrets stay on encrypted or local lines unless somebody says otherwise', () => {
  const http = { ...HTTPS, uri: 'http://catalog.example/iceberg' };
  assert.ok(read(http).success);
  assert.match(read({ ...http, token: 'sesame' }).error?.message ?? '', /unencrypted/);
  assert.match(read({ ...http, oauth: OAUTH }).error?.message ?? '', /unencrypted/);
  const cleartext = { ...OAUTH, token_url: 'http://issuer.example/token' };
  assert.match(read({ ...HTTPS, oauth: cleartext }).error?.message ?? '', /unencrypted/);
  assert.ok(read({ ...http, token: 'sesame', allow_cleartext: true }).success);
  assert.ok(read({ ...HTTPS, oauth: cleartext, allow_cleartext: true }).success);
  assert.ok(read({ ...http, uri: 'http://127.0.0.1:19120/iceberg', token: 'sesame' }).success);
});

test('what contradicts itself is refused by what is allowed', () => {
  for (const [catalog, why] of [
    [{ ...HTTPS, token: 'sesame', oauth: OAUTH }, /not both/],
    [{ ...HTTPS, kind: 'hive' }, /rest/],
    [{ kind: 'rest' }, /uri/],
    [{ ...HTTPS, uri: 'https://me:geheim@catalog.example' }, /secrets belong/],
    [{ ...HTTPS, uri: 'catalog.example' }, /an address such as/],
    [{ ...HTTPS, uri: 'http://127.0.0.1:1', tls: true }, /https/],
    [{ ...HTTPS, oauth: { client_id: 'varve' } }, /token_url/],
  ] as const)
    assert.match(read(catalog).error?.message ?? 'taken', why, JSON.stringify(catalog));
});

test('tokens and client secrets are never printed', () => {
  const { data } = read({ ...HTTPS, token: 'sesame' });
  assert.deepEqual(secretsIn(data?.catalog), ['sesame']);
  assert.ok(secretsIn(read({ ...HTTPS, oauth: OAUTH }).data?.catalog).includes('geheim'));
});
