// What a table's own commit makes of its rules: where poison stops it, what is counted, which moment of the
// source its snapshot is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summaryValue } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { findTable } from '../../../src/sinks/parquet/summary.ts';
import type { FoldCut } from '../../../src/sinks/sink.ts';
import { TYPE } from '../../support/plain-table.ts';
import { orderAt, TableBench, TOPIC_ID, upkeep, upsert } from '../../support/table-bench.ts';
import { readTable } from '../../support/table-rows.ts';
import { NUMBERS } from '../engine/event-batches.ts';

const keyless = (n: number) => {
  const { key: _key, ...event } = upsert(n, n, n);
  return event;
};

test('a record that cannot be folded is buried, or stops the table before it', async () => {
  await using bench = await TableBench.make();
  await bench.commit([upsert(1, 1, 1), keyless(2)]);
  assert.deepEqual(
    bench.dead.map(({ offset, isLate }) => [offset, isLate]),
    [[1n, false]],
  );
  bench.rules = { poison: 'stop', late: 'dlq' };
  await bench.open();
  const late = await bench.commit([upsert(4, 1, 4), upsert(3, 1, 3)]);
  assert.deepEqual([late.dead, late.late, bench.dead.length], [1, 1, 2]);
  const before = bench.table.offsets();
  await assert.rejects(bench.commit([upsert(5, 2, 5), keyless(6)]), (error: Error & { kind: string }) => {
    assert.equal(error.kind, 'record_corrupt');
    assert.match(error.message, /offset 5 of partition 0 of test\.public\.t .*on_poison/s);
    return true;
  });
  assert.deepEqual(bench.table.offsets(), before);
  assert.equal(bench.dead.length, 2);
});

test('what contradicts and what cannot be completed is counted', async () => {
  await using bench = await TableBench.make();
  const partial = { ...upsert(1, 1, 1), headers: { 'varve.unchanged': '["b"]' } };
  const first = await bench.commit([partial, upsert(2, 2, 2)]);
  assert.deepEqual([first.incomplete, first.conflicts], [1, 0]);
  const second = await bench.commit([upsert(2, 2, 3), upsert(3, 2, 4)]);
  assert.deepEqual([second.incomplete, second.conflicts, second.dead], [0, 1, 1]);
  const carried = { ...upsert(4, 2, 5), headers: { 'varve.unchanged': '["b"]' } };
  assert.equal((await bench.commit([carried])).incomplete, 0);
});

test('a snapshot says which moment of the source it is, if it is one, and so it stays', async () => {
  await using bench = await TableBench.make();
  const commit = (from: number, to: number, cut: FoldCut) => {
    const events = Array.from({ length: to - from + 1 }, (_, at) => upsert(from + at, at, from + at));
    return bench.table.commit([bench.batch(events)], { ...bench.context, cut }, TOPIC_ID);
  };
  const cut = async (): Promise<string | null> => {
    const found = await findTable({ location: bench.location }, { namespace: 'public', name: 't' });
    return found === null ? null : summaryValue(found.state, 'varve.cut');
  };
  const end = (n: number): string => `${orderAt(n).slice(0, 35)}.ffffffffffff`;
  await commit(1, 3, { limit: null, whole: end(3) });
  assert.equal(await cut(), end(3));
  await commit(4, 6, { limit: null, whole: end(5) });
  assert.equal(await cut(), '');
  await commit(7, 9, { limit: end(8), whole: end(8) });
  assert.equal(await cut(), end(8));
  assert.deepEqual([...bench.table.offsets()], [[0, 8n]]);
  for (let n = 10; n < 20; n++) await commit(n, n, { limit: null, whole: end(n) });
  await upkeep(bench);
  assert.equal(await cut(), end(19));
});

test('a batch beyond the engine memory is folded in parts; one record beyond it is named', async () => {
  const columns = NUMBERS.columns.map((column) =>
    column.name === 'b' ? { ...column, type: TYPE.text } : column,
  );
  await using bench = await TableBench.make({ ...NUMBERS, columns }, '128MB');
  const wide = (n: number, megabytes: number) => {
    const { row, ...event } = upsert(n, n, n);
    return bench.batch([
      { ...event, row: { ...row, b: { string: String(n).repeat(megabytes * 1_000_000) } } },
    ]);
  };
  const report = await bench.table.commit(
    [1, 2, 3, 4, 5, 6].map((n) => wide(n, 12)),
    bench.context,
    TOPIC_ID,
  );
  assert.equal(report.opened, 6);
  const { state } = await readTable(bench.location, 't');
  assert.ok(state.metadata.snapshots.length > 1, 'it fitted at once, so nothing was shown');
  await assert.rejects(bench.table.commit([wide(7, 100)], bench.context, TOPIC_ID), {
    kind: 'engine_memory',
  });
  assert.equal(bench.table.offsets().get(0), 6n);
});
