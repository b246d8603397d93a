// What people ask a table's layout to be: what becomes of it in the metadata, what grows by itself, what is
// refused by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { DEFAULT_FILES, type FileRules, layoutChange } from '../../../src/sinks/parquet/file-layout.ts';
import { storedLayout } from '../../../src/sinks/parquet/stored-table.ts';
import { changeAt, TableBench } from '../../support/table-bench.ts';
import { readTable } from '../../support/table-rows.ts';

test('buckets that Varve counts grow with the rows, and never shrink', async () => {
  await using bench = await TableBench.make();
  const large = { ...bench.context, estimatedRows: 12_000_000 };
  const transforms = async (): Promise<string[]> =>
    (await readTable(bench.location, 't')).state.spec.fields.map(({ transform }) => transform);
  await bench.table.commit([bench.batch([changeAt(1)])], large, 'topic');
  assert.deepEqual(await transforms(), ['identity', 'bucket[4]']);
  // A small table that was expected to be large keeps what it has.
  await bench.commit([changeAt(2)]);
  assert.deepEqual(await transforms(), ['identity', 'bucket[4]']);
  const { state } = await readTable(bench.location, 't');
  const wish = (size: { rows: number; bytes: number }, files: Partial<FileRules> = {}) => {
    const rules = { ...DEFAULT_FILES, ...files };
    const asked = { layout: storedLayout(state), rules, topic: 't', lineage: {}, size };
    return layoutChange(state, asked)?.partition.map(({ transform }) => transform) ?? null;
  };
  assert.equal(wish({ rows: 20_000_000, bytes: 0 }), null);
  assert.deepEqual(wish({ rows: 20_000_001, bytes: 0 }), ['identity', 'bucket[8]']);
  assert.deepEqual(wish({ rows: 1, bytes: 5 << 28 }), ['identity', 'bucket[8]']);
  assert.deepEqual(wish({ rows: 1e12, bytes: 0 }), ['identity', 'bucket[1024]']);
  // A number that people chose is theirs, also where it is less.
  assert.deepEqual(wish({ rows: 1e9, bytes: 0 }, { buckets: 2 }), ['identity', 'bucket[2]']);
});

test('what is asked for stands in the metadata, with owner, tags and where the rows come from', async () => {
  await using bench = await TableBench.make();
  bench.fileRules = { owner: 'sales', tags: { domain: 'orders', pii: 'no' }, targetFileBytes: 32 << 20 };
  await bench.open();
  await bench.commit([changeAt(1)]);
  const first = (await readTable(bench.location, 't')).state;
  assert.deepEqual(
    ['owner', 'varve.tag.domain', 'varve.tag.pii', 'write.target-file-size-bytes', 'varve.topic'].map(
      (key) => first.properties[key],
    ),
    ['sales', 'orders', 'no', String(32 << 20), 'test.public.t'],
  );
  assert.equal(first.properties['write.parquet.compression-codec'], 'zstd');
  const order = first.metadata['sort-orders'].find(
    (one) => one['order-id'] === first.metadata['default-sort-order-id'],
  );
  assert.deepEqual(
    order?.fields.map((field) => first.fields.find(({ id }) => id === field['source-id'])?.name),
    ['id', '_order'],
  );
  bench.fileRules = { tags: { domain: 'shop' }, compression: 'none' };
  await bench.open();
  await bench.commit([changeAt(2)]);
  const second = (await readTable(bench.location, 't')).state;
  assert.equal(second.properties['varve.tag.domain'], 'shop');
  assert.equal(second.properties['varve.tag.pii'], undefined);
  assert.equal(second.properties['write.parquet.compression-codec'], 'uncompressed');
  // Nothing is asked for that is not there: no commit but the fold's own.
  await bench.commit([changeAt(3)]);
  assert.equal((await readTable(bench.location, 't')).state.version, second.version + 1);
});

test('what a table cannot be laid out by is refused by name, before anything is written', async () => {
  const wrong: readonly [Partial<FileRules>, RegExp][] = [
    [{ bucketBy: 'a' }, /bucket_by: a is no column of the key .*\(id\)/],
    [{ bucketBy: 'nope' }, /bucket_by: nope/],
    [{ bucketBy: 'none', buckets: 4 }, /buckets: 4/],
    [{ partitionBy: ['nope'] }, /partition_by: .* has no column nope/],
    [{ partitionBy: ['day(a)'] }, /day\(a\) .* a is int/],
    [{ partitionBy: ['_commit_ts'] }, /_commit_ts is timestamptz/],
    [{ partitionBy: ['day(_commit_ts)', 'hour(_commit_ts)'] }, /says again what day says/],
    [{ partitionBy: ['is_current'] }, /says again what identity says/],
  ];
  await using bench = await TableBench.make();
  await bench.commit([changeAt(1)]);
  const { version } = (await readTable(bench.location, 't')).state;
  for (const [rules, sentence] of wrong) {
    bench.fileRules = rules;
    await bench.open();
    await assert.rejects(bench.commit([changeAt(2)]), (thrown) => {
      assert.ok(thrown instanceof VarveError && thrown.kind === 'config_invalid');
      assert.match(thrown.message, sentence);
      return true;
    });
  }
  assert.equal((await readTable(bench.location, 't')).state.version, version);
});
