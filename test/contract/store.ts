// Owns what every Store must do. Run it against each implementation; `open` gives a fresh, empty place.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Store, StoredFile } from '../../src/sinks/parquet/store.ts';

type StorePlace = {
  store: Store;
  /** A URI prefix without trailing slash, below which the test may do anything. */
  root: string;
  /** So many that a listing comes in several answers. */
  files?: number;
  /** Leaves behind what a write to `uri` that was cut off would leave. */
  leaveHalfWritten(uri: string): Promise<void>;
} & AsyncDisposable;

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (found: Uint8Array | null): string | null => found && Buffer.from(found).toString();

const listed = async (files: AsyncIterable<StoredFile>): Promise<StoredFile[]> => {
  const all: StoredFile[] = [];
  for await (const file of files) all.push(file);
  return all.sort((a, b) => (a.uri < b.uri ? -1 : 1));
};
const uris = async (files: AsyncIterable<StoredFile>): Promise<string[]> =>
  (await listed(files)).map(({ uri }) => uri);

export const storeContract = (name: string, open: () => Promise<StorePlace>): void => {
  const each = (what: string, run: (place: StorePlace) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      await using place = await open();
      await run(place);
    });
  };

  each(
    'a missing file reads as null, does not exist, and is removed without complaint',
    async ({ store, root }) => {
      assert.equal(await store.read(`${root}/none/at/all`), null);
      assert.equal(await store.exists(`${root}/none/at/all`), false);
      await store.remove(`${root}/none/at/all`);
      assert.deepEqual(await uris(store.list(`${root}/none/`)), []);
    },
  );

  each('an exclusive create keeps the first bytes', async ({ store, root }) => {
    const uri = `${root}/t/metadata/v1.metadata.json`;
    assert.equal(await store.createExclusive(uri, bytes('first')), 'created');
    assert.equal(await store.createExclusive(uri, bytes('second')), 'exists');
    assert.equal(await store.createExclusive(uri, bytes('first')), 'exists');
    assert.equal(text(await store.read(uri)), 'first');
    assert.equal(await store.exists(uri), true);
    await store.remove(uri);
    assert.equal(await store.createExclusive(uri, bytes('third')), 'created');
  });

  each('a listing is whole, however many files there are', async ({ store, root, files = 30 }) => {
    const names = Array.from({ length: files }, (_, at) => `${root}/many/${at}`);
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(names.slice(at, at + 50).map((uri) => store.write(uri, bytes('x'))));
    assert.deepEqual(new Set(await uris(store.list(`${root}/many/`))), new Set(names));
  });

  each(
    'of many exclusive creates at once exactly one wins, and its bytes are there',
    async ({ store, root }) => {
      for (let round = 0; round < 20; round++) {
        const uri = `${root}/race/${round}`;
        const tries = Array.from({ length: 16 }, (_, at) =>
          store.createExclusive(uri, bytes(`writer ${at}`)),
        );
        const results = await Promise.all(tries);
        assert.equal(results.filter((result) => result === 'created').length, 1);
        assert.equal(text(await store.read(uri)), `writer ${results.indexOf('created')}`);
      }
    },
  );

  each('a write replaces, also by nothing', async ({ store, root }) => {
    const uri = `${root}/t/metadata/version-hint.text`;
    await store.write(uri, bytes('1'));
    await store.write(uri, bytes('22'));
    assert.equal(text(await store.read(uri)), '22');
    await store.write(uri, new Uint8Array(0));
    assert.equal(text(await store.read(uri)), '');
  });

  each('readers of a file that is being replaced see one version or the other', async ({ store, root }) => {
    const uri = `${root}/hint`;
    const versions = [Buffer.alloc(50_000, 'a'), Buffer.alloc(70_000, 'b')] as const;
    await store.write(uri, versions[0]);
    const writing = (async () => {
      for (let round = 0; round < 20; round++)
        await store.write(uri, versions[(round + 1) % 2] ?? versions[0]);
    })();
    for (let round = 0; round < 50; round++) {
      const found = await store.read(uri);
      assert.ok(found && versions.some((version) => version.equals(found)), 'half a file was seen');
    }
    await writing;
  });

  each(
    'a listing has every file below the prefix, with size and time, and nothing else',
    async ({ store, root }) => {
      const before = Date.now() - 60_000;
      await store.createExclusive(`${root}/a/metadata/v1.metadata.json`, bytes('12345'));
      await store.createExclusive(`${root}/a/metadata/v10.metadata.json`, bytes('1'));
      await store.createExclusive(`${root}/a/metadata/snap-1.avro`, bytes('1'));
      await store.createExclusive(`${root}/a/data/deep/er/x.parquet`, bytes('1'));
      await store.createExclusive(`${root}/ab/metadata/v1.metadata.json`, bytes('1'));
      const versions = await listed(store.list(`${root}/a/metadata/v`));
      assert.deepEqual(
        versions.map(({ uri, bytes: size }) => [uri, size]),
        [
          [`${root}/a/metadata/v1.metadata.json`, 5],
          [`${root}/a/metadata/v10.metadata.json`, 1],
        ],
      );
      for (const { modifiedMs } of versions)
        assert.ok(modifiedMs > before && modifiedMs < Date.now() + 60_000);
      assert.equal((await uris(store.list(`${root}/a/`))).length, 4);
      assert.equal((await uris(store.list(`${root}/a`))).length, 5);
    },
  );

  each('what a cut-off write left is invisible, blocks nobody, and is swept by age', async (place) => {
    const { store, root } = place;
    const uri = `${root}/t/data/x.parquet`;
    await place.leaveHalfWritten(uri);
    assert.deepEqual(await uris(store.list(`${root}/`)), []);
    assert.equal(await store.read(uri), null);
    assert.equal(await store.createExclusive(uri, bytes('whole')), 'created');
    await place.leaveHalfWritten(uri);
    assert.equal(await store.sweepLeftovers(`${root}/t/`, Date.now() - 3_600_000), 0);
    assert.ok((await store.sweepLeftovers(`${root}/t/`, Date.now() + 3_600_000)) > 0);
    assert.equal(await store.sweepLeftovers(`${root}/t/`, Date.now() + 3_600_000), 0);
    assert.equal(text(await store.read(uri)), 'whole');
  });

  each('a local file is taken over and can be had back as one', async ({ store, root }) => {
    const directory = await mkdtemp(join(tmpdir(), 'varve-adopt-'));
    try {
      const local = join(directory, 'made.parquet');
      await writeFile(local, 'rows');
      const uri = `${root}/t/data/1.parquet`;
      await store.adopt(local, uri);
      assert.equal(text(await store.read(uri)), 'rows');
      using copies = store.lease();
      assert.equal(await readFile(await copies.localCopy(uri), 'utf8'), 'rows');
      assert.deepEqual(await uris(store.list(`${root}/t/`)), [uri]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  each('a large file is taken over whole, and is not seen before it is', async ({ store, root }) => {
    const directory = await mkdtemp(join(tmpdir(), 'varve-adopt-'));
    try {
      const local = join(directory, 'large.parquet');
      const whole = randomBytes(40 * (1 << 20) + 7);
      await writeFile(local, whole);
      const uri = `${root}/t/data/large.parquet`;
      let adopted = false;
      const adopting = store.adopt(local, uri).then(() => (adopted = true));
      while (!adopted) {
        await setImmediate();
        for (const { bytes: size } of await listed(store.list(`${root}/t/`)))
          assert.equal(size, whole.length);
        const found = await store.read(uri);
        assert.ok(found === null || whole.equals(found), 'half a file was seen');
      }
      await adopting;
      assert.ok(whole.equals((await store.read(uri)) ?? Buffer.alloc(0)));
      using copies = store.lease();
      assert.ok(whole.equals(await readFile(await copies.localCopy(uri))));
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  each('unusual names stay what they are', async ({ store, root }) => {
    const names = ['with space', 'ümläut', "it's", 'a+b=c', 'x,y;z', '_x2D_'];
    for (const name of names) await store.createExclusive(`${root}/n/${name}`, bytes(name));
    for (const name of names) assert.equal(text(await store.read(`${root}/n/${name}`)), name);
    assert.deepEqual(
      new Set(await uris(store.list(`${root}/n/`))),
      new Set(names.map((name) => `${root}/n/${name}`)),
    );
  });
};
