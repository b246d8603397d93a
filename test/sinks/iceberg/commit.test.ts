// What a commit leaves behind, as another process reads it: files, sequence numbers, totals, keys, conflicts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorKind, VarveError } from '../../../src/errors.ts';
import { decodeAvroFile } from '../../../src/sinks/parquet/iceberg/avro-file.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { ENTRY_NAMES } from '../../../src/sinks/parquet/iceberg/manifest-schema.ts';
import {
  liveFiles,
  loadTable,
  readSources,
  summaryValue,
  type TableState,
} from '../../../src/sinks/parquet/iceberg/table-state.ts';
import type { LiveFile } from '../../../src/sinks/parquet/iceberg-type.ts';
import { hintFile } from '../../../src/sinks/parquet/layout.ts';
import {
  append,
  COLUMNS,
  commitAll,
  dataFile,
  deletesOf,
  LOCATION,
  liveFile,
  livePaths,
  makeWorld,
  newTable,
  nextSnapshotId,
  overwrite,
  PARTITION,
  replace,
  type World,
} from './table-world.ts';

const kind = (expected: ErrorKind) => (thrown: unknown) =>
  thrown instanceof VarveError && thrown.kind === expected;

const reload = async (world: World): Promise<TableState> => {
  const state = await loadTable(world, LOCATION);
  assert.ok(state, 'the table is gone');
  return state;
};

const byPath = async (world: World, state: TableState): Promise<LiveFile[]> =>
  [...(await liveFiles(world.store, state)).values()].sort((a, b) => (a.path < b.path ? -1 : 1));

/** Number of entries by status in all manifests of the current snapshot. */
const entryStatuses = async (world: World, state: TableState): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { entries } of await readSources(world.store, state))
    for (const { status } of entries) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

test('a new table is empty and found by its location', async () => {
  const world = makeWorld();
  assert.equal(await loadTable(world, LOCATION), null);
  const made = await newTable(world);
  const read = await reload(world);
  assert.deepEqual([read.version, read.snapshot, read.uuid], [1, null, made.uuid]);
  assert.deepEqual(read.fields, COLUMNS);
  assert.deepEqual(
    read.spec.fields.map(({ fieldId, name, transform }) => [fieldId, name, transform]),
    [
      [1000, 'is_current', 'identity'],
      [1001, 'id_bucket_4', 'bucket[4]'],
    ],
  );
  assert.equal(Buffer.from((await world.store.read(hintFile(LOCATION))) ?? '').toString(), '1');
  await assert.rejects(newTable(world), kind('commit_conflict'));
});

test('a state as committed equals the state as somebody else reads it, value by value', async () => {
  const world = makeWorld();
  let state = await newTable(world);
  const first = dataFile();
  state = await commit(
    world,
    state,
    append([first, dataFile({ partition: [false, null] })], { 'varve.cut': 'a' }),
  );
  state = await commit(world, state, overwrite([dataFile(), deletesOf(first)], [], { 'varve.cut': 'b' }));
  const gone = await liveFile(world, state, first.path);
  const its = [...(await liveFiles(world.store, state)).values()].filter(
    (f) => f.referencedDataFile === first.path,
  );
  const base = state.metadata['last-sequence-number'];
  state = await commit(world, state, replace([dataFile()], [gone, ...its], base));
  const read = await reload(world);
  assert.deepEqual(read.metadata, state.metadata);
  assert.deepEqual(plain(read.manifests), plain(state.manifests));
  assert.deepEqual(plain(await byPath(world, read)), plain(await byPath(world, state)));
  assert.equal((await byPath(world, read)).length, 3);
});

