// Other people's tools on a real table: filters that use our bounds, metadata tables, orphan search; then a
// foreign rewrite and delete, after which Varve loads what they left and commits on top.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { danglingDeletes } from '../../../src/sinks/parquet/iceberg/maintenance.ts';
import { sweepOrphans } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import { liveFiles, loadTable, summaryValue } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { metadataFile } from '../../../src/sinks/parquet/layout.ts';
import { fromFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { ensurePyIceberg, ensureSpark, openTableReader } from '../../support/readers.ts';
import { makeSampleTable } from './sample-table.ts';

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url));

const filterRows = async (metadata: string): Promise<string[]> => {
  const { python } = await ensurePyIceberg();
  const { stdout } = await run(python, [script('filter_rows.py'), metadata]);
  return stdout.trim().split('\n');
};

const DAY = 86_400_000;

/** Ten days old, because an orphan search looks at nothing younger than three. */
const makeOld = async (directory: string): Promise<void> => {
  const then = new Date(Date.now() - 10 * DAY);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then);
};

test('every row is found by every value it has', async () => {
  await using sample = await makeSampleTable();
  const [asked, ...lost] = (await filterRows(sample.metadata)).reverse();
  assert.match(asked ?? '', /^asked [0-9]{3,}$/);
  assert.deepEqual(lost, []);
});

test('a wrong bound would be noticed', async () => {
  await using sample = await makeSampleTable();
  const live = await liveFiles(sample.io.store, sample.state);
  const victim = [...live.values()].find(
    (file) => file.content === 'data' && (file.stats.get(1)?.upper?.[0] ?? 0) > 8,
  );
  const stats = victim?.stats.get(1);
  assert.ok(victim && stats?.lower);
  const wrong = {
    ...victim,
    path: victim.path,
    stats: new Map(victim.stats).set(1, { ...stats, upper: stats.lower }),
  };
  const its = [...live.values()].filter((file) => file.referencedDataFile === victim.path);
  const gone = { id: 77n, operation: 'overwrite' as const, add: [], remove: [victim, ...its], summary: {} };
  let state = await commit(sample.io, sample.state, { snapshot: gone });
  state = await commit(sample.io, state, {
    snapshot: { ...gone, id: 78n, add: [wrong, ...its], remove: [] },
  });
  const lines = await filterRows(fromFileUri(metadataFile(state.location, state.version)));
  assert.ok(lines.some((line) => line.startsWith('lost ')));
});

type Visit = {
  before: Record<'rows' | 'files' | 'current_files' | 'positions' | 'partitions' | 'snapshots', number> & {
    by_key: number[];
    orphans: string[];
  };
  after: { rows: number };
  rewritten: number;
};

test('Spark sees our files, finds no orphans, and Varve goes on with what it leaves behind', async () => {
  await using sample = await makeSampleTable({ time: false, expire: false });
  const { io, state } = sample;
  await makeOld(sample.directory);
  const { python, jar } = await ensureSpark();
  const { stdout } = await run(python, [script('spark_visit.py'), jar, sample.directory], {
    maxBuffer: 1 << 26,
  });
  const visit = JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? '') as Visit;
  const live = [...(await liveFiles(io.store, state)).values()];
  const summary = state.snapshot?.summary ?? {};
  const expected = sample.expected.get(BigInt(state.metadata['current-snapshot-id'] ?? -1));
  assert.ok(expected);
  const rows = expected.current.length + expected.history;
  assert.equal(visit.before.rows, rows);
  assert.equal(visit.before.current_files, live.length);
  assert.equal(visit.before.positions, Number(summary['total-position-deletes']));
  assert.equal(visit.before.snapshots, state.metadata.snapshots.length);
  assert.deepEqual(visit.before.by_key, [1, 1, 1, 1]);
  assert.deepEqual(visit.before.orphans, []);
  assert.deepEqual(await sweepOrphans(io, state, { minAgeMs: DAY, dryRun: true }), []);
  assert.ok(visit.rewritten > 0);
  assert.equal(visit.after.rows, rows - 1);

  const theirs = await loadTable(io, state.location, state);
  assert.ok(theirs && theirs.version > state.version);
  // Their snapshots carry none of our keys; ours are found behind them.
  assert.equal(theirs.snapshot?.summary['varve.step'], undefined);
  assert.equal(summaryValue(theirs, 'varve.step'), summaryValue(state, 'varve.step'));
  const files = await liveFiles(io.store, theirs);
  const dangling = danglingDeletes(files.values());
  const change = {
    id: 99n,
    operation: 'overwrite' as const,
    add: [],
    remove: dangling,
    summary: { 'varve.step': 'on top' },
  };
  const next = await commit(io, theirs, { snapshot: change });
  await using reader = await openTableReader('pyiceberg');
  const found = await reader.read({
    metadata: fromFileUri(metadataFile(next.location, next.version)),
    columns: ['pk'],
  });
  assert.equal(found.length, rows - 1);
});
