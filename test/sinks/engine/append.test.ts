// A list of events of a table with a key, in the engine: what a delete, a changed key, a truncate and columns
// that were not sent leave.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import { layoutColumns } from '../../../src/sinks/parquet/columns-layout.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { type EventRecord, EventWriter, NUMBERS } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal: 0 });
type Place = [at: number, id: number, more?: Partial<EventRecord>];
const change = (op: EventRecord['op'], ...[at, id, more = {}]: Place) => ({
  op,
  order: order(at),
  ts: BigInt(at) * 1_000_000n,
  tx: `tx${at}`,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: { int: at }, b: { int: id } },
  ...more,
});
const shown = async (table: EngineTable): Promise<string[]> =>
  (await table.rows('_order, _op DESC')).map(
    ({ id, a, b, _op, _tx, _incomplete }) => `${_op} ${id} ${a} ${b} ${_tx} ${_incomplete}`,
  );

describe('a list of events of a table with a key', () => {
  it('has its columns and no partition, and nothing that it holds ever changes', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    await table.merge([change('c', 1, 1)]);
    const [first] = [...table.files.keys()];
    const { removed, stateAdded, barriers } = await table.merge([change('u', 2, 1), change('u', 3, 1)], {
      order: order(3),
      ts: 0n,
      kind: 's',
    });
    assert.deepEqual([removed, stateAdded, barriers.length], [[], null, 1]);
    assert.ok(table.files.has(first ?? ''));
    assert.deepEqual(await shown(table), ['c 1 1 1 tx1 null', 'u 1 2 1 tx2 null', 'u 1 3 1 tx3 null']);
    const own = ['_op', '_order', '_commit_ts', '_tx', '_incomplete'];
    assert.deepEqual(Object.keys((await table.rows())[0] ?? {}), ['id', 'a', 'b', ...own]);
    assert.deepEqual(
      table.tableFiles().data.map(({ partition }) => partition),
      [[], []],
    );
  });

  it('tells a delete by what its source has sent: the row, or the key', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    const { row: _row, ...keyOnly } = change('d', 2, 2);
    await table.merge([change('d', 1, 1), keyOnly]);
    assert.deepEqual(await shown(table), ['d 1 1 1 tx1 null', 'd 2 null null tx2 null']);
  });

  it('has both halves of a changed key, once, and one row where it is only written anew', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    const moved = [
      change('d', 1, 1, { headers: { '__debezium.newkey': '{"id":2}' } }),
      change('c', 1, 2, { headers: { '__debezium.oldkey': '{"id":1}' } }),
    ];
    const same = [
      change('d', 2, 2, { headers: { '__debezium.newkey': '{"id":2}' } }),
      change('c', 2, 2, { headers: { '__debezium.oldkey': '{"id":2}' } }),
    ];
    await table.merge([...moved, ...same]);
    const { counts } = await table.merge([...same, ...moved]);
    assert.deepEqual([counts.opened, counts.duplicates], [0, 3]);
    assert.deepEqual(await shown(table), ['d 1 1 1 tx1 null', 'c 2 1 2 tx1 null', 'u 2 2 2 tx2 null']);
  });

  it('has NULL for what was not sent, and names it', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    await table.merge([change('u', 1, 1, { headers: { 'varve.unchanged': '["b"]' } })]);
    assert.deepEqual(await shown(table), ['u 1 1 null tx1 b']);
  });

  it('has a truncate once, from however many partitions', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    const truncate: EventRecord = { op: 't', order: order(2), ts: 2_000_000n };
    // A topic of several partitions has it in each of them.
    await table.merge([change('c', 1, 1), { ...truncate, partition: 0 }, { ...truncate, partition: 1 }]);
    const { dead } = await table.merge([truncate]);
    assert.deepEqual(dead, []);
    assert.deepEqual(await shown(table), ['c 1 1 1 tx1 null', 't null null null  null']);
  });

  it('goes on when another column becomes the key', async () => {
    const other = new EventWriter({ ...NUMBERS, key: [1] }, 2, order(2));
    using table = new EngineTable({ engine, mode: 'append' });
    await table.merge([change('c', 1, 1)]);
    table.writers.push(other);
    table.layout = layoutColumns(other.record, table.layout, { mode: 'append' });
    await table.merge([{ op: 'd', order: order(2), ts: 2_000_000n, tx: 'tx2', key: { a: { int: 7 } } }]);
    assert.deepEqual(await shown(table), ['c 1 1 1 tx1 null', 'd null 7 null tx2 null']);
  });

  it('stays in its order when its files are merged', async () => {
    using table = new EngineTable({ engine, mode: 'append' });
    for (let at = 1; at <= 5; at++) await table.merge([change('u', at, 9 - at)]);
    const before = await shown(table);
    assert.equal(await table.rewrite(), 1);
    assert.deepEqual(await shown(table), before);
  });
});
