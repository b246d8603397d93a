// Upkeep beside others: who commits first wins, and the other does its work again; what others leave behind
// is told from what they broke; what an older snapshot needs is there when somebody goes back to it.
import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { test } from 'node:test';
import { VarveError } from '../../src/errors.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { liveFiles, loadTable } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { fromFileUri } from '../../src/sinks/parquet/store-local.ts';
import { readMemory } from '../../src/sinks/parquet/table-memory.ts';
import {
  changeAt,
  changeMany,
  holdsChanges,
  orderAt,
  TableBench,
  TOPIC_ID,
  upkeep,
} from '../support/table-bench.ts';
import { readTable } from '../support/table-rows.ts';

const DAY_MS = 86_400_000;
const kind = (wanted: string) => (thrown: unknown) => thrown instanceof VarveError && thrown.kind === wanted;

test('a fold whose table was rewritten merges again, and stands down where offsets moved', async () => {
  await using bench = await TableBench.make();
  for (let n = 1; n <= 6; n++) await bench.commit([changeAt(n)]);
  const folding = bench.table;
  await bench.open();
  const keeping = bench.table;
  // Each has read the table before the other one commits.
  for await (const _news of keeping.upkeep({ dryRun: false }));
  const next = bench.batch([changeAt(7)]);
  await folding.commit([next], bench.context, TOPIC_ID);
  for await (const _news of keeping.upkeep({ dryRun: false }));
  await holdsChanges(bench, 7);
  await bench.open();
  const other = bench.table;
  await other.commit([bench.batch([changeAt(8)])], bench.context, TOPIC_ID);
  await assert.rejects(
    folding.commit([bench.batch([changeAt(9)])], bench.context, TOPIC_ID),
    kind('commit_conflict'),
  );
  await holdsChanges(bench, 8);
});

test('two that keep one table at once end with one table', async () => {
  await using bench = await TableBench.make();
  for (let n = 1; n <= 8; n++) await bench.commit([changeAt(n)]);
  const one = bench.table;
  await bench.open();
  const other = bench.table;
  const all = async (table: typeof one): Promise<void> => {
    for await (const _news of table.upkeep({ dryRun: false }));
  };
  await Promise.all([all(one), all(other)]);
  await holdsChanges(bench, 8);
  const { files } = await readTable(bench.location, 't');
  assert.equal(files.length, 2, 'one file of what stands, one of history');
});

test('a table that nobody changes lets its snapshots grow old all the same', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 6);
  bench.shiftMs = 2 * DAY_MS;
  await upkeep(bench);
  const { state } = await readTable(bench.location, 't');
  assert.equal(state.metadata.snapshots.length, 1);
  await bench.open();
  assert.deepEqual([...bench.table.offsets()], [[0, 6n]]);
  await holdsChanges(bench, 6);
});

test('what an older snapshot remembers is kept as long as somebody can go back to it', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 100;
  bench.keepSnapshotsMs = 30 * DAY_MS;
  await bench.open();
  // A delete of a key that the table does not have leaves a mark, and with it a state file.
  for (let n = 1; n <= 20; n++) {
    const row = { id: BigInt(100 + n), a: null, b: null };
    await bench.commit([{ ...changeAt(n), op: 'd', key: { id: row.id }, row }]);
  }
  const { state } = await readTable(bench.location, 't');
  const named = state.metadata.snapshots.map(
    ({ summary }) => readMemory((key) => summary[key] ?? null).stateFiles,
  );
  const now = new Set(named.at(-1));
  const older = [...new Set(named.flat())].filter((path) => !now.has(path));
  assert.ok(older.length > 0, 'no state file was ever replaced');
  bench.shiftMs = 5 * DAY_MS;
  await upkeep(bench);
  for (const path of [...older, ...now]) await access(fromFileUri(path));
});

test('what is long stands once in the metadata, and each commit writes few files beside it', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 100;
  bench.fileRules = { buckets: 4 };
  await bench.open();
  const rounds = 24;
  for (let n = 0; n < rounds; n++) {
    const events = Array.from({ length: 20 }, (_, at) => changeAt(n * 20 + at + 1));
    await bench.commit(events);
    await bench.table.maintain();
  }
  const { state } = await readTable(bench.location, 't');
  assert.ok((state.properties['varve.clock'] ?? '').length > 0);
  for (const { summary } of state.metadata.snapshots) assert.equal(summary['varve.clock'], undefined);
  const manifests = (await bench.names()).filter((name) => /-m\d+\.avro$/.test(name));
  // One of data and one of deletes a snapshot, and now and then a larger one that lost a file.
  assert.ok(manifests.length <= 3 * state.metadata.snapshots.length, `${manifests.length} manifests`);
  await bench.open();
  await bench.commit([changeAt(rounds * 20 + 1)]);
  await holdsChanges(bench, rounds * 20 + 1);
});

test('files that another writer made by a partitioning of its own are refused by name', async () => {
  await using bench = await TableBench.make();
  await bench.commit([changeAt(1)]);
  const state = await loadTable(bench.io, (await readTable(bench.location, 't')).state.location);
  assert.ok(state);
  const [file] = (await liveFiles(bench.io.store, state)).values();
  assert.ok(file);
  const id = state.fields.find(({ name }) => name === 'id')?.id ?? 0;
  const theirs = await commit(bench.io, state, { partition: [{ sourceId: id, transform: 'bucket[3]' }] });
  const moved = { ...file, specId: theirs.spec.specId, partition: [1], path: `${file.path}.copy` };
  await commit(bench.io, theirs, {
    snapshot: { id: 4711n, operation: 'append', add: [moved], remove: [], summary: {} },
  });
  await bench.open();
  const next = { ...changeAt(2), order: orderAt(2) };
  await assert.rejects(bench.commit([next]), kind('table_foreign'));
});

test('a table that is paused takes no commit and no rewrite until it goes on', async () => {
  await using bench = await TableBench.make();
  for (let n = 1; n <= 6; n++) await bench.commit([changeAt(n)]);
  assert.equal(await bench.table.isPaused(), false);
  const state = await loadTable(bench.io, (await readTable(bench.location, 't')).state.location);
  assert.ok(state);
  const since = new Date().toISOString();
  const paused = await commit(bench.io, state, { properties: { 'varve.paused': since } });
  assert.equal(await bench.table.isPaused(), true);
  const next = bench.batch([changeAt(7)]);
  await assert.rejects(bench.table.commit([next], bench.context, TOPIC_ID), kind('table_paused'));
  await assert.rejects(bench.table.maintain(), kind('table_paused'));
  assert.throws(() => bench.table.upkeep({ dryRun: true }), kind('table_paused'));
  assert.equal((await readTable(bench.location, 't')).state.version, paused.version);
  await commit(bench.io, paused, { properties: { 'varve.paused': null } });
  await bench.open();
  await bench.table.commit([next], bench.context, TOPIC_ID);
  await holdsChanges(bench, 7);
});
