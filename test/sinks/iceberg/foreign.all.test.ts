// A foreign Spark on a real table: metadata tables, orphan search, a rewrite and a delete; then Varve loads
// what it left and commits on top.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { danglingDeletes } from '../../../src/sinks/parquet/iceberg/maintenance.ts';
import { sweepOrphans } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import { liveFiles, loadTable, summaryValue } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { ensureSpark, openTableReader } from '../../support/readers.ts';
import { makeOld, makeSampleTable, metadataPath } from './sample-table.ts';

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url));

const DAY = 86_400_000;

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
  await makeOld(sample);
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
    metadata: metadataPath(next),
    columns: ['pk'],
  });
  assert.equal(found.length, rows - 1);
});
