// Old metadata files go long before the data that they speak of, and no snapshot is lost sight of by that.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VarveError } from '../../../src/errors.ts';
import { listVersions, readVersion } from '../../../src/sinks/parquet/iceberg/catalog-files.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { retireVersions, thinVersions } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import { loadTable, summaryValue, type TableState } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { hintFile } from '../../../src/sinks/parquet/layout.ts';
import {
  append,
  dataFile,
  LOCATION,
  liveFile,
  makeWorld,
  newTable,
  overwrite,
  replace,
  type World,
} from './table-world.ts';

const HOUR = 3_600_000;
const START = { upTo: 0 };

/** Snapshot ids by version, of the versions that are left. */
const heldIds = async (world: World): Promise<Map<number, string[]>> => {
  const held = new Map<number, string[]>();
  for (const version of await listVersions(world.store, LOCATION)) {
    const metadata = await readVersion(world.store, LOCATION, version);
    held.set(version, metadata?.snapshots.map((one) => String(one['snapshot-id'])) ?? []);
  }
  return held;
};

const idsOf = (held: Map<number, string[]>): string[] => [...new Set([...held.values()].flat())].sort();

/** Commits of which each replaces the file of the one before; `expire` is each commit's. */
const busyTable = async (world: World, keeps: readonly number[]): Promise<TableState> => {
  let state = await newTable(world);
  let old = dataFile();
  for (const keep of keeps) {
    world.clock.nowMs += 5000;
    const made = dataFile();
    await world.store.createExclusive(made.path, Buffer.alloc(made.bytes));
    const expire = { maxAgeMs: 9 * HOUR, minKeep: 1, maxKeep: Math.max(1, keep) };
    const before = state.snapshot === null ? [] : [await liveFile(world, state, old.path)];
    const change = keep === 0 ? { properties: { at: String(world.clock.nowMs) } } : overwrite([made], before);
    state = await commit(world, state, { ...change, expire });
    if (keep > 0) old = made;
  }
  return state;
};

test('of many versions few are left, and every snapshot is still named by one', async () => {
  const world = makeWorld();
  const state = await busyTable(
    world,
    Array.from({ length: 400 }, () => 40),
  );
  const before = await heldIds(world);
  world.clock.nowMs += HOUR;
  const early = await thinVersions(world, state, { minAgeMs: 2 * HOUR, dryRun: false, since: START });
  assert.deepEqual(early.doomed, [], 'somebody may have it in use for an hour');
  world.clock.nowMs += 2 * HOUR;
  const told = await thinVersions(world, state, { minAgeMs: 2 * HOUR, dryRun: true, since: START });
  assert.deepEqual(await heldIds(world), before, 'a dry run deletes nothing');
  const done = await thinVersions(world, state, { minAgeMs: 2 * HOUR, dryRun: false, since: START });
  assert.deepEqual(done.doomed, told.doomed);
  const after = await heldIds(world);
  // The newest hundred are named by the metadata log; before them, one in forty is needed.
  assert.ok(after.size <= 120, `${after.size} of ${before.size} versions are left`);
  assert.deepEqual(idsOf(after), idsOf(before));
  const again = await thinVersions(world, state, { minAgeMs: 2 * HOUR, dryRun: false, since: done.thinned });
  assert.deepEqual(again.doomed, []);
  assert.deepEqual((await loadTable(world, LOCATION))?.metadata, state.metadata);
});

test('whatever is kept, no snapshot is lost sight of, and all files go in the end', async () => {
  await fc.assert(
    fc.asyncProperty(
      // How many snapshots each commit keeps; 0: a commit that makes none.
      fc.array(fc.constantFrom(0, 1, 2, 5, 30), { minLength: 110, maxLength: 220 }),
      async (keeps) => {
        const world = makeWorld();
        const state = await busyTable(world, keeps);
        const before = idsOf(await heldIds(world));
        world.clock.nowMs += 3 * HOUR;
        await thinVersions(world, state, { minAgeMs: 2 * HOUR, dryRun: false, since: START });
        assert.deepEqual(idsOf(await heldIds(world)), before);
        world.clock.nowMs += 30 * HOUR;
        let next = state;
        for (let n = 0; n < 101; n++) next = await commit(world, next, { properties: { n: String(n) } });
        world.clock.nowMs += 25 * HOUR;
        await retireVersions(world, next, { minAgeMs: 24 * HOUR, dryRun: false });
        const held = new Set(idsOf(await heldIds(world)));
        const lists: string[] = [];
        for await (const { uri } of world.store.list(`${LOCATION}/metadata/snap-`)) lists.push(uri);
        assert.deepEqual(
          lists.map((uri) => /snap-(\d+)-/.exec(uri)?.[1] ?? '').filter((id) => !held.has(id)),
          [],
          'files of snapshots that nobody names any more were left',
        );
      },
    ),
    { numRuns: 8 },
  );
});

