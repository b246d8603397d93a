// A fault at every single store call of a commit, of a creation and of a sweep, before and after the work was
// done: whoever loads the table then sees the old state or the new one, whole, and can go on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { type Change, commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { retireVersions, sweepOrphans, thinVersions } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import { loadTable, type TableIo, type TableState } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { FAULTS, faultyStore, InjectedFault } from './faulty-store.ts';
import {
  append,
  dataFile,
  deletesOf,
  LOCATION,
  liveFile,
  livePaths,
  makeWorld,
  newTable,
  overwrite,
  replace,
  type World,
} from './table-world.ts';

const DAY = 86_400_000;
const EXPIRE = { maxAgeMs: 0, minKeep: 1, maxKeep: 1 };

type Scene = { world: World; state: TableState; change: Change };

/**
 * The interesting commits: an append, a row delta, a merge of manifests, a rewrite, a schema change, an
 * expiry.
 */
const scenes: Record<string, () => Promise<Scene>> = {
  append: async () => {
    const world = makeWorld();
    return { world, state: await newTable(world), change: append([dataFile()]) };
  },
  'row delta with expiry': async () => {
    const world = makeWorld();
    const old = dataFile();
    const state = await commit(world, await newTable(world), append([old]));
    return { world, state, change: { ...overwrite([dataFile(), deletesOf(old)]), expire: EXPIRE } };
  },
  rewrite: async () => {
    const world = makeWorld();
    const old = dataFile();
    const state = await commit(world, await newTable(world), append([old]));
    return { world, state, change: replace([dataFile()], [await liveFile(world, state, old.path)], 1) };
  },
  properties: async () => {
    const world = makeWorld();
    return { world, state: await newTable(world), change: { properties: { a: 'b' } } };
  },
};

const see = async (world: World): Promise<{ paths: string[]; id: unknown; a: unknown }> => {
  const state = await loadTable(world, LOCATION);
  assert.ok(state);
  return {
    paths: await livePaths(world, state),
    id: state.metadata['current-snapshot-id'],
    a: state.properties.a,
  };
};

for (const [name, open] of Object.entries(scenes)) {
  test(`${name}: old or new after a fault at any call, and the commit can be done again`, async () => {
    const probe = await open();
    const counting = faultyStore(probe.world.store, -1, 'before');
    await commit({ ...probe.world, store: counting.store }, probe.state, probe.change);
    assert.ok(counting.calls() >= 3);
    let failed = 0;
    for (let at = 0; at < counting.calls(); at++)
      for (const fault of FAULTS) {
        const { world, state, change } = await open();
        const before = await see(world);
        const { store } = faultyStore(world.store, at, fault);
        const done = await commit({ ...world, store }, state, change).catch((thrown: unknown) => {
          assert.ok(thrown instanceof InjectedFault, String(thrown));
          return null;
        });
        if (done === null) failed++;
        const label = `${name}: call ${at}, ${fault}`;
        const after = await see(world);
        const isNew = JSON.stringify(after) !== JSON.stringify(before);
        if (done) assert.ok(isNew, `${label}: a commit that returned is gone`);
        if (isNew) {
          assert.equal(after.id, change.snapshot ? Number(change.snapshot.id) : before.id, label);
          if (!change.snapshot) assert.equal(after.a, 'b', label);
          continue;
        }
        // The old state: the very same work goes through now.
        const fresh = await loadTable(world, LOCATION);
        assert.ok(fresh);
        await commit(world, fresh, change);
        assert.notDeepEqual(await see(world), before, label);
      }
    assert.ok(failed > 0, 'no fault was ever felt');
  });
}

test('creation: after a fault at any call there is no table or a whole one', async () => {
  for (let at = 0; at < 3; at++)
    for (const fault of FAULTS) {
      const world = makeWorld();
      const { store } = faultyStore(world.store, at, fault);
      await newTable({ ...world, store }).catch((thrown: unknown) =>
        assert.ok(thrown instanceof InjectedFault),
      );
      const found = await loadTable(world, LOCATION);
      const state = found ?? (await newTable(world));
      assert.equal((await commit(world, state, append([dataFile()]))).version, 2);
    }
});

