// Where tables may lie, and what the answers of an object store mean: all that needs no store.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableChoices, tableSchema } from '../../../src/config-table.ts';
import { VarveError } from '../../../src/errors.ts';
import { openStore, uriBelow } from '../../../src/sinks/parquet/open-store.ts';
import { readFailure, S3Failure, s3Error } from '../../../src/sinks/parquet/s3-failure.ts';
import { s3Object } from '../../../src/sinks/parquet/s3-place.ts';
import { tryAgain } from '../../../src/sinks/parquet/s3-retry.ts';
import { probeStore } from '../../../src/sinks/parquet/store-probe.ts';
import { MemoryStore } from '../iceberg/memory-store.ts';

const kind = (expected: string) => (thrown: unknown) =>
  thrown instanceof VarveError && thrown.kind === expected;

test('a location is a directory or s3://bucket/prefix, and what is neither is refused', () => {
  const place = (location: string, s3?: object): string =>
    tableSchema.safeParse({ location, ...(s3 && { s3 }) }).error?.message ?? 'taken';
  for (const good of ['./tables', '/data/lake', 's3://lake', 's3://lake/', 's3://my.lake-1/a/b c/'])
    assert.equal(place(good), 'taken', good);
  for (const [bad, why] of [
    ['gs://lake/x', /a directory, or s3:/],
    ['s3a://lake/x', /a directory, or s3:/],
    ['s3://', /no name of a bucket/],
    ['s3://Lake/x', /no name of a bucket/],
    ['s3://lake//x', /empty part/],
    ['s3://lake/../x', /empty part, \. or \.\./],
    ['s3://lake/a?b', /without %/],
  ] as const)
    assert.match(place(bad), why, bad);
  assert.equal(
    place('s3://lake', { endpoint: 'http://127.0.0.1:9000', region: 'eu-1', path_style: false }),
    'taken',
  );
  assert.match(place('./tables', { region: 'eu-1' }), /only where location is s3:/);
  assert.match(
    place('s3://lake', { endpoint: 'http://key:secret@host:1' }),
    /credentials come from the AWS chain/,
  );
  assert.match(place('s3://lake', { endpoint: '127.0.0.1:9000' }), /an address such as/);
  assert.match(place('s3://lake', { access_key: 'x' }), /access_key/);
  const config = tableSchema.parse({ location: 's3://lake', s3: {} });
  assert.ok(!('s3' in tableChoices(config, ['public', 'a'])));
});

test('URIs below a place, and the keys that URIs mean', async () => {
  assert.equal(uriBelow({ location: 's3://lake/shop/' }, 'public/t'), 's3://lake/shop/public/t');
  assert.equal(uriBelow({ location: 's3://lake' }, ''), 's3://lake');
  assert.equal(uriBelow({ location: '/data/lake' }, 'public/t'), 'file:///data/lake/public/t');
  assert.deepEqual(s3Object('s3a://lake/a/b+c'), { Bucket: 'lake', Key: 'a/b+c' });
  for (const bad of ['file:///x', 's3://lake', 's3://lake/a/../b', '/x'])
    assert.throws(() => s3Object(bad), kind('table_foreign'), bad);
  await assert.rejects(
    openStore({ location: 's3://lake/x' }, { uuid: () => 'x', copies: null }),
    kind('internal'),
    'an object store was opened that nobody has said how to load',
  );
});

const answered = (name: string, httpStatusCode: number, more: object = {}): Error =>
  Object.assign(new Error('words of the store, which nobody prints'), {
    name,
    $metadata: { httpStatusCode },
    ...more,
  });

test('each failure is retried, denied or refused, with what to do, and tells nothing that it carries', () => {
  const cases: readonly (readonly [Error, string, RegExp])[] = [
    [answered('InternalError', 500), 'store_unreachable', /goes on by itself/],
    [answered('SlowDown', 503), 'store_unreachable', /503 SlowDown/],
    [answered('ConditionalRequestConflict', 409), 'store_unreachable', /409/],
    [answered('SyntaxError', 200), 'store_unreachable', /SyntaxError/],
    [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), 'store_unreachable', /ECONNREFUSED/],
    [answered('AccessDenied', 403), 'store_denied', /allow s3:GetObject/],
    [answered('ExpiredToken', 400), 'store_denied', /expired: renew them/],
    [answered('RequestTimeTooSkewed', 403), 'store_denied', /clock/],
    [Object.assign(new Error('x'), { name: 'CredentialsProviderError' }), 'store_denied', /no credentials/],
    [answered('PermanentRedirect', 301, { Region: 'eu-west-2' }), 'store_failed', /in eu-west-2; write that/],
    [
      answered('301', 301, { $response: { headers: { 'x-amz-bucket-region': 'eu-3' } } }),
      'store_failed',
      /in eu-3/,
    ],
    [new Error('Region is missing'), 'store_failed', /table.s3.region/],
    [answered('NoSuchBucket', 404), 'store_failed', /no such bucket/],
    [answered('MethodNotAllowed', 405), 'store_failed', /405 MethodNotAllowed/],
    [new Error('Checksum mismatch: expected "a"'), 'table_corrupt', /restore it/],
  ];
  for (const [thrown, expected, words] of cases) {
    const failure = readFailure(thrown);
    assert.ok(failure instanceof S3Failure);
    const error = s3Error('read', 's3://lake/x', failure);
    assert.equal(error.kind, expected, error.message);
    assert.match(error.message, words);
    assert.ok(!JSON.stringify([error.message, error.facts]).includes('words of the store'));
  }
  for (const name of ['NoSuchBucket', 'XAdminUserNotFound', 'NotFound'])
    assert.ok(!(readFailure(answered(name, 404)) as S3Failure).isMissing, name);
  assert.ok((readFailure(answered('NoSuchKey', 404)) as S3Failure).isMissing);
});

test('tries end with the budget, at once for what no trying mends, and with what succeeds', async () => {
  let now = 0;
  const tries = { patience: { budgetMs: 50, firstMs: 1, mostMs: 2 }, steadyMs: () => now, random: () => 1 };
  const failing = (status: number, name: string) => {
    let count = 0;
    const work = async (): Promise<number> => {
      now += 10;
      count++;
      throw readFailure(answered(name, status));
    };
    return { work, count: () => count };
  };
  const passing = failing(503, 'SlowDown');
  await assert.rejects(tryAgain(['read', 's3://lake/x'], passing.work, tries), kind('store_unreachable'));
  assert.equal(passing.count(), 5);
  const denied = failing(403, 'AccessDenied');
  await assert.rejects(tryAgain(['read', 's3://lake/x'], denied.work, tries), kind('store_denied'));
  assert.equal(denied.count(), 1);
  let left = 2;
  const work = async (): Promise<string> => {
    if (left-- > 0) throw readFailure(answered('InternalError', 500));
    return 'done';
  };
  assert.equal(await tryAgain(['read', 's3://lake/x'], work, tries), 'done');
});

test('a trial leaves nothing, and finds a store in which two can create one file', async () => {
  const options = { uuid: () => crypto.randomUUID(), nowMs: Date.now };
  const store = new MemoryStore(Date.now);
  await probeStore(store, 's3://lake/x', options);
  assert.equal(store.files.size, 0);
  const careless = new MemoryStore(Date.now);
  careless.createExclusive = async (uri, bytes) => {
    await careless.write(uri, bytes);
    return 'created';
  };
  await assert.rejects(probeStore(careless, 's3://lake/x', options), kind('store_unfit'));
  assert.equal(careless.files.size, 0);
});
