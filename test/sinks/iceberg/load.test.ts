// What a table tells whoever loads it: which version is the newest, what is damaged, lost or foreign, and
// what other writers left in it; and what becomes of a writer that held on to an old version.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorKind, VarveError } from '../../../src/errors.ts';
import { commit, createTable } from '../../../src/sinks/parquet/iceberg/commit.ts';
import {
  liveFiles,
  loadTable,
  summaryValue,
  type TableState,
} from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { hintFile, metadataFile } from '../../../src/sinks/parquet/layout.ts';
import {
  append,
  COLUMNS,
  commitAll,
  dataFile,
  LOCATION,
  livePaths,
  makeWorld,
  newTable,
  type World,
} from './table-world.ts';

const kind = (expected: ErrorKind) => (thrown: unknown) =>
  thrown instanceof VarveError && thrown.kind === expected;

const reload = async (world: World): Promise<TableState> => {
  const state = await loadTable(world, LOCATION);
  assert.ok(state, 'the table is gone');
  return state;
};

test('a rolled back table tells the keys of the snapshot it stands on, not the newer property', async () => {
  const world = makeWorld();
  const state = await commitAll(world, await newTable(world), [
    append([dataFile()], { 'varve.offsets': 'old' }),
    append([dataFile()], { 'varve.offsets': 'new' }),
  ]);
  const old = state.metadata.snapshots[0]?.['snapshot-id'];
  const rolled = { ...state, metadata: { ...state.metadata, 'current-snapshot-id': old } };
  assert.equal(summaryValue(rolled, 'varve.offsets'), 'old');
});

test('every metadata file has its own uuid, so that equal changes have different bytes', async () => {
  const world = makeWorld();
  const state = await newTable(world);
  const one = await commit(world, state, { properties: { a: '1' } });
  await world.store.remove(metadataFile(LOCATION, 2));
  const two = await commit(world, state, { properties: { a: '1' } });
  assert.notEqual(one.properties['varve.commit-uuid'], two.properties['varve.commit-uuid']);
});

test('times never go back, whatever the clock does', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [append([dataFile()])]);
  world.clock.nowMs -= 86_400_000;
  state = await commit(world, state, append([dataFile()]));
  const times = state.metadata['snapshot-log'].map((entry) => entry['timestamp-ms']);
  assert.deepEqual(times, [...times].sort());
  assert.ok(state.metadata['last-updated-ms'] >= (times.at(-1) ?? 0));
});

test('an hour-old base is looked at again before it is committed on', async () => {
  const world = makeWorld();
  const base = await newTable(world);
  world.clock.nowMs += 3_600_001;
  const state = await commit(world, base, append([dataFile()]));
  world.clock.nowMs += 3_600_001;
  await commit(world, state, append([dataFile()]));
  await assert.rejects(commit(world, state, append([dataFile()])), kind('commit_conflict'));
});

test('a writer that slept until its version was cleaned away stands down', async () => {
  const world = makeWorld();
  const base = await newTable(world);
  let state = base;
  for (let count = 0; count < 4; count++) state = await commit(world, state, append([dataFile()]));
  for (const version of [1, 2, 3]) await world.store.remove(metadataFile(LOCATION, version));
  await assert.rejects(commit(world, base, append([dataFile()])), kind('commit_conflict'));
  assert.equal(await world.store.exists(metadataFile(LOCATION, 2)), false);
  assert.deepEqual((await reload(world)).metadata, state.metadata);
});

test('the same without a hint: the age of the base makes it look', async () => {
  const world = makeWorld();
  const base = await newTable(world);
  let state = base;
  for (let count = 0; count < 4; count++) state = await commit(world, state, append([dataFile()]));
  for (const version of [1, 2, 3]) await world.store.remove(metadataFile(LOCATION, version));
  await world.store.remove(hintFile(LOCATION));
  const { createExclusive } = world.store;
  // The writer is stopped for long just before its create.
  world.store.createExclusive = async (uri, bytes) => {
    if (uri === metadataFile(LOCATION, 2)) world.clock.nowMs += 90_000_000;
    return createExclusive.call(world.store, uri, bytes);
  };
  await assert.rejects(commit(world, base, append([dataFile()])), kind('commit_conflict'));
  assert.equal(await world.store.exists(metadataFile(LOCATION, 2)), false);
});

test('the hint only moves forward, and the table does not need it', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [append([dataFile()]), append([dataFile()])]);
  for (const hint of ['1', '2', 'garbage', '', '-3', '00']) {
    await world.store.write(hintFile(LOCATION), Buffer.from(hint));
    assert.equal((await reload(world)).version, 3, hint);
  }
  await world.store.remove(hintFile(LOCATION));
  assert.equal((await reload(world)).version, 3);
  world.store.write = () => Promise.reject(new Error('read-only'));
  state = await commit(world, state, append([dataFile()]));
  assert.equal(world.hintFailures.length, 1);
  assert.equal((await reload(world)).version, 4);
});

