// What is deleted, and when: files that only expired snapshots reach, files that nothing reaches, what a
// killed process left. Nobody who reads an older snapshot loses a file under their hands.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import type { LiveFile } from '../../src/sinks/parquet/iceberg-type.ts';
import { openParquetSink } from '../../src/sinks/parquet/sink.ts';
import { fromFileUri } from '../../src/sinks/parquet/store-local.ts';
import { changeAt, changeMany, holdsChanges, RULES, TableBench, upkeep } from '../support/table-bench.ts';
import { readTable } from '../support/table-rows.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const areThere = async (files: readonly LiveFile[]): Promise<boolean> => {
  const found = await Promise.allSettled(files.map(({ path }) => access(fromFileUri(path))));
  return found.every(({ status }) => status === 'fulfilled');
};

/** A file that no version names, last touched so long ago. */
const strayFile = async (path: string, ageMs: number): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, 'stray');
  const at = new Date(Date.now() - ageMs);
  await utimes(path, at, at);
};

test('a reader of an older snapshot keeps its files for a day; then they go', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 3;
  await bench.open();
  await changeMany(bench, 1, 6);
  const old = await readTable(bench.location, 't');
  await changeMany(bench, 7, 14);
  // More versions than go at once; the newest hundred are named by the metadata log, whatever their age.
  let { state } = await readTable(bench.location, 't');
  for (let n = 0; n < 640; n++) state = await commit(bench.io, state, { properties: { n: String(n) } });
  await bench.open();
  bench.shiftMs = 23 * HOUR_MS;
  await upkeep(bench);
  assert.ok(await areThere(old.files), 'a file of an older snapshot went within a day');
  bench.shiftMs = 25 * HOUR_MS;
  await upkeep(bench);
  assert.ok(!(await areThere(old.files)), 'nothing of an expired snapshot went');
  const versions = (await bench.names()).filter((name) => name.endsWith('.metadata.json'));
  assert.ok(versions.length <= 101, `${versions.length} metadata files are left`);
  await holdsChanges(bench, 14);
});

test('what nobody names goes after three days, looked for once a day', async () => {
  await using bench = await TableBench.make();
  await changeMany(bench, 1, 3);
  const stray = (name: string): string => join(bench.location, 'public', 't', 'data', name);
  await strayFile(stray('young.parquet'), 2 * DAY_MS);
  await strayFile(stray('old.parquet'), 4 * DAY_MS);
  await bench.open();
  bench.shiftMs += HOUR_MS;
  await upkeep(bench);
  assert.ok((await bench.names()).includes('old.parquet'), 'the table was listed again within the day');
  bench.shiftMs += DAY_MS - HOUR_MS + 60_000;
  await upkeep(bench);
  const left = (await bench.names()).filter((name) => /^(young|old)/.test(name));
  assert.deepEqual(left, [], 'both are older than three days by now');
  await strayFile(stray('next.parquet'), 2 * DAY_MS);
  bench.shiftMs += DAY_MS;
  await upkeep(bench);
  assert.ok(!(await bench.names()).includes('next.parquet'));
  await holdsChanges(bench, 3);
});

test('an orphan that is young is spared', async () => {
  await using bench = await TableBench.make();
  const stray = join(bench.location, 'public', 't', 'data', 'young.parquet');
  await strayFile(stray, 2 * DAY_MS);
  await strayFile(join(dirname(stray), 'old.parquet'), 4 * DAY_MS);
  await changeMany(bench, 1, 1);
  await upkeep(bench);
  const left = (await bench.names()).filter((name) => /^(young|old)/.test(name));
  assert.deepEqual(left, ['young.parquet']);
});

test("the companion's files that no commit names any more go too", async () => {
  await using bench = await TableBench.make();
  const root = join(bench.location, 'public', 't__varve_state');
  // A delete of a key that the table does not have leaves a mark, and with it a state file.
  const mark = { op: 'd' as const, key: { id: 99n }, row: { id: 99n, a: null, b: null } };
  await bench.commit([{ ...changeAt(1), ...mark }]);
  const kept = await bench.names('__varve_state');
  assert.equal(kept.length, 1);
  await strayFile(join(root, 'stray.parquet'), 4 * DAY_MS);
  await upkeep(bench);
  assert.deepEqual(await bench.names('__varve_state'), kept);
  bench.shiftMs = 5 * DAY_MS;
  await upkeep(bench);
  assert.deepEqual(await bench.names('__varve_state'), kept, 'a file that the table still names went');
});

test('what a killed process left goes at the next start, and nobody else loses theirs', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-scratch-'));
  await strayFile(join(directory, '.varve-scratch-mine', 'killed', 'half.parquet'), 0);
  await strayFile(join(directory, '.varve-scratch-other', 'busy', 'half.parquet'), 0);
  const sink = openParquetSink({
    place: { location: directory },
    workDirectory: directory,
    pipeline: 'mine',
    source: 'made up',
    memoryBytes: 256 << 20,
    rules: () => RULES,
    nowMs: Date.now,
    randomId: randomUUID,
    bury: async () => undefined,
    onTrouble: () => undefined,
  });
  try {
    const table = await sink.open('mine.public.t', { namespace: 'public', name: 't' });
    const mine = await readdir(join(directory, '.varve-scratch-mine'));
    assert.ok(mine.length === 1 && !mine.includes('killed'), mine.join());
    await table.close();
    await sink.close();
    assert.deepEqual(await readdir(directory), ['.varve-scratch-other']);
  } finally {
    await rm(directory, { recursive: true });
  }
});
