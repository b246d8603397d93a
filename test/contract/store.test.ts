// The store contract on the local disk, and what only the local store can get wrong.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { VarveError } from '../../src/errors.ts';
import { storeError } from '../../src/sinks/parquet/store-error.ts';
import { fromFileUri, openLocalStore, toFileUri } from '../../src/sinks/parquet/store-local.ts';
import { MemoryStore } from '../sinks/iceberg/memory-store.ts';
import { storeContract } from './store.ts';

const openLocal = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-store-'));
  const store = openLocalStore(directory, { uuid: randomUUID });
  return {
    store,
    directory,
    root: toFileUri(directory),
    leaveHalfWritten: async (uri: string) => {
      const path = fromFileUri(uri);
      // A process that was killed has made the directory and part of the temporary file.
      await store.createExclusive(`${dirname(uri)}/other`, Buffer.from(''));
      await store.remove(`${dirname(uri)}/other`);
      await writeFile(join(dirname(path), `.x.${randomUUID()}.tmp`), 'half');
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
};

storeContract('local store', openLocal);

storeContract('memory store', async () => {
  const store = new MemoryStore(Date.now);
  return {
    store,
    root: 's3://bucket/lake',
    leaveHalfWritten: async (uri: string) => void store.leftovers.set(uri, Date.now()),
    [Symbol.asyncDispose]: async () => {},
  };
});

const kind = (expected: string) => (thrown: unknown) =>
  thrown instanceof VarveError && thrown.kind === expected;

test('paths become URIs without escapes, and back, also in the spelling of Java', () => {
  assert.equal(toFileUri('/data/my lake/'), 'file:///data/my lake');
  assert.equal(fromFileUri('file:///data/x'), '/data/x');
  assert.equal(fromFileUri('file:/data/x'), '/data/x');
  for (const path of ['relative', '/a%20b', '/a#b', '/a?b', '/a*b', '/a\nb', '/a[b', '/a{b'])
    assert.throws(() => toFileUri(path), kind('config_invalid'), path);
  for (const uri of ['s3://bucket/x', '/data/x', 'file://host/x', 'file:///a/../b'])
    assert.throws(() => fromFileUri(uri), kind('table_foreign'), uri);
});

test('nothing outside the root is created, replaced or removed', async () => {
  await using place = await openLocal();
  const { store, root } = place;
  for (const uri of [`${root}x/file`, 'file:///tmp/varve-elsewhere', `${root}/../varve-elsewhere`]) {
    await assert.rejects(store.createExclusive(uri, Buffer.from('x')), kind('table_foreign'));
    await assert.rejects(store.write(uri, Buffer.from('x')), kind('table_foreign'));
    await assert.rejects(store.remove(uri), kind('table_foreign'));
    await assert.rejects(store.adopt('/dev/null', uri), kind('table_foreign'));
  }
});

test('a full disk comes right by itself; any other fault needs somebody and is named', async () => {
  for (const [code, outcome] of [
    ['ENOSPC', 'disk_full'],
    ['EDQUOT', 'disk_full'],
    ['EIO', 'store_failed'],
    ['EROFS', 'store_failed'],
    ['EMFILE', 'store_failed'],
  ] as const) {
    const error = storeError('write', '/lake/x', Object.assign(new Error('boom'), { code }));
    assert.equal(error.kind, outcome);
    assert.equal(error.outcome, outcome === 'disk_full' ? 'retry' : 'stop');
    assert.equal(error.facts.code, code);
  }
  await using place = await openLocal();
  const { store, root, directory } = place;
  await writeFile(join(directory, 'file'), '');
  await assert.rejects(store.createExclusive(`${root}/file/below`, Buffer.from('x')), (thrown) => {
    assert.ok(kind('store_failed')(thrown));
    assert.match((thrown as Error).message, /ENOTDIR|EEXIST/);
    return true;
  });
});

test('a successful write leaves no temporary file', async () => {
  await using place = await openLocal();
  const { store, root, directory } = place;
  await store.createExclusive(`${root}/m/a`, Buffer.from('x'));
  await store.createExclusive(`${root}/m/a`, Buffer.from('y'));
  await store.write(`${root}/m/b`, Buffer.from('x'));
  assert.deepEqual((await readdir(join(directory, 'm'))).sort(), ['a', 'b']);
});