test('a lost version, a damaged file and a foreign format are told apart', async () => {
  const world = makeWorld();
  const state = await commitAll(world, await newTable(world), [append([dataFile()]), append([dataFile()])]);
  const [manifest] = state.manifests;
  const listUri = state.snapshot?.['manifest-list'];
  assert.ok(manifest && listUri);
  const cases: [what: string, uri: string, bytes: Uint8Array | null, expected: ErrorKind][] = [
    ['the hinted version is gone', metadataFile(LOCATION, 3), null, 'table_corrupt'],
    [
      'half a metadata file',
      metadataFile(LOCATION, 3),
      Buffer.from('{"format-version": 2,'),
      'table_corrupt',
    ],
    ['an empty metadata file', metadataFile(LOCATION, 3), Buffer.from(''), 'table_corrupt'],
    [
      'JSON that is no metadata',
      metadataFile(LOCATION, 3),
      Buffer.from('{"format-version": 2}'),
      'table_corrupt',
    ],
    ['format version 3', metadataFile(LOCATION, 3), Buffer.from('{"format-version": 3}'), 'table_foreign'],
    ['a manifest list that is gone', listUri, null, 'table_corrupt'],
    [
      'a manifest list that is cut',
      listUri,
      ((await world.store.read(listUri)) ?? new Uint8Array()).slice(0, -20),
      'table_corrupt',
    ],
    ['a manifest that is gone', manifest.path, null, 'table_corrupt'],
    [
      'a manifest that grew',
      manifest.path,
      Buffer.concat([(await world.store.read(manifest.path)) ?? Buffer.of(), Buffer.of(0)]),
      'table_corrupt',
    ],
  ];
  for (const [what, uri, bytes, expected] of cases) {
    const good = await world.store.read(uri);
    assert.ok(good);
    if (bytes === null) await world.store.remove(uri);
    else await world.store.write(uri, bytes);
    const load = async () => {
      const read = await loadTable(world, LOCATION);
      if (read) await liveFiles(world.store, read);
    };
    await assert.rejects(load(), kind(expected), what);
    await world.store.write(uri, good);
  }
  // v2 lost while the hint lags behind it: v4 must not be built as a fork of v1.
  await world.store.write(hintFile(LOCATION), Buffer.from('1'));
  await world.store.remove(metadataFile(LOCATION, 2));
  await assert.rejects(loadTable(world, LOCATION), kind('table_corrupt'));
});

test('what Varve cannot fold is refused as foreign', async () => {
  const world = makeWorld();
  const state = await newTable(world);
  const change = async (edit: (json: Record<string, unknown>) => void): Promise<void> => {
    const json = JSON.parse(
      Buffer.from((await world.store.read(metadataFile(LOCATION, 1))) ?? '').toString(),
    );
    edit(json);
    await world.store.write(metadataFile(LOCATION, 2), Buffer.from(JSON.stringify(json)));
    await assert.rejects(loadTable(world, LOCATION), kind('table_foreign'));
  };
  await change((json) => {
    json.properties = { 'write.metadata.compression-codec': 'gzip' };
  });
  await change((json) => {
    json['partition-specs'] = [
      { 'spec-id': 0, fields: [{ 'source-id': 1, 'field-id': 1000, name: 'x', transform: 'truncate[4]' }] },
    ];
  });
  await change((json) => {
    json['partition-specs'] = [
      { 'spec-id': 0, fields: [{ 'source-id': 3, 'field-id': 1000, name: 'amount', transform: 'identity' }] },
    ];
  });
  assert.equal(state.version, 1);
});

test('two tables at one place: the second create is told, its own retry is not', async () => {
  const world = makeWorld();
  const { createExclusive } = world.store;
  let lost = true;
  world.store.createExclusive = async (uri, bytes) => {
    const result = await createExclusive.call(world.store, uri, bytes);
    if (lost) {
      lost = false;
      throw new Error('the answer was lost');
    }
    return result;
  };
  const bare = { columns: COLUMNS, partition: [], sort: [], properties: {} };
  const made = await createTable(world, LOCATION, bare);
  assert.equal((await reload(world)).uuid, made.uuid);
  assert.deepEqual((await reload(world)).spec.fields, []);
});

test('snapshot ids of other writers, beyond 2^53, survive our commits digit by digit', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [append([dataFile()])]);
  const text = Buffer.from((await world.store.read(metadataFile(LOCATION, 2))) ?? '').toString();
  const mine = String(state.metadata['current-snapshot-id']);
  const foreign = '9187343239835811841';
  await world.store.write(metadataFile(LOCATION, 2), Buffer.from(text.replaceAll(`:${mine}`, `:${foreign}`)));
  state = await reload(world);
  state = await commit(world, state, append([dataFile()]));
  const next = Buffer.from((await world.store.read(metadataFile(LOCATION, 3))) ?? '').toString();
  assert.match(next, new RegExp(`"parent-snapshot-id":${foreign}[,}]`));
  assert.match(next, new RegExp(`"snapshot-id":${foreign}[,}]`));
  assert.equal((await livePaths(world, await reload(world))).length, 2);
});

test('keys that Varve does not know stay in the metadata', async () => {
  const world = makeWorld();
  await newTable(world);
  const json = JSON.parse(Buffer.from((await world.store.read(metadataFile(LOCATION, 1))) ?? '').toString());
  json['x-future'] = { deep: [1, 12345678901234567890n.toString()] };
  json.refs = { keep: { 'snapshot-id': 1, type: 'tag', 'max-ref-age-ms': 5 } };
  await world.store.write(metadataFile(LOCATION, 1), Buffer.from(JSON.stringify(json)));
  const state = await commit(world, await reload(world), { properties: { a: 'b' } });
  const next = JSON.parse(
    Buffer.from((await world.store.read(metadataFile(LOCATION, state.version))) ?? '').toString(),
  );
  assert.deepEqual(next['x-future'], json['x-future']);
  assert.deepEqual(next.refs, json.refs);
});
