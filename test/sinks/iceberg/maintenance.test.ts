// What is planned for rewriting, what expires, and what may be deleted when.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import {
  commitTimes,
  danglingDeletes,
  mostRuns,
  planRewrites,
  REWRITE_POLICY,
} from '../../../src/sinks/parquet/iceberg/maintenance.ts';
import { METADATA_LOG_LENGTH } from '../../../src/sinks/parquet/iceberg/next-metadata.ts';
import { auditFiles, retireVersions, sweepOrphans } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import { liveFiles, loadTable, summaryValue } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { retiredVersions } from '../../../src/sinks/parquet/iceberg/versions.ts';
import type { DataFile, LiveFile } from '../../../src/sinks/parquet/iceberg-type.ts';
import {
  append,
  commitAll,
  dataFile,
  deletesOf,
  LOCATION,
  liveFile,
  makeWorld,
  newTable,
  overwrite,
  replace,
  type World,
} from './table-world.ts';

const MB = 1 << 20;
const DAY = 86_400_000;
const live = (file: DataFile, sequence = 1): LiveFile => ({
  ...file,
  sequence,
  fileSequence: sequence,
  snapshotId: 1n,
});
const sized = (bytes: number, more: Partial<DataFile> = {}): LiveFile => live(dataFile({ bytes, ...more }));
/** Everything was committed just now. */
const input = (files: readonly LiveFile[]) => ({
  files,
  specId: 0,
  baseSequence: 9,
  nowMs: 1000,
  committedAtMs: () => 1000,
});

test('five small files of one partition are merged, four are not, others do not count', () => {
  const four = [1, 2, 3, 4].map((size) => sized(size * MB));
  assert.deepEqual(planRewrites(input(four)), []);
  const other = sized(MB, { partition: [true, 2] });
  assert.deepEqual(planRewrites(input([...four, other])), []);
  const [plan, ...rest] = planRewrites(input([...four, sized(5 * MB), other, sized(200 * MB)]));
  assert.equal(rest.length, 0);
  assert.deepEqual(
    [plan?.reason, plan?.data.length, plan?.baseSequence, plan?.partition],
    ['runs', 5, 9, [true, 1]],
  );
  assert.equal(mostRuns([...four, other, sized(200 * MB)]), 4);
});

test('a file far larger than the small ones waits for more of them', () => {
  const [plan] = planRewrites(input([sized(MB), sized(MB), sized(MB), sized(MB), sized(30 * MB)]));
  assert.equal(plan?.data.length, 4);
});

test('merging again and again rewrites each row a bounded number of times', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 200, maxLength: 400 }), (sizes) => {
      let files: LiveFile[] = [];
      let written = 0;
      let arrived = 0;
      for (const size of sizes) {
        files.push(sized(size * MB));
        arrived += size;
        for (const plan of planRewrites(input(files))) {
          const bytes = plan.data.reduce((total, file) => total + file.bytes, 0);
          written += bytes / MB;
          files = [...files.filter((file) => !plan.data.includes(file)), sized(bytes)];
        }
        assert.ok(mostRuns(files) < 8, 'intake would have to stop');
      }
      assert.ok(written < 8 * arrived, `${written} MB written for ${arrived} MB`);
    }),
    { numRuns: 20 },
  );
});

test('few small files are merged when one is old, or nobody knows its age', () => {
  const files = [sized(MB), sized(2 * MB)];
  const at = (ageMs: number | null) =>
    planRewrites({
      ...input(files),
      nowMs: 10_000_000,
      committedAtMs: () => (ageMs === null ? null : 10_000_000 - ageMs),
    });
  assert.deepEqual(at(599_000), []);
  assert.equal(at(601_000)[0]?.reason, 'small');
  assert.equal(at(null)[0]?.reason, 'small');
  assert.deepEqual(planRewrites({ ...input([sized(MB)]), nowMs: 10_000_000, committedAtMs: () => 0 }), []);
});

test('a file with many deleted rows is rewritten with its delete files', () => {
  const [big, clean] = [sized(200 * MB, { records: 100 }), sized(200 * MB, { records: 100 })];
  const few = live(deletesOf(big, 20), 2);
  assert.deepEqual(planRewrites(input([big, clean, few])), []);
  const more = live(deletesOf(big, 1), 3);
  const loose = live(deletesOf(big, 1, { referencedDataFile: null }), 4);
  const older = live(deletesOf(big, 1, { referencedDataFile: null }), 0);
  const [plan] = planRewrites(input([big, clean, few, more, loose, older]));
  assert.deepEqual([plan?.reason, plan?.data, plan?.deletes], ['deletes', [big], [few, more]]);
  // What names no data file is applied but not removed: it may hit others. An older one hits nothing of
  // these.
  assert.deepEqual(plan?.loose, [loose]);
});

