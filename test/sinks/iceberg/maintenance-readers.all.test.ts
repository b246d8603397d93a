// Upkeep of every kind, ours and another engine's, under the eyes of independent readers: the same rows
// before and after it, whatever the partitioning was and became.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ensureSpark, openTableReader } from '../../support/readers.ts';
import { changeAt, holdsChanges, TableBench, upkeep } from '../../support/table-bench.ts';
import { readTable } from '../../support/table-rows.ts';

const run = promisify(execFile);
const readers = [
  await openTableReader('pyiceberg'),
  await openTableReader('duckdb'),
  await openTableReader('spark'),
];
after(async () => {
  for (const reader of readers) await reader[Symbol.asyncDispose]();
});

const COLUMNS = ['id', 'a', 'valid_from', 'valid_to', 'is_current', '_order'];

/** What all readers say; the same from each. */
const readAll = async (bench: TableBench): Promise<string[]> => {
  const { metadata } = await readTable(bench.location, 't');
  const found: string[][] = [];
  for (const reader of readers) found.push(await reader.read({ metadata, columns: COLUMNS }));
  const [rows = [], ...rest] = found;
  for (const other of rest) assert.deepEqual(other, rows);
  return rows;
};

const commits = async (bench: TableBench, first: number, last: number): Promise<void> => {
  for (let n = first; n <= last; n++) await bench.commit([changeAt(2 * n - 1), changeAt(2 * n)]);
};

test('merging, expiry, deletion, another partitioning and codec: readers see the same rows', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 4;
  bench.fileRules = { buckets: 2, partitionBy: ['day(_commit_ts)', 'a'], compression: 'snappy' };
  await bench.open();
  await commits(bench, 1, 6);
  let rows = await readAll(bench);
  assert.equal(rows.length, 12);
  const same = async (): Promise<void> => assert.deepEqual(await readAll(bench), rows);
  bench.shiftMs += 700_000;
  await upkeep(bench);
  await same();
  for (const [layout, from] of [
    [{ buckets: 4, partitionBy: ['hour(_commit_ts)'], compression: 'lz4' as const }, 7],
    [{ bucketBy: 'none', compression: 'gzip' as const }, 9],
  ] as const) {
    bench.fileRules = layout;
    await bench.open();
    await commits(bench, from, from + 1);
    rows = await readAll(bench);
    for await (const _news of bench.table.upkeep({ dryRun: false })) await same();
  }
  bench.shiftMs += 5 * 24 * 3_600_000;
  await bench.open();
  for await (const _news of bench.table.upkeep({ dryRun: false }));
  await same();
  await holdsChanges(bench, 20);
});

type Visit = {
  before: number;
  after: number;
  partitions: number;
  done: Record<string, Record<string, string>>;
};

test('a table that Spark has rewritten and cut the history of goes on from its offsets', async () => {
  await using bench = await TableBench.make();
  bench.fileRules = { buckets: 2, partitionBy: ['day(_commit_ts)'] };
  await bench.open();
  await commits(bench, 1, 8);
  const rows = await readAll(bench);
  const { python, jar } = await ensureSpark();
  const script = fileURLToPath(new URL('./spark_upkeep.py', import.meta.url));
  const { stdout } = await run(python, [script, jar, bench.location, 'public.t'], { maxBuffer: 1 << 26 });
  const visit = JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? '') as Visit;
  assert.deepEqual([visit.before, visit.after], [16, 16]);
  assert.ok(Number(visit.done.packed?.rewritten_data_files_count) > 0, stdout);
  assert.ok(Number(visit.done.sorted?.rewritten_data_files_count) > 0, stdout);
  assert.deepEqual(await readAll(bench), rows);
  const { state } = await readTable(bench.location, 't');
  assert.equal(state.metadata.snapshots.length, 1, 'only its own snapshot is left');
  assert.equal(state.snapshot?.summary['varve.offsets'], undefined);
  await bench.open();
  assert.deepEqual([...bench.table.offsets()], [[0, 16n]]);
  await commits(bench, 9, 12);
  await holdsChanges(bench, 24);
  bench.shiftMs += 700_000;
  for await (const _news of bench.table.upkeep({ dryRun: false }));
  await holdsChanges(bench, 24);
  assert.equal((await readAll(bench)).length, 24);
});