test('an answer that was lost is recognised as our own commit, not as another writer', async () => {
  const { world, state, change } = await (scenes.append as () => Promise<Scene>)();
  const counting = faultyStore(world.store, -1, 'before');
  const { store } = counting;
  const { createExclusive } = store;
  let lost = 0;
  store.createExclusive = async (uri, bytes) => {
    const result = await createExclusive(uri, bytes);
    if (!uri.endsWith('v2.metadata.json') || lost++ > 0) return result;
    throw new InjectedFault('the answer was lost');
  };
  const done = await commit({ ...world, store }, state, change);
  assert.equal(done.version, 2);
  assert.equal(lost, 1);
});

test('when the answer is lost and another writer was first, nothing of ours is in the table', async () => {
  const { world, state, change } = await (scenes.append as () => Promise<Scene>)();
  const other = append([dataFile()]);
  const { store } = faultyStore(world.store, -1, 'before');
  const { createExclusive } = store;
  store.createExclusive = async (uri, bytes) => {
    if (uri.endsWith('v2.metadata.json')) {
      await commit(world, state, other).catch(() => null);
      throw new InjectedFault('time-out');
    }
    return createExclusive(uri, bytes);
  };
  const conflict = (thrown: unknown) => thrown instanceof VarveError && thrown.kind === 'commit_conflict';
  await assert.rejects(commit({ ...world, store }, state, change), conflict);
  assert.equal((await see(world)).id, Number(other.snapshot?.id));
});

test('sweeps: a fault at any call loses nothing that is reachable, and the next run finishes', async () => {
  const open = async (): Promise<{ world: World; state: TableState }> => {
    const world = makeWorld();
    let state = await newTable(world);
    for (let round = 0; round < 4; round++) {
      const old = dataFile();
      state = await commit(world, state, { ...append([old]), expire: EXPIRE });
      const live = await liveFile(world, state, old.path);
      for (const path of [old.path, `${LOCATION}/data/orphan-${round}.parquet`])
        await world.store.createExclusive(path, Buffer.from('rows'));
      const made = dataFile();
      await world.store.createExclusive(made.path, Buffer.from('rows'));
      const sequence = state.metadata['last-sequence-number'];
      state = await commit(world, state, { ...replace([made], [live], sequence), expire: EXPIRE });
    }
    // The log is bounded; here the bound is reached early.
    const metadata = { ...state.metadata, 'metadata-log': state.metadata['metadata-log'].slice(-2) };
    world.clock.nowMs += 4 * DAY;
    return { world, state: { ...state, metadata } };
  };
  const options = { minAgeMs: DAY, dryRun: false };
  const sweepAll = async (io: TableIo, state: TableState): Promise<void> => {
    // Thinned beyond what a day would retire.
    await thinVersions(io, state, { minAgeMs: 0, dryRun: false, since: { upTo: 0 } });
    await retireVersions(io, state, options);
    await sweepOrphans(io, state, options);
  };
  const probe = await open();
  const counting = faultyStore(probe.world.store, -1, 'before');
  await sweepAll({ ...probe.world, store: counting.store }, probe.state);
  const clean = (await names(probe.world)).length;
  assert.ok(counting.calls() > 20);
  for (let at = 0; at < counting.calls(); at++)
    for (const fault of ['dead-before', 'dead-after'] as const) {
      const { world, state } = await open();
      const io = { ...world, store: faultyStore(world.store, at, fault).store };
      await assert.rejects(sweepAll(io, state), InjectedFault);
      const live = await livePaths(world, state);
      for (const path of live)
        assert.ok(await world.store.exists(path), `${path} lost at call ${at}, ${fault}`);
      assert.ok(await loadTable(world, LOCATION));
      await sweepAll(world, state);
      assert.equal((await names(world)).length, clean, `left over after call ${at}, ${fault}`);
      for (const path of live) assert.ok(await world.store.exists(path));
    }
});

const names = async (world: World): Promise<string[]> => {
  const all: string[] = [];
  for await (const { uri } of world.store.list('')) all.push(uri);
  return all;
};