test('a partition with too many delete files is rewritten, the worst first, within bounds', () => {
  const [one, two] = [sized(200 * MB, { records: 1e6 }), sized(200 * MB, { records: 1e6 })];
  const deletes = Array.from({ length: 101 }, (_, at) => live(deletesOf(at < 30 ? one : two, 1)));
  const [plan] = planRewrites(input([one, two, ...deletes]));
  assert.deepEqual(plan?.data, [two, one]);
  const [bounded] = planRewrites(input([one, two, ...deletes]), { ...REWRITE_POLICY, maxInputBytes: MB });
  assert.deepEqual(bounded?.data, [two]);
});

test('delete files that delete nothing any more are found', () => {
  const data = sized(MB);
  const mine = live(deletesOf(data));
  const orphan = live(deletesOf(dataFile()));
  const late = live(deletesOf(data, 1, { referencedDataFile: null }), 5);
  const early = live(deletesOf(data, 1, { referencedDataFile: null }), 0);
  assert.deepEqual(danglingDeletes([data, mine, orphan, late, early]), [orphan, early]);
});

test('expiry keeps the newest, the named, and all down to the one with our keys', async () => {
  const world = makeWorld();
  let state = await newTable(world);
  for (let at = 0; at < 6; at++) {
    world.clock.nowMs += DAY;
    state = await commit(world, state, append([dataFile()], at < 4 ? { 'varve.offsets': `mine ${at}` } : {}));
  }
  const ids = state.metadata.snapshots.map((snapshot) => snapshot['snapshot-id']);
  // Somebody tagged the first one.
  const tagged = structuredClone(state.metadata);
  tagged.refs.keep = { 'snapshot-id': ids[0] ?? 0, type: 'tag' };
  const read = { ...state, metadata: tagged };
  const next = await commit(world, read, { expire: { maxAgeMs: DAY, minKeep: 1, maxKeep: 100 } });
  const kept = next.metadata.snapshots.map((snapshot) => snapshot['snapshot-id']);
  assert.deepEqual(kept, [ids[0], ids[3], ids[4], ids[5]]);
  assert.equal(summaryValue({ ...next, properties: {} }, 'varve.offsets'), 'mine 3');
  assert.deepEqual(
    next.metadata['snapshot-log'].map((entry) => entry['snapshot-id']),
    [ids[3], ids[4], ids[5]],
  );
  const expire = { maxAgeMs: 100 * DAY, minKeep: 1, maxKeep: 2 };
  const counted = await commit(world, next, { ...append([dataFile()], { 'varve.offsets': 'new' }), expire });
  assert.deepEqual(counted.metadata.snapshots.map((snapshot) => snapshot['snapshot-id']).slice(0, 2), [
    ids[0],
    ids[5],
  ]);
  assert.equal(counted.metadata.snapshots.length, 3);
});

test('the metadata log is bounded', async () => {
  const world = makeWorld();
  let state = await newTable(world);
  for (let at = 0; at < METADATA_LOG_LENGTH + 5; at++)
    state = await commit(world, state, { properties: { at: String(at) } });
  const log = state.metadata['metadata-log'];
  assert.equal(log.length, METADATA_LOG_LENGTH);
  assert.match(log.at(-1)?.['metadata-file'] ?? '', new RegExp(`/v${state.version - 1}\\.metadata\\.json$`));
});

test('versions are retired from the oldest up, when old enough and out of the log', () => {
  const files = [1, 2, 3, 4, 5].map((version) => ({
    version,
    uri: `v${version}`,
    bytes: 1,
    modifiedMs: version * 100,
  }));
  const plan = (logged: number[], nowMs: number, limit = 10): readonly number[] =>
    retiredVersions(files, new Set(logged), { nowMs, minAgeMs: 1000, limit }).map(({ version }) => version);
  // The second one was read until the third came.
  assert.deepEqual(plan([], 1250), [1]);
  assert.deepEqual(plan([], 1350), [1, 2]);
  assert.deepEqual(plan([2], 9999), [1]);
  assert.deepEqual(plan([], 9999), [1, 2, 3, 4], 'the newest never goes');
  assert.deepEqual(plan([], 9999, 2), [1, 2]);
  assert.deepEqual(plan([], 1000), []);
  assert.deepEqual(retiredVersions([], new Set(), { nowMs: 1, minAgeMs: 1, limit: 1 }), []);
});

const names = async (world: World): Promise<Set<string>> => {
  const all = new Set<string>();
  for await (const { uri } of world.store.list('')) all.add(uri);
  return all;
};

/** Commits whose data files stand on the store as well. */
const written = async (world: World, file: DataFile): Promise<DataFile> => {
  await world.store.createExclusive(file.path, Buffer.alloc(file.bytes));
  return file;
};

