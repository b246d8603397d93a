// What an erasure leaves of a row: nothing, in any file that is there afterwards; and that its proof would
// find what a faulty one left: in a file, in a manifest's bounds, in the companion, in an older snapshot.
import assert from 'node:assert/strict';
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { findKeys, loadErasable } from '../../src/sinks/parquet/erase-search.ts';
import { fromFileUri } from '../../src/sinks/parquet/store-local.ts';
import { erase, erasedKeys, openErased, prove, widenBounds } from '../support/erased-table.ts';
import { changeAt, changeMany, TableBench, upkeep, upsert } from '../support/table-bench.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';

const COLUMNS = ['id', 'a', 'is_current', '_incomplete'];

const rowsOf = async (bench: TableBench): Promise<string[]> =>
  rowTexts(await readTable(bench.location, 't'), COLUMNS);

test('every version of a key goes, with all files that had it; the rest stays, and goes on', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 12);
  // A change that changes nothing is a mark in the companion.
  await bench.commit([upsert(20, 3, 100), upsert(21, 4, 110)]);
  await bench.commit([upsert(22, 3, 100), upsert(23, 4, 110)]);
  const before = await rowsOf(bench);
  const report = await erase(bench, erasedKeys(bench, [3]));
  assert.deepEqual(report.proof.findings, []);
  assert.ok(
    report.rows === 2 && report.snapshotsExpired > 1 && report.deleted > 5,
    `${report.rows} ${report.deleted}`,
  );
  assert.deepEqual(
    await rowsOf(bench),
    before.filter((row) => !row.startsWith('3 ')),
  );
  const { state } = await readTable(bench.location, 't');
  assert.equal(state.metadata.snapshots.length, 1);
  // A row that comes again is a new life; offsets were carried on.
  await bench.open();
  await bench.commit([upsert(30, 3, 77), upsert(31, 4, 78)]);
  const after = await rowsOf(bench);
  assert.deepEqual(
    after.filter((row) => row.startsWith('3 ')),
    ['3 77 true null'],
  );
  await upkeep(bench);
  assert.deepEqual(await rowsOf(bench), after);
});

test('named columns become NULL in every version, and are named so', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 10);
  const { fields } = await readTable(bench.location, 't');
  const a = fields.find(({ name }) => name === 'a')?.id ?? -1;
  const before = await rowsOf(bench);
  const report = await erase(bench, erasedKeys(bench, [2], [a]));
  assert.deepEqual(report.proof.findings, []);
  assert.deepEqual(
    await rowsOf(bench),
    before.map((row) => row.replace(/^2 \d+ (\w+) null$/, '2 null $1 ["a"]')),
  );
});

test('a condition finds keys by any of their versions', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 10);
  await using table = await openErased(bench);
  const { state } = await loadErasable(table);
  assert.deepEqual(await findKeys(table, state, 'a = 20'), [[2n]]);
  await assert.rejects(findKeys(table, state, 'a = (select 1)'), /The condition was refused/);
});

test('all rows of all keys may go', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 9);
  const report = await erase(bench, erasedKeys(bench, [0, 1, 2, 3, 4, 5, 6]));
  assert.deepEqual(report.proof.findings, []);
  assert.deepEqual(await rowsOf(bench), []);
  await bench.open();
  await bench.commit([changeAt(10)]);
  assert.equal((await rowsOf(bench)).length, 1);
});

test('what a faulty erasure leaves is found: in a file, an older snapshot, a companion', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 9);
  await bench.commit([upsert(20, 3, 30)]);
  const gone = erasedKeys(bench, [3]);
  const root = join(bench.location, 'public', 't');
  const old = (await readTable(bench.location, 't')).files.filter(({ content }) => content === 'data');
  const kept = join(bench.directory, 'kept.parquet');
  const withRow = await Promise.all(old.map(async ({ path }) => readFile(fromFileUri(path))));
  assert.match((await prove(bench, gone)).join('\n'), /holds \d rows of an erased key/);
  assert.match((await prove(bench, gone)).join('\n'), /__varve_state\/.* holds 1 rows of an erased key/);
  assert.match((await prove(bench, gone)).join('\n'), /older snapshots are still named/);
  const report = await erase(bench, gone);
  assert.deepEqual(report.proof.findings, []);
  assert.deepEqual(await prove(bench, gone), []);

  await writeFile(kept, withRow[0] ?? '');
  await copyFile(kept, join(root, 'data', 'left.parquet'));
  assert.match(
    (await prove(bench, gone)).join('\n'),
    /left\.parquet is no part of the table and still there/,
  );
  // Done again, it goes.
  assert.deepEqual((await erase(bench, gone)).proof.findings, []);
  assert.ok(!(await readdir(join(root, 'data'))).includes('left.parquet'));
});

test('a bound that no row has, and a manifest that tells of a removed file, are found', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 9);
  const gone = erasedKeys(bench, [3]);
  assert.deepEqual((await erase(bench, gone)).proof.findings, []);
  const upper = new Uint8Array(4);
  new DataView(upper.buffer).setInt32(0, 424242, true);
  await widenBounds(bench.location, { table: 't', column: 'a', upper });
  const findings = (await prove(bench, gone)).join('\n');
  assert.match(findings, /bounds of column \d+ in .*-moved\.parquet hold a value that no row has/);
  assert.match(findings, /still tells of the removed file/);
  const again = await erase(bench, erasedKeys(bench, [99]));
  assert.match(
    again.proof.findings.join('\n'),
    /^a manifest's bounds of column \d+ in .*-moved\.parquet[^\n]*$/,
  );
});
