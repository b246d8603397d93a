// Tables in every mode and way of writing, as they live: commits that are cut off at every call to the store,
// upkeep in between, a file that says something else than the table was built with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import type { TableMode } from '../../../src/sinks/parquet/columns-layout.ts';
import type { WriteWay } from '../../../src/sinks/parquet/engine/protocol.ts';
import { atLevel } from '../../support/level.ts';
import { TableBench, upkeep, upsert } from '../../support/table-bench.ts';
import { readTable, rowTexts } from '../../support/table-rows.ts';
import type { EventRecord } from '../engine/event-batches.ts';
import { type FAULTS, faultyStore, InjectedFault } from '../iceberg/faulty-store.ts';

const KEYS = 5;
/** The `n`th change: an upsert, and now and then a delete. */
const changeAt = (n: number): EventRecord => {
  const said = upsert(n, n % KEYS, n);
  return n % 7 === 0 ? { ...said, op: 'd' } : said;
};
const upTo = (count: number): EventRecord[] => Array.from({ length: count }, (_, at) => changeAt(at + 1));

/** What changes 1 to `count` leave in each mode, as `op id a order`. */
const expected = (mode: TableMode, count: number): string[] => {
  const line = ({ op, order, row = {} }: EventRecord): string => {
    const a = row.a as { int: number };
    return `${op} ${row.id} ${a.int} ${order}`;
  };
  const events = upTo(count);
  if (mode === 'append') return events.map(line);
  const upserts = events.filter(({ op }) => op !== 'd');
  if (mode === 'scd2') return upserts.map(line);
  const newest = new Map(events.map((event) => [event.row?.id, event]));
  return upserts.filter((event) => newest.get(event.row?.id) === event).map(line);
};
const found = async ({ location }: TableBench): Promise<string[]> =>
  rowTexts(await readTable(location, 't'), ['_op', 'id', 'a', '_order']);
const hasDeletes = async ({ location }: TableBench): Promise<boolean> =>
  (await readTable(location, 't')).files.some(({ content }) => content === 'position_deletes');

const makeBench = async (mode: TableMode, write: WriteWay): Promise<TableBench> => {
  const bench = await TableBench.make();
  Object.assign(bench, { mode, write });
  await bench.open();
  return bench;
};

type Cut = { at: number; fault: (typeof FAULTS)[number] };

/** Commits change `n` with a fault, as a process that dies of it, and goes on as the next one. */
const commitThrough = async (bench: TableBench, n: number, { at, fault }: Cut): Promise<boolean> => {
  let calls = () => 0;
  bench.wrap = (inner) => {
    const faulty = faultyStore(inner, at, fault);
    calls = faulty.calls;
    return faulty.store;
  };
  const batch = bench.batch([changeAt(n)]);
  const isDone = await (async () => {
    await bench.open();
    await bench.table.commit([batch], bench.context, 'topic');
    return true;
  })().catch((thrown: unknown) => {
    const root = thrown instanceof VarveError ? (thrown.cause ?? thrown) : thrown;
    assert.ok(root instanceof InjectedFault || /at call|after the end/.test(String(thrown)), String(thrown));
    return false;
  });
  bench.wrap = (store) => store;
  await bench.open();
  const rows = await found(bench);
  const [old, fresh] = [expected(bench.mode, n - 1), expected(bench.mode, n)];
  const isNew = JSON.stringify(rows) === JSON.stringify(fresh);
  assert.ok(
    isNew || JSON.stringify(rows) === JSON.stringify(old),
    `neither old nor new at call ${at}, ${fault}`,
  );
  if (isDone) assert.ok(isNew, `a commit that returned is gone at call ${at}, ${fault}`);
  if (!isNew) await bench.table.commit([batch], bench.context, 'topic');
  assert.deepEqual(await found(bench), fresh);
  return calls() <= at;
};

const WORLDS = [
  ['latest', 'merge_on_read'],
  ['latest', 'copy_on_write'],
  ['append', 'merge_on_read'],
  ['scd2', 'copy_on_write'],
] as const;
const FAULT_STEPS = atLevel({ test: 5, all: 1, deep: 1 });

for (const [mode, write] of WORLDS)
  test(`${mode}, ${write}: a commit that is cut off at any call is whole or has not happened`, async () => {
    await using bench = await makeBench(mode, write);
    await bench.commit(upTo(3));
    let n = 3;
    for (const fault of ['dead-before', 'dead-after'] as const)
      for (let at = 0, isPast = false; !isPast; at += FAULT_STEPS) {
        isPast = await commitThrough(bench, ++n, { at, fault });
        await bench.table.maintain();
        assert.deepEqual(await found(bench), expected(mode, n));
        if (write === 'copy_on_write') assert.equal(await hasDeletes(bench), false);
      }
    assert.ok(n > 5, `only ${n} commits were tried`);
    await upkeep(bench);
    assert.deepEqual(await found(bench), expected(mode, n));
  });

test('the way of writing may change; the mode may not, and says what to do', async () => {
  await using bench = await makeBench('latest', 'merge_on_read');
  await bench.commit(upTo(6));
  await bench.commit([changeAt(7), changeAt(8)]);
  assert.equal(await hasDeletes(bench), true);
  bench.write = 'copy_on_write';
  await bench.open();
  await bench.commit([changeAt(9)]);
  assert.equal(await hasDeletes(bench), false);
  assert.deepEqual(await found(bench), expected('latest', 9));
  for (const mode of ['scd2', 'append'] as const) {
    bench.mode = mode;
    await assert.rejects(bench.open(), (thrown) => {
      assert.ok(thrown instanceof VarveError);
      assert.equal(thrown.kind, 'config_invalid');
      assert.match(thrown.message, new RegExp(`built in mode latest, and the file says mode ${mode}`));
      assert.match(
        thrown.message,
        /Say mode: latest again for this table, or move file:.*t__varve_state away/,
      );
      return true;
    });
  }
  bench.mode = 'latest';
  await bench.open();
  await bench.commit([changeAt(10)]);
  assert.deepEqual(await found(bench), expected('latest', 10));
});

test('events of a topic that was published again are told by their order', async () => {
  for (const mode of ['latest', 'append'] as const) {
    await using bench = await makeBench(mode, 'merge_on_read');
    await bench.commit(upTo(9));
    const again = await bench.commit(upTo(9));
    assert.equal(again.opened, 0);
    assert.deepEqual(await found(bench), expected(mode, 9));
  }
});