/** Buffers and byte arrays, maps and objects without prototype are one to us. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, one) => {
      if (one instanceof Uint8Array) return [...one];
      if (one instanceof Map) return [...one];
      return typeof one === 'bigint' ? `${one}n` : one;
    }),
  );

test('sequence numbers rise with every snapshot and files inherit them', async () => {
  const world = makeWorld();
  const [one, two] = [dataFile(), dataFile()];
  const state = await commitAll(world, await newTable(world), [append([one]), append([two])]);
  assert.equal(state.metadata['last-sequence-number'], 2);
  const read = await reload(world);
  assert.equal((await liveFile(world, read, one.path)).sequence, 1);
  assert.equal((await liveFile(world, read, two.path)).sequence, 2);
  // On disk they are null: a retry of the commit may get another number.
  const manifest = read.manifests.find(({ sequence }) => sequence === 2);
  assert.ok(manifest);
  const bytes = (await world.store.read(manifest.path)) ?? new Uint8Array();
  const [row] = decodeAvroFile(bytes, ENTRY_NAMES, (entry: Record<string, unknown>) => entry);
  const { status, sequence_number, file_sequence_number } = row ?? {};
  assert.deepEqual([status, sequence_number, file_sequence_number], [1, null, null]);
});

test('a rewritten file keeps the data sequence number that it was read at', async () => {
  const world = makeWorld();
  const old = dataFile();
  let state = await commitAll(world, await newTable(world), [append([old]), append([dataFile()])]);
  const read = { state, at: state.metadata['last-sequence-number'] };
  state = await commit(world, state, append([dataFile({ partition: [true, 2] })]));
  const made = dataFile();
  state = await commit(world, state, replace([made], [await liveFile(world, read.state, old.path)], read.at));
  const file = await liveFile(world, await reload(world), made.path);
  assert.deepEqual([file.sequence, file.fileSequence], [2, 4]);
});

test('survivors of a removal get explicit numbers, the removed file is told once', async () => {
  const world = makeWorld();
  const [stays, goes] = [dataFile(), dataFile()];
  let state = await commitAll(world, await newTable(world), [append([stays, goes])]);
  state = await commit(world, state, overwrite([], [await liveFile(world, state, goes.path)]));
  assert.deepEqual(await entryStatuses(world, await reload(world)), { existing: 1, deleted: 1 });
  const kept = await liveFile(world, await reload(world), stays.path);
  assert.deepEqual([kept.sequence, kept.fileSequence], [1, 1]);
  state = await commit(world, state, overwrite([], [await liveFile(world, state, stays.path)]));
  assert.deepEqual(await entryStatuses(world, await reload(world)), { deleted: 1 });
  state = await commit(world, state, append([]));
  assert.deepEqual([state.manifests.length, await livePaths(world, await reload(world))], [0, []]);
});

test('totals are those of the live files', async () => {
  const world = makeWorld();
  const old = dataFile({ records: 10, bytes: 100 });
  let state = await commitAll(world, await newTable(world), [
    append([old, dataFile({ records: 7, bytes: 70 })]),
  ]);
  state = await commit(world, state, overwrite([dataFile({ records: 3, bytes: 30 }), deletesOf(old, 4)]));
  const summary = state.snapshot?.summary ?? {};

  assert.equal(summary.operation, 'overwrite');
  assert.deepEqual(
    [
      'total-data-files',
      'total-records',
      'total-delete-files',
      'total-position-deletes',
      'total-files-size',
    ].map((key) => summary[key]),
    ['3', '20', '1', '4', '700'],
  );
  assert.deepEqual([summary['added-records'], summary['added-position-deletes']], ['3', '4']);
});

test('own keys stand in summary and properties; a foreign snapshot does not hide them', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [
    append([dataFile()], { 'varve.offsets': '{"0":"7"}' }),
  ]);
  assert.equal(state.properties['varve.offsets'], '{"0":"7"}');
  assert.equal(summaryValue(await reload(world), 'varve.offsets'), '{"0":"7"}');
  // A rewrite carries them on by itself.
  const [file] = await byPath(world, state);
  assert.ok(file);
  state = await commit(world, state, replace([dataFile()], [file], 1));
  assert.equal(state.snapshot?.summary['varve.offsets'], '{"0":"7"}');
  // A foreign one does not: its parent still tells.
  const id = 4_611_686_018_427_387_905n;
  const parent = state.metadata['current-snapshot-id'];
  const foreign = structuredClone(state.metadata);
  foreign.snapshots.push({
    'snapshot-id': id,
    'parent-snapshot-id': parent ?? -1,
    'sequence-number': 3,
    'timestamp-ms': world.now(),
    'manifest-list': state.snapshot?.['manifest-list'] ?? '',
    summary: { operation: 'replace' },
  });
  const read = { ...state, metadata: { ...foreign, 'current-snapshot-id': id }, properties: {} };
  assert.equal(summaryValue(read, 'varve.offsets'), '{"0":"7"}');
  // Only when no snapshot on main's line has them, the property does.
  const bare = { ...read.metadata, snapshots: read.metadata.snapshots.slice(-1) };
  assert.equal(summaryValue({ ...read, metadata: bare }, 'varve.offsets'), null);
  assert.equal(
    summaryValue({ ...read, metadata: bare, properties: { 'varve.offsets': 'p' } }, 'varve.offsets'),
    'p',
  );
});

test('a commit on a base that is not the newest any more leaves nothing behind', async () => {
  const world = makeWorld();
  const base = await newTable(world);
  await commit(world, base, append([dataFile()]));
  const before = await list(world);
  await assert.rejects(commit(world, base, append([dataFile()])), kind('commit_conflict'));
  assert.deepEqual(await list(world), before);
});

const list = async (world: World): Promise<string[]> => {
  const uris: string[] = [];
  for await (const { uri } of world.store.list('')) uris.push(uri);
  return uris.sort();
};

test('a rewrite whose input is gone, or was deleted from meanwhile, is refused', async () => {
  const world = makeWorld();
  const [one, two] = [dataFile(), dataFile()];
  let state = await commitAll(world, await newTable(world), [append([one, two])]);
  const [first, second] = [await liveFile(world, state, one.path), await liveFile(world, state, two.path)];
  state = await commit(world, state, overwrite([deletesOf(one)], [second]));
  await assert.rejects(commit(world, state, replace([dataFile()], [second], 1)), kind('commit_conflict'));
  // The rows that were deleted after the rewrite read the file would come back.
  await assert.rejects(commit(world, state, replace([dataFile()], [first], 1)), kind('commit_conflict'));
  // The same for a delete file that names no data file.
  state = await commit(world, state, overwrite([deletesOf(one, 1, { referencedDataFile: null })]));
  const its = [...(await liveFiles(world.store, state)).values()].filter(
    (f) => f.referencedDataFile === one.path,
  );
  await assert.rejects(
    commit(world, state, replace([dataFile()], [first, ...its], 2)),
    kind('commit_conflict'),
  );
  await commit(world, state, replace([dataFile()], [first, ...its], 3));
});

test('what would make a wrong table is refused before anything is written', async () => {
  const world = makeWorld();
  const data = dataFile();
  const state = await commitAll(world, await newTable(world), [append([data])]);
  const before = await list(world);
  const live = await liveFile(world, state, data.path);
  const twice = dataFile();
  for (const [what, change] of [
    [
      'a delete file in another partition than its data file',
      overwrite([deletesOf(data, 1, { partition: [true, 3] })]),
    ],
    ['deletes for a file that is not there', overwrite([deletesOf(dataFile())])],
    ['a file twice', append([twice, twice])],
    ['a live file again', append([data])],
    ['an unknown spec', append([dataFile({ specId: 9 })])],
    ['a partition of another shape', append([dataFile({ partition: [true] })])],
    ['an empty file', append([dataFile({ records: 0 })])],
    ['a size that is no number', append([dataFile({ bytes: Number.NaN })])],
    [
      'an append that removes',
      { snapshot: { id: 5n, operation: 'append', add: [], remove: [live], summary: {} } },
    ],
    [
      'a replace without base',
      { snapshot: { id: 5n, operation: 'replace', add: [], remove: [live], summary: {} } },
    ],
    [
      'a snapshot id beyond 2^53',
      { snapshot: { id: 2n ** 60n, operation: 'append', add: [], remove: [], summary: {} } },
    ],
    [
      'a snapshot id that is taken',
      {
        snapshot: {
          id: BigInt(state.metadata['current-snapshot-id'] ?? 0),
          operation: 'append',
          add: [],
          remove: [],
          summary: {},
        },
      },
    ],
  ] as const) {
    await assert.rejects(commit(world, state, change), kind('internal'), what);
    assert.deepEqual(await list(world), before, what);
  }
});

test('schema and properties change with and without a snapshot', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [append([dataFile()])]);
  const wider = [...COLUMNS, { id: null, name: 'note', required: false, type: 'string' as const }];
  state = await commit(world, state, { columns: wider, properties: { owner: 'me', 'varve.layout': null } });
  let read = await reload(world);
  assert.equal(read.fields.at(-1)?.id, 5);
  assert.deepEqual([read.properties.owner, read.properties['varve.layout']], ['me', undefined]);
  assert.deepEqual(
    [read.metadata['last-column-id'], read.metadata.snapshots.length, read.version],
    [5, 1, 3],
  );
  // The same columns again are no new schema.
  state = await commit(world, state, { ...append([dataFile()]), columns: state.fields });
  read = await reload(world);
  assert.equal(read.metadata.schemas.length, 2);
  assert.equal(read.snapshot?.['schema-id'], 1);
  // Dropped and added again under its name: another column, and the old id never returns.
  state = await commit(world, state, { columns: COLUMNS });
  state = await commit(world, state, { columns: wider });
  assert.equal((await reload(world)).fields.at(-1)?.id, 6);
  await assert.rejects(
    commit(world, state, { columns: [...COLUMNS, { id: 5, name: 'note', required: false, type: 'string' }] }),
    kind('schema_incompatible'),
  );
});

test('another bucket count is another spec; files and deletes of the old one stay with it', async () => {
  const world = makeWorld();
  const old = dataFile();
  let state = await commitAll(world, await newTable(world), [append([old])]);
  const more = [PARTITION[0], { sourceId: 1, transform: 'bucket[8]' }].filter((field) => field !== undefined);
  state = await commit(world, state, { partition: more });
  const made = dataFile({ specId: 1, partition: [true, 7] });
  state = await commit(world, state, overwrite([made, deletesOf(old)]));
  const read = await reload(world);
  assert.deepEqual(
    read.spec.fields.map(({ fieldId, name }) => [fieldId, name]),
    [
      [1000, 'is_current'],
      [1002, 'id_bucket_8'],
    ],
  );
  assert.equal((await liveFile(world, read, old.path)).specId, 0);
  assert.deepEqual((await liveFile(world, read, made.path)).partition, [true, 7]);
  assert.equal(read.manifests.length, 3);
  // Back to the old count: the old spec.
  assert.equal((await commit(world, state, { partition: PARTITION })).spec.specId, 0);
});

test('an empty commit moves the keys and keeps the files', async () => {
  const world = makeWorld();
  let state = await commitAll(world, await newTable(world), [append([dataFile()], { 'varve.offsets': '1' })]);
  const { manifests } = state;
  state = await commit(world, state, {
    snapshot: {
      id: nextSnapshotId(),
      operation: 'append',
      add: [],
      remove: [],
      summary: { 'varve.offsets': '2' },
    },
  });
  assert.equal(summaryValue(await reload(world), 'varve.offsets'), '2');
  assert.deepEqual(state.manifests, manifests);
});
