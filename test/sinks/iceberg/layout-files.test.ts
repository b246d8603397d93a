// How a table's files are laid out is what was asked for, whatever it was before: rows lie where their
// partition says, sorted as the metadata says, and nothing is lost when that changes, with upkeep in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import type { FileRules } from '../../../src/sinks/parquet/file-layout.ts';
import { bucketOf } from '../../../src/sinks/parquet/iceberg/bucket.ts';
import type { LiveFile, PartitionField } from '../../../src/sinks/parquet/iceberg-type.ts';
import { fromFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { atLevel } from '../../support/level.ts';
import { changeAt, holdsChanges, TableBench, upkeep } from '../../support/table-bench.ts';
import { type ReadTable, readTable } from '../../support/table-rows.ts';

const DAY_US = 86_400_000_000n;
const HOUR_US = 3_600_000_000n;

type FileRow = { id: bigint; order: string; commitUs: bigint } & Record<string, unknown>;

const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();

/** Rows of one file in the order in which it holds them, deleted ones included. */
const fileRows = async ({ path }: LiveFile): Promise<FileRow[]> => {
  const found = await connection.runAndReadAll(
    'select id, a, is_current, _order as "order", epoch_us(_commit_ts) as "commitUs" ' +
      `from read_parquet('${fromFileUri(path)}', file_row_number = true) order by file_row_number`,
  );
  return found.getRowObjects() as unknown as FileRow[];
};

const floor = (value: bigint, by: bigint): number => Number(value / by);

/** What a row's partition value has to be, by another way than the engine's. */
const placeOf = ({ transform, name }: PartitionField, row: FileRow): unknown => {
  const count = /^bucket\[(\d+)\]$/.exec(transform)?.[1];
  if (count !== undefined) return bucketOf('long', row.id, Number(count));
  if (transform === 'day') return floor(row.commitUs, DAY_US);
  if (transform === 'hour') return floor(row.commitUs, HOUR_US);
  return row[name];
};

/** Asserts that every row lies in the partition of its file, and that files are sorted as they say. */
const isTrue = async ({ state, files }: ReadTable): Promise<void> => {
  for (const file of files.filter(({ content }) => content === 'data')) {
    const fields = state.specs.find(({ specId }) => specId === file.specId)?.fields ?? [];
    const rows = await fileRows(file);
    for (const row of rows)
      assert.deepEqual(
        file.partition.map((value) => (typeof value === 'bigint' ? Number(value) : value)),
        fields.map((field) => {
          const value = placeOf(field, row);
          return typeof value === 'bigint' ? Number(value) : value;
        }),
        `${file.path} of spec ${file.specId}`,
      );
    assert.equal(file.sortOrderId, state.metadata['default-sort-order-id']);
    const key = (row: FileRow): string => `${row.id.toString().padStart(9)} ${row.order}`;
    assert.deepEqual(rows.map(key), rows.map(key).toSorted(), file.path);
  }
};

const LAYOUTS: readonly Partial<FileRules>[] = [
  {},
  { buckets: 2 },
  { buckets: 6, compression: 'snappy' },
  { buckets: 4, partitionBy: ['hour(_commit_ts)'], compression: 'none' },
  { bucketBy: 'none', partitionBy: ['day(valid_from)', 'a'], compression: 'gzip' },
  { bucketBy: 'id', buckets: 3, partitionBy: ['id'], compression: 'lz4' },
];

type Step = { kind: 'changes'; count: number } | { kind: 'lay'; layout: number } | { kind: 'keep' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('changes' as const), count: fc.integer({ min: 1, max: 20 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('lay' as const), layout: fc.nat({ max: LAYOUTS.length - 1 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'keep' as const }) },
);

test('any layouts one after the other, with upkeep in between: every version, where it says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
      await using bench = await TableBench.make();
      let done = 0;
      for (const one of steps) {
        if (one.kind === 'lay') {
          bench.fileRules = LAYOUTS[one.layout] ?? {};
          bench.write = one.layout % 2 === 0 ? 'merge_on_read' : 'copy_on_write';
          await bench.open();
        } else if (one.kind === 'keep') {
          bench.shiftMs += 700_000;
          await upkeep(bench);
        } else {
          const events = Array.from({ length: one.count }, (_, at) => changeAt(done + 1 + at));
          await bench.commit(events);
          done += one.count;
        }
      }
      if (done === 0) return;
      await holdsChanges(bench, done);
      await isTrue(await readTable(bench.location, 't'));
      for await (const _news of bench.table.upkeep({ dryRun: false }));
      const after = await readTable(bench.location, 't');
      await holdsChanges(bench, done);
      await isTrue(after);
      assert.ok(
        after.files.every(({ specId }) => specId === after.state.spec.specId),
        'rows of an older layout were left',
      );
    }),
    { numRuns: atLevel({ test: 3, all: 30, deep: 300 }) },
  );
});