test('readers of a version keep all its files for a day after it was replaced; then they go', async () => {
  const world = makeWorld();
  const expire = { maxAgeMs: 0, minKeep: 1, maxKeep: 1 };
  const old = await written(world, dataFile());
  let state = await commit(world, await newTable(world), append([old]));
  const oldList = state.snapshot?.['manifest-list'] ?? '';
  const made = await written(world, dataFile());
  const rewrite = replace([made], [await liveFile(world, state, old.path)], 1);
  state = await commit(world, state, { ...rewrite, expire });
  for (let at = 0; at <= METADATA_LOG_LENGTH; at++)
    state = await commit(world, state, { properties: { at: String(at) } });
  world.clock.nowMs += DAY - 1;
  assert.deepEqual(await retireVersions(world, state, { minAgeMs: DAY, dryRun: false }), []);
  assert.ok((await names(world)).has(old.path));
  world.clock.nowMs += 2;
  const planned = await retireVersions(world, state, { minAgeMs: DAY, dryRun: true });
  assert.ok((await names(world)).has(old.path), 'a dry run deletes nothing');
  assert.deepEqual(await retireVersions(world, state, { minAgeMs: DAY, dryRun: false }), planned);
  const uris = planned.map(({ uri }) => uri);
  for (const gone of [old.path, oldList]) {
    assert.ok(uris.includes(gone), gone);
    assert.ok(!(await names(world)).has(gone));
  }
  assert.ok(!uris.includes(made.path));
  assert.equal(planned.find(({ uri }) => uri === old.path)?.bytes, old.bytes);
  const read = await loadTable(world, LOCATION);
  assert.ok(read);
  assert.deepEqual(await auditFiles(world, read), { missing: [], resized: [] });
});

test('files that nobody speaks of are orphans after three days; everything reachable stays', async () => {
  const world = makeWorld();
  const old = await written(world, dataFile());
  let state = await commit(world, await newTable(world), append([old]));
  const made = await written(world, dataFile());
  state = await commit(world, state, overwrite([made], [await liveFile(world, state, old.path)]));
  const stray = [`${LOCATION}/data/stray.parquet`, `${LOCATION}/metadata/stray-m0.avro`];
  const companion = `${LOCATION}__varve_state/data/x.parquet`;
  for (const uri of [...stray, companion]) await world.store.createExclusive(uri, Buffer.from('x'));
  const options = { minAgeMs: 3 * DAY, dryRun: false };
  world.clock.nowMs += 3 * DAY;
  const young = `${LOCATION}/data/young.parquet`;
  await world.store.createExclusive(young, Buffer.from('x'));
  assert.deepEqual(await sweepOrphans(world, state, options), []);
  world.clock.nowMs += 1;
  const sorted = (doomed: readonly { uri: string }[]): string[] => doomed.map(({ uri }) => uri).sort();
  const told = await sweepOrphans(world, state, { ...options, dryRun: true });
  assert.deepEqual(sorted(told), stray.sort());
  assert.deepEqual(
    told.map(({ bytes }) => bytes),
    [1, 1],
  );
  assert.ok((await names(world)).has(stray[0] ?? ''));
  assert.deepEqual(sorted(await sweepOrphans(world, state, options)), stray.sort());
  const left = await names(world);
  // The replaced file is still reachable by the older snapshot.
  for (const uri of [old.path, made.path, companion, young]) assert.ok(left.has(uri), uri);
});

test('an orphan sweep that cannot read what the table stands on deletes nothing', async () => {
  const world = makeWorld();
  const state = await commitAll(world, await newTable(world), [append([await written(world, dataFile())])]);
  const stray = `${LOCATION}/data/stray.parquet`;
  await world.store.createExclusive(stray, Buffer.from('x'));
  await world.store.remove(state.snapshot?.['manifest-list'] ?? '');
  world.clock.nowMs += 9 * DAY;
  await assert.rejects(sweepOrphans(world, state, { minAgeMs: DAY, dryRun: false }), /missing/);
  assert.ok((await names(world)).has(stray));
});

test('paths that another writer spelled differently are not taken for orphans', async () => {
  const world = makeWorld();
  const location = 'file:///lake/public/orders';
  const table = await newTable(world, location);
  const file = dataFile({ path: 'file:/lake/public/orders/data/by-java.parquet' });
  const state = await commit(world, table, append([file]));
  await world.store.createExclusive(
    'file:///lake/public/orders/data/by-java.parquet',
    Buffer.alloc(file.bytes),
  );
  world.clock.nowMs += 9 * DAY;
  assert.deepEqual(await sweepOrphans(world, state, { minAgeMs: DAY, dryRun: false }), []);
  assert.deepEqual(await auditFiles(world, state), { missing: [], resized: [] });
});

test('a data file that was deleted or edited by hand is named', async () => {
  const world = makeWorld();
  const [fine, edited, gone] = [dataFile(), dataFile(), dataFile()];
  const state = await commitAll(world, await newTable(world), [append([fine, edited, gone])]);
  await written(world, fine);
  await world.store.createExclusive(edited.path, Buffer.alloc(edited.bytes + 1));
  const audit = await auditFiles(world, state);
  assert.deepEqual(
    [audit.missing.map(({ path }) => path), audit.resized.map(({ path }) => path)],
    [[gone.path], [edited.path]],
  );
});

test('ages come from the snapshots that are remembered', async () => {
  const world = makeWorld();
  const state = await commitAll(world, await newTable(world), [append([dataFile()])]);
  const times = commitTimes(state.metadata);
  assert.deepEqual([times(1), times(2)], [world.clock.nowMs, null]);
  assert.equal((await liveFiles(world.store, state)).size, 1);
});
