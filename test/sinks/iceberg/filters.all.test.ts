// Filters that make a reader use our bounds, partition values and buckets: each row is found by each of its
// values.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { liveFiles } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { metadataFile } from '../../../src/sinks/parquet/layout.ts';
import { fromFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { ensurePyIceberg } from '../../support/readers.ts';
import { makeSampleTable } from './sample-table.ts';

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url));

const filterRows = async (metadata: string): Promise<string[]> => {
  const { python } = await ensurePyIceberg();
  const { stdout } = await run(python, [script('filter_rows.py'), metadata]);
  return stdout.trim().split('\n');
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
