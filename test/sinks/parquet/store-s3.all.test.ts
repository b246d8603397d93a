// The store contract on a real S3 server, through every size of file, and what only an object store can get
// wrong: races of processes, copies on this machine, mistakes of whoever wrote the file.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { S3Client } from '../../../src/sinks/parquet/s3-client.ts';
import { s3Object } from '../../../src/sinks/parquet/s3-place.ts';
import { probeStore } from '../../../src/sinks/parquet/store-probe.ts';
import { storeContract } from '../../contract/store.ts';
import { openTestStore, S3_ENVIRONMENT, type S3Knobs, startS3, type TestS3 } from '../../support/s3.ts';

let server: TestS3;
before(async () => {
  Object.assign(process.env, S3_ENVIRONMENT);
  server = await startS3();
});
after(() => server[Symbol.asyncDispose]());

const openPlace = async (knobs: Partial<S3Knobs> = {}) => {
  const root = `s3://${server.bucket}/${randomUUID()}`;
  const directory = await mkdtemp(join(tmpdir(), 'varve-s3-copies-'));
  const store = openTestStore(root, { s3: { endpoint: server.endpoint }, copies: directory, ...knobs });
  const client = new S3Client({ endpoint: server.endpoint, silentMs: 10_000 });
  return {
    store,
    root,
    directory,
    files: 1010,
    leaveHalfWritten: async (uri: string) => {
      const id = await client.beginUpload(s3Object(uri), '00000000');
      await client.uploadPart(s3Object(uri), { id, number: 1 }, randomBytes(1000));
    },
    [Symbol.asyncDispose]: async () => {
      store.close();
      client.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

storeContract('S3 store', () => openPlace());

const failsAs = (kind: string, words: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof VarveError, String(thrown));
  assert.equal(thrown.kind, kind, thrown.message);
  assert.match(thrown.message, words);
  const all = `${thrown.message} ${JSON.stringify(thrown.facts)} ${thrown.stack} ${String(thrown.cause)}`;
  for (const secret of [S3_ENVIRONMENT.AWS_SECRET_ACCESS_KEY, 'wrong-secret', 'Signature='])
    assert.ok(!all.includes(secret ?? ''), `${secret} is in the error`);
  return true;
};

test('nothing outside the root is created, replaced or removed', async () => {
  await using place = await openPlace();
  const { store, root } = place;
  for (const uri of [`${root}x/file`, `s3://${server.bucket}/other`, `${root}/../other`, 'file:///tmp/x']) {
    const foreign = failsAs('table_foreign', /outside|not in an object store/);
    assert.throws(() => store.createExclusive(uri, Buffer.from('x')), foreign, uri);
    assert.throws(() => store.write(uri, Buffer.from('x')), foreign);
    await assert.rejects(store.remove(uri), foreign);
    await assert.rejects(store.adopt('/dev/null', uri), foreign);
  }
});

test('a real store passes the trial, and nothing of it stays', async () => {
  await using place = await openPlace();
  await probeStore(place.store, place.root, { uuid: randomUUID, nowMs: Date.now });
  for await (const { uri } of place.store.list(`${place.root}/`)) assert.fail(`${uri} stayed`);
});

test('copies: fetched once, bounded, none goes that a lease holds; a lost one comes again', async () => {
  await using place = await openPlace({ copiesBytes: 2500 });
  const { store, root, directory } = place;
  const put = async (name: string): Promise<string> => {
    await store.write(`${root}/${name}`, Buffer.alloc(1000, name));
    return `${root}/${name}`;
  };
  const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map(put));
  const kept = async (): Promise<number> => (await readdir(directory)).length;
  {
    using copies = store.lease();
    const [first, again] = await Promise.all([copies.localCopy(a ?? ''), copies.localCopy(a ?? '')]);
    assert.equal(first, again);
    for (const uri of [b, c, d]) await copies.localCopy(uri ?? '');
    assert.equal(await kept(), 4, 'a copy went while it was held');
    assert.equal(await readFile(first, 'utf8'), 'a'.repeat(1000));
    await unlink(first);
    assert.equal(await readFile(await copies.localCopy(a ?? ''), 'utf8'), 'a'.repeat(1000));
  }
  using copies = store.lease();
  await copies.localCopy(c ?? '');
  await copies.localCopy(d ?? '');
  await copies.localCopy(b ?? '');
  assert.ok((await kept()) <= 3);
  await store.remove(d ?? '');
  using later = store.lease();
  await assert.rejects(later.localCopy(d ?? ''), failsAs('table_corrupt', /missing/));
});

test('what was adopted need not be fetched to be had, and its copy has its bytes', async () => {
  await using place = await openPlace();
  const { store, root, directory } = place;
  const local = join(directory, 'made');
  await writeFile(local, 'rows');
  await store.adopt(local, `${root}/1.parquet`);
  await server.stop();
  try {
    using copies = store.lease();
    assert.equal(await readFile(await copies.localCopy(`${root}/1.parquet`), 'utf8'), 'rows');
  } finally {
    await server.restart();
  }
});

test('mistakes are said with what to do', async () => {
  await using place = await openPlace();
  const quick = { budgetMs: 300, firstMs: 10, mostMs: 50 };
  const s3 = { endpoint: server.endpoint };
  const probe = async (root: string, knobs: S3Knobs): Promise<void> => {
    const store = openTestStore(root, knobs);
    await probeStore(store, root, { uuid: randomUUID, nowMs: Date.now }).finally(() => store.close());
  };
  await assert.rejects(
    probe('s3://nobody-made-it/x', { s3, copies: null }),
    failsAs('store_failed', /no such bucket. Make it, or mend table.location/),
  );
  await assert.rejects(
    probe(place.root, { s3: { endpoint: 'http://127.0.0.1:1' }, copies: null, patience: quick }),
    failsAs('store_unreachable', /ECONNREFUSED.*table.s3.endpoint/),
  );
  const trials = [
    [{ AWS_SECRET_ACCESS_KEY: 'wrong-secret' }, /the secret key is not the one/],
    [{ AWS_ACCESS_KEY_ID: 'nobody' }, /does not know the access key/],
    [
      { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_EC2_METADATA_DISABLED: 'true' },
      /no credentials/,
    ],
  ] as const;
  for (const [change, words] of trials) {
    const old = { ...process.env };
    Object.assign(process.env, change, {
      AWS_SHARED_CREDENTIALS_FILE: '/nowhere',
      AWS_CONFIG_FILE: '/nowhere',
    });
    try {
      await assert.rejects(probe(place.root, { s3, copies: null }), failsAs('store_denied', words));
    } finally {
      process.env = old;
    }
  }
  await assert.rejects(
    probe(place.root, { s3: { ...s3, region: 'eu-central-1' }, copies: null }),
    failsAs('store_failed', /table.s3.region/),
  );
});