test('nothing goes that whoever starts would look for', async () => {
  const world = makeWorld();
  const state = await busyTable(
    world,
    Array.from({ length: 150 }, () => 5),
  );
  world.clock.nowMs += 30 * HOUR;
  // The hint could not be written for a long time.
  await world.store.write(hintFile(LOCATION), Buffer.from('3'));
  const options = { minAgeMs: 2 * HOUR, dryRun: false };
  await thinVersions(world, state, { ...options, since: START });
  await retireVersions(world, state, options);
  assert.deepEqual((await loadTable(world, LOCATION))?.metadata, state.metadata);
});

test('who read a version just before it was replaced keeps its files, however old it was', async () => {
  const world = makeWorld();
  const old = dataFile();
  await world.store.createExclusive(old.path, Buffer.alloc(old.bytes));
  let state = await commit(world, await newTable(world), append([old]));
  world.clock.nowMs += 72 * HOUR;
  const expire = { maxAgeMs: 0, minKeep: 1, maxKeep: 1 };
  const live = await liveFile(world, state, old.path);
  state = await commit(world, state, { ...overwrite([dataFile()], [live]), expire });
  for (let n = 0; n < 150; n++) state = await commit(world, state, { properties: { n: String(n) } });
  world.clock.nowMs += HOUR;
  const doomed = await retireVersions(world, state, { minAgeMs: 24 * HOUR, dryRun: true });
  assert.ok(!doomed.some(({ uri }) => uri === old.path), 'the file was read an hour ago');
  world.clock.nowMs += 24 * HOUR;
  const later = await retireVersions(world, state, { minAgeMs: 24 * HOUR, dryRun: true });
  assert.ok(later.some(({ uri }) => uri === old.path));
});

/** A table as another writer leaves it. */
const edited = (state: TableState, edit: (json: Record<string, unknown>) => void): TableState => {
  const json = structuredClone(state.metadata) as Record<string, unknown>;
  edit(json);
  return { ...state, metadata: json as TableState['metadata'] };
};

test('a rollback goes on from the offsets of where it went; where none says so it is refused', async () => {
  const world = makeWorld();
  let state = await newTable(world);
  const first = dataFile();
  state = await commit(world, state, append([first], { 'varve.offsets': 'first' }));
  const live = await liveFile(world, state, first.path);
  const foreign = replace([dataFile()], [live], 1);
  const rewritten = await commit(world, state, foreign);
  const theirs = rewritten.metadata.snapshots.at(-1);
  assert.ok(theirs);
  const newest = await commit(world, rewritten, append([dataFile()], { 'varve.offsets': 'second' }));
  assert.equal(summaryValue(newest, 'varve.offsets'), 'second');
  const rollBack = (json: Record<string, unknown>): void => {
    json['current-snapshot-id'] = theirs['snapshot-id'];
  };
  assert.equal(summaryValue(edited(newest, rollBack), 'varve.offsets'), 'first');
  // Now as that other writer makes its snapshots: without our keys; and ours before it has expired.
  const bare = (json: Record<string, unknown>): void => {
    rollBack(json);
    json.snapshots = newest.metadata.snapshots
      .slice(1)
      .map((one) => (one['snapshot-id'] === theirs['snapshot-id'] ? { ...one, summary: {} } : one));
  };
  const isForeign = (thrown: unknown) => thrown instanceof VarveError && thrown.kind === 'table_foreign';
  const lost = edited(newest, bare);
  assert.throws(() => summaryValue(lost, 'varve.offsets'), isForeign);
  // The same with the newest expired as well, seen by the number of what is left.
  const gone = edited(lost, (json) => {
    json.snapshots = (json.snapshots as { 'snapshot-id': number }[]).slice(0, 1);
  });
  assert.throws(() => summaryValue(gone, 'varve.offsets'), isForeign);
  // A rewrite on top of everything, of which nothing else is left, is none.
  const onTop = edited(newest, (json) => {
    json.snapshots = newest.metadata.snapshots
      .slice(-1)
      .map((one) => ({ ...one, 'sequence-number': 4, summary: {} }));
  });
  assert.equal(summaryValue(onTop, 'varve.offsets'), 'second');
});
