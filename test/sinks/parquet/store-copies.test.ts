// The copies of stored files on this machine: how long they stay, and for whom.
import assert from 'node:assert/strict';
import { access, mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { LocalCopyCache } from '../../../src/sinks/parquet/local-copies.ts';
import { until } from '../../support/polling.ts';

const kind = (expected: string) => (thrown: unknown) =>
  thrown instanceof VarveError && thrown.kind === expected;

const makeCache = async (maxBytes: number) => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-copies-'));
  const fetched: string[] = [];
  const fetch = async (uri: string, path: string): Promise<void> => {
    fetched.push(uri);
    if (uri === 'bad') throw new VarveError('store_unreachable', 'no answer');
    await writeFile(path, uri.repeat(100));
  };
  const cache = new LocalCopyCache({ directory, maxBytes, fetch });
  return { cache, fetched, directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
};

test('copies are fetched once, the least recently used go first, and none that is held', async () => {
  await using made = await makeCache(250);
  const { cache, fetched, directory } = made;
  {
    using held = cache.lease();
    using also = cache.lease();
    for (const uri of ['a', 'b', 'c', 'd']) await held.localCopy(uri);
    await also.localCopy('b');
    assert.equal((await readdir(directory)).length, 4);
  }
  // Two of them fit.
  await until(async () => (await readdir(directory)).length === 2);
  using later = cache.lease();
  await later.localCopy('d');
  await later.localCopy('b');
  assert.deepEqual(fetched, ['a', 'b', 'c', 'd']);
  const path = await later.localCopy('a');
  assert.equal(await readFile(path, 'utf8'), 'a'.repeat(100));
  await unlink(path);
  assert.equal(
    await readFile(await later.localCopy('a'), 'utf8'),
    'a'.repeat(100),
    'a lost copy comes again',
  );
  await assert.rejects(later.localCopy('bad'), kind('store_unreachable'));
  await assert.rejects(later.localCopy('bad'), kind('store_unreachable'));
  assert.equal(fetched.filter((uri) => uri === 'bad').length, 2, 'a failure is not kept');
});

test('a file that is taken over is its own copy; one that is forgotten stays while it is held', async () => {
  await using made = await makeCache(10_000);
  const { cache, fetched, directory } = made;
  const local = join(directory, 'made');
  await writeFile(local, 'rows');
  await cache.keep('x', local);
  {
    using held = cache.lease();
    const path = await held.localCopy('x');
    assert.deepEqual(fetched, []);
    cache.forget('x');
    assert.equal(await readFile(path, 'utf8'), 'rows');
  }
  await assert.rejects(access(local));
  using again = cache.lease();
  await again.localCopy('x');
  assert.deepEqual(fetched, ['x']);
});
