// The same real table, read by PyIceberg, DuckDB and Spark: the same rows from each, the current ones and those of
// every kept snapshot, also where a filter makes them use bounds, partitions and delete files.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openTableReader, type ReaderEngine } from '../../support/readers.ts';
import { makeSampleTable } from './sample-table.ts';

const sample = await makeSampleTable();
after(() => sample[Symbol.asyncDispose]());

const full: Record<string, string[]> = {};

for (const engine of ['pyiceberg', 'duckdb', 'spark'] satisfies ReaderEngine[])
  test(`${engine} reads every snapshot as it was`, async () => {
    await using reader = await openTableReader(engine);
    const { metadata } = sample;
    assert.equal(sample.expected.size, 5);
    for (const [snapshotId, expected] of sample.expected) {
      const rows = (await reader.read({ metadata, snapshotId })).map(
        (line) => JSON.parse(line) as { pk: number; n?: number; renamed?: number; is_current: boolean },
      );
      const current = rows.filter((row) => row.is_current).map((row) => `${row.pk}:${row.n ?? row.renamed}`);
      assert.deepEqual(current.sort(), expected.current, `snapshot ${snapshotId}`);
      assert.equal(rows.length - current.length, expected.history);
    }
    full[engine] = await reader.read({ metadata });
    assert.deepEqual(full[engine], full.pyiceberg ?? full[engine], 'two readers see different values');
  });
