// The same real table, read by PyIceberg, DuckDB and Spark: the same rows from each, the current ones and
// those of every kept snapshot.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openTableReader } from '../../support/readers.ts';
import { makeSampleTable, type SampleTable } from './sample-table.ts';

const withTime = await makeSampleTable();
const withoutTime = await makeSampleTable({ time: false });
after(() => withTime[Symbol.asyncDispose]());
after(() => withoutTime[Symbol.asyncDispose]());

type TableReader = Awaited<ReturnType<typeof openTableReader>>;

const readAll = async (reader: TableReader, { metadata, expected }: SampleTable): Promise<string[]> => {
  assert.equal(expected.size, 5);
  for (const [snapshotId, { current, history }] of expected) {
    const rows = (await reader.read({ metadata, snapshotId })).map(
      (line) => JSON.parse(line) as { pk: number; n?: number; renamed?: number; is_current: boolean },
    );
    const found = rows.filter((row) => row.is_current).map((row) => `${row.pk}:${row.n ?? row.renamed}`);
    assert.deepEqual(found.sort(), current, `snapshot ${snapshotId}`);
    assert.equal(rows.length - found.length, history);
  }
  return reader.read({ metadata });
};

test('PyIceberg and DuckDB read every snapshot as it was, and the same values of every type', async () => {
  await using pyiceberg = await openTableReader('pyiceberg');
  await using duckdb = await openTableReader('duckdb');
  const rows = await readAll(pyiceberg, withTime);
  assert.deepEqual(await readAll(duckdb, withTime), rows);
});

test('Spark reads the same; a table with a time column it refuses', async () => {
  await using pyiceberg = await openTableReader('pyiceberg');
  await using spark = await openTableReader('spark');
  const rows = await readAll(pyiceberg, withoutTime);
  assert.deepEqual(await readAll(spark, withoutTime), rows);
  await assert.rejects(spark.read({ metadata: withTime.metadata }), /does not support time/);
});
