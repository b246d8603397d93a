// Every wrong answer that an object store can give, by a proxy in front of a real one: what is unknown is
// looked at, what passes is tried again, what is half is never seen, and what lasts is an error by name.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { probeStore } from '../../../src/sinks/parquet/store-probe.ts';
import type { S3Store } from '../../../src/sinks/parquet/store-s3.ts';
import { openTestStore, S3_ENVIRONMENT, startS3, type TestS3 } from '../../support/s3.ts';
import { type S3Call, type S3Fault, type S3Plan, startS3Proxy } from '../../support/s3-proxy.ts';
import { seededRandom } from '../../support/seeded.ts';

const PATIENCE = { budgetMs: 20_000, firstMs: 5, mostMs: 50 };
const SHORT = { budgetMs: 300, firstMs: 5, mostMs: 50 };
const PART_BYTES = 5 << 20;

let server: TestS3;
before(async () => {
  Object.assign(process.env, S3_ENVIRONMENT);
  server = await startS3();
});
after(() => server[Symbol.asyncDispose]());

const openPlace = async (patience = PATIENCE) => {
  const proxy = await startS3Proxy(server);
  const directory = await mkdtemp(join(tmpdir(), 'varve-s3-faults-'));
  const root = `s3://${server.bucket}/${randomUUID()}`;
  const opened: S3Store[] = [];
  const open = (endpoint: string): S3Store => {
    const knobs = { copies: join(directory, 'copies'), partBytes: PART_BYTES, silentMs: 400, patience };
    const store = openTestStore(root, { s3: { endpoint }, ...knobs });
    opened.push(store);
    return store;
  };
  return {
    root,
    proxy,
    directory,
    store: open(proxy.endpoint),
    /** Another process's, past the proxy. */
    other: open(server.endpoint),
    open,
    [Symbol.asyncDispose]: async () => {
      for (const store of opened) store.close();
      await proxy[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** The first calls that match get these, one each. */
const inTurn = (matches: (call: S3Call) => boolean, faults: readonly S3Fault[]): S3Plan => {
  const left = [...faults];
  return (call) => (matches(call) ? (left.shift() ?? null) : null);
};
const isPut = ({ method }: S3Call): boolean => method === 'PUT';
const isGet = ({ method, url }: S3Call): boolean => method === 'GET' && !url.includes('list-type');
const isList = ({ url }: S3Call): boolean => url.includes('list-type');
const isPart = ({ url }: S3Call): boolean => url.includes('partNumber=');
const isFinish = ({ method, url }: S3Call): boolean => method === 'POST' && url.includes('uploadId=');

const countOf = async (store: S3Store, root: string): Promise<number> => {
  let count = 0;
  for await (const _ of store.list(`${root}/`)) count++;
  return count;
};

const textOf = async (store: S3Store, uri: string): Promise<string> =>
  Buffer.from((await store.read(uri)) ?? []).toString();

const failing = (status: number, code: string, done = false): S3Fault => ({
  kind: 'answer',
  status,
  code,
  done,
});
const failsAs = (kind: string, words: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof VarveError, String(thrown));
  assert.equal(thrown.kind, kind, thrown.message);
  assert.match(thrown.message, words);
  return true;
};

const UNKNOWN: readonly (readonly [string, S3Fault])[] = [
  ['500 before the work', failing(500, 'InternalError')],
  ['500 after the work', failing(500, 'InternalError', true)],
  ['503 SlowDown', failing(503, 'SlowDown')],
  ['409 of a race', failing(409, 'ConditionalRequestConflict')],
  ['a cut before the work', { kind: 'cut', done: false }],
  ['a cut after the work', { kind: 'cut', done: true }],
  ['silence before the work', { kind: 'silent', done: false }],
  ['silence after the work', { kind: 'silent', done: true }],
  ['expired credentials', failing(400, 'ExpiredToken')],
  ['a clock that is off', failing(403, 'RequestTimeTooSkewed')],
];

for (const [name, fault] of UNKNOWN) {
  test(`${name}: an exclusive create is ours all the same, and once`, async () => {
    await using place = await openPlace();
    const { store, root, proxy } = place;
    proxy.plan = inTurn(isPut, [fault, fault]);
    const uri = `${root}/v1`;
    assert.equal(await store.createExclusive(uri, Buffer.from('ours')), 'created');
    assert.equal(await textOf(store, uri), 'ours');
    proxy.plan = () => null;
    assert.equal(await store.createExclusive(uri, Buffer.from('ours')), 'exists');
  });

  test(`${name}: another's file is never ours`, async () => {
    await using place = await openPlace();
    const { store, other, root, proxy } = place;
    const uri = `${root}/v1`;
    proxy.plan = async (call) => {
      if (!isPut(call)) return null;
      proxy.plan = () => null;
      await other.createExclusive(uri, Buffer.from('theirs'));
      return fault;
    };
    assert.equal(await store.createExclusive(uri, Buffer.from('ours')), 'exists');
    assert.equal(await textOf(store, uri), 'theirs');
  });
}

test('a store that ignores If-None-Match is refused by name', async () => {
  await using place = await openPlace();
  const { store, other, root, proxy } = place;
  proxy.plan = async ({ method, url, body }) => {
    if (method !== 'PUT') return null;
    await other.write(`s3:/${decodeURIComponent(url.split('?')[0] ?? '')}`, body);
    return { kind: 'answer', status: 200, code: '', done: false, body: '' };
  };
  const trial = (on: S3Store): Promise<void> => probeStore(on, root, { uuid: randomUUID, nowMs: Date.now });
  await assert.rejects(trial(store), failsAs('store_unfit', /If-None-Match/));
  await trial(other);
  for await (const { uri } of other.list(`${root}/`)) assert.fail(`${uri} stayed`);
});

test('a body that is cut, shortened or damaged on its way is asked for again', async () => {
  await using place = await openPlace();
  const { store, other, root, proxy, directory } = place;
  const whole = randomBytes(300_000);
  const uri = `${root}/data`;
  await other.write(uri, whole);
  const faults: S3Fault[] = [
    { kind: 'half' },
    { kind: 'truncate' },
    { kind: 'damage' },
    { kind: 'cut', done: true },
  ];
  proxy.plan = inTurn(isGet, faults);
  assert.ok(whole.equals((await store.read(uri)) ?? Buffer.alloc(0)));
  proxy.plan = inTurn(isGet, faults);
  using copies = store.lease();
  const path = await copies.localCopy(uri);
  assert.ok(whole.equals(await readFile(path)));
  assert.ok(path.startsWith(directory));
});

test('a file that stays damaged is an error with its name', async () => {
  await using place = await openPlace(SHORT);
  const { store, other, root, proxy } = place;
  await other.write(`${root}/data`, randomBytes(1000));
  proxy.plan = (call) => (isGet(call) ? { kind: 'damage' } : null);
  const corrupt = failsAs('table_corrupt', /data is not as it was written; restore it/);
  await assert.rejects(store.read(`${root}/data`), corrupt);
  using copies = store.lease();
  await assert.rejects(copies.localCopy(`${root}/data`), corrupt);
});

test('what the store cannot say is never read as "there is none"', async () => {
  await using place = await openPlace(SHORT);
  const { store, other, root, proxy } = place;
  await other.write(`${root}/v1`, Buffer.from('x'));
  const answers: readonly (readonly [number, string, string])[] = [
    [404, 'NoSuchBucket', 'store_failed'],
    [404, 'XAdminUserNotFound', 'store_denied'],
    [403, 'AccessDenied', 'store_denied'],
    [301, 'PermanentRedirect', 'store_failed'],
    [500, 'InternalError', 'store_unreachable'],
  ];
  for (const [status, code, kind] of answers) {
    proxy.plan = () => failing(status, code);
    const named = failsAs(kind, new RegExp(code));
    await assert.rejects(store.read(`${root}/v1`), named);
    await assert.rejects(store.exists(`${root}/v1`), named);
    await assert.rejects(countOf(store, root), named);
    await assert.rejects(store.remove(`${root}/v1`), named);
  }
  const page = '<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>';
  proxy.plan = () => ({ kind: 'answer', status: 200, code: '', done: false, body: page });
  await assert.rejects(countOf(store, root), failsAs('store_failed', /WithoutNextPage/));
  proxy.plan = inTurn(isList, [failing(500, 'InternalError'), { kind: 'half' }]);
  assert.equal(await countOf(store, root), 1);
});

const uploads = async (store: S3Store, root: string): Promise<number> =>
  store.sweepLeftovers(`${root}/`, Date.now() + 3_600_000);

test('parts that fail go again, and the end of an upload is known', async () => {
  await using place = await openPlace();
  const { store, other, root, proxy, directory } = place;
  const whole = randomBytes(3 * PART_BYTES + 11);
  const notDone = { kind: 'answer', status: 200, code: '', done: false } as const;
  const ends: readonly S3Fault[][] = [
    [{ ...notDone, body: '<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>' }],
    [failing(500, 'InternalError', true)],
    [{ kind: 'cut', done: true }, failing(503, 'SlowDown')],
    [{ kind: 'silent', done: true }],
  ];
  for (const [at, end] of ends.entries()) {
    const uri = `${root}/${at}.parquet`;
    const local = join(directory, `${at}`);
    await writeFile(local, whole);
    const parts = inTurn(isPart, [failing(500, 'InternalError'), { kind: 'cut', done: true }]);
    const finish = inTurn(isFinish, end);
    proxy.plan = async (call) => (await parts(call)) ?? (await finish(call));
    await store.adopt(local, uri);
    assert.ok(whole.equals((await other.read(uri)) ?? Buffer.alloc(0)), `end ${at}`);
  }
  assert.equal(await uploads(other, root), 0, 'an upload was left open');
});

test('an upload that somebody took back is no file, whatever else lies there', async () => {
  await using place = await openPlace(SHORT);
  const { store, other, root, proxy, directory } = place;
  await writeFile(join(directory, 'x'), randomBytes(2 * PART_BYTES));
  await other.write(`${root}/x`, Buffer.from('another'));
  proxy.plan = (call) => (isFinish(call) ? failing(404, 'NoSuchUpload') : null);
  await assert.rejects(
    store.adopt(join(directory, 'x'), `${root}/x`),
    failsAs('store_failed', /NoSuchUpload/),
  );
});

test('an upload that cannot be ended is taken back, and nothing of it is seen', async () => {
  await using place = await openPlace(SHORT);
  const { store, other, root, proxy, directory } = place;
  await writeFile(join(directory, 'x'), randomBytes(2 * PART_BYTES));
  proxy.plan = (call) =>
    isPart(call) && call.url.includes('partNumber=2') ? failing(503, 'SlowDown') : null;
  await assert.rejects(
    store.adopt(join(directory, 'x'), `${root}/x`),
    failsAs('store_unreachable', /SlowDown/),
  );
  assert.equal(await other.read(`${root}/x`), null);
  assert.equal(await uploads(other, root), 0);
  proxy.plan = () => null;
  await store.adopt(join(directory, 'x'), `${root}/x`);
  assert.equal((await other.read(`${root}/x`))?.length, 2 * PART_BYTES);
});

/** Of every kind of call, three in ten go wrong. */
const stormy = (random: () => number): S3Plan => {
  const kinds: readonly S3Fault[] = [
    failing(500, 'InternalError'),
    failing(500, 'InternalError', true),
    failing(503, 'SlowDown'),
    failing(409, 'ConditionalRequestConflict'),
    { kind: 'cut', done: false },
    { kind: 'cut', done: true },
    { kind: 'half' },
  ];
  return () => (random() < 0.3 ? (kinds[Math.floor(random() * kinds.length)] ?? null) : null);
};

test('16 writers race for each version while three calls in ten go wrong: one winner', async (context) => {
  await using place = await openPlace();
  const { root, proxy, other, open } = place;
  proxy.plan = stormy(seededRandom((text) => context.diagnostic(text)));
  const writers = Array.from({ length: 16 }, () => open(proxy.endpoint));
  for (let version = 1; version <= 12; version++) {
    const uri = `${root}/v${version}.metadata.json`;
    const bodies = writers.map(() => Buffer.from(`${version} ${randomUUID()}`));
    const results = await Promise.all(
      writers.map((store, at) => store.createExclusive(uri, bodies[at] ?? Buffer.alloc(0))),
    );
    assert.equal(results.filter((result) => result === 'created').length, 1, `v${version}`);
    assert.equal(await textOf(other, uri), String(bodies[results.indexOf('created')]));
  }
  assert.equal(await countOf(other, root), 12);
});
