// A table of what is now, in the engine: what its files have, and what its companion keeps so that a change
// that comes late does not win.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import { mergeFrom } from '../../../src/sinks/parquet/engine/state-merge.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number, ordinal = 0): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal });

type Said = { at: number; id: number; a?: number; b?: number; headers?: Record<string, string> };
const change = (op: EventRecord['op'], { at, id, a, b, headers = {} }: Said): EventRecord => {
  const number = (value: number | undefined) => (value === undefined ? null : { int: value });
  return {
    op,
    order: order(at),
    ts: BigInt(at) * 1_000_000n,
    tx: `tx${at}`,
    key: { id: BigInt(id) },
    row: { id: BigInt(id), a: number(a), b: number(b) },
    headers,
  };
};
const unsent = { 'varve.unchanged': '["b"]' };

const held = async (table: EngineTable): Promise<string[]> =>
  (await table.rows('id')).map(({ id, a, b, _op }) => `${id} ${a} ${b} ${_op}`);

describe('a table of what is now', () => {
  it('has the columns of a row, and none that tells of its past', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([change('c', { at: 1, id: 1, a: 1 })]);
    const [row = {}] = await table.rows();
    const own = ['valid_from', '_op', '_order', '_commit_ts', '_tx', '_incomplete'];
    assert.deepEqual(Object.keys(row), ['id', 'a', 'b', ...own]);
    assert.deepEqual([row._order, row._tx, row.valid_from], [order(1), 'tx1', '1970-01-01 00:00:01+00']);
    assert.deepEqual(
      table.tableFiles().data.map(({ partition }) => partition),
      [[]],
    );
  });

  it('loses the rows that are deleted, and a create that comes late stays out', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([1, 2].map((id) => change('c', { at: 1, id, a: 1 })));
    await table.merge([change('d', { at: 3, id: 1 }), change('d', { at: 3, id: 9 })]);
    assert.deepEqual(await held(table), ['2 1 null c']);
    const late = await table.merge([
      change('u', { at: 2, id: 1, a: 2 }),
      change('c', { at: 2, id: 9, a: 2 }),
    ]);
    assert.deepEqual([late.added.length, late.removed.length, late.counts.late], [0, 0, 2]);
    assert.deepEqual(await held(table), ['2 1 null c']);
    // A file of which no row is left goes, and its delete file with it.
    await table.merge([change('d', { at: 4, id: 2 })]);
    assert.deepEqual([...table.files.keys()], []);
    await table.merge([change('c', { at: 5, id: 1, a: 5 })]);
    assert.deepEqual(await held(table), ['1 5 null c']);
  });

  it('is not written where nothing changes', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([change('c', { at: 1, id: 1, a: 1 })]);
    const same = await table.merge([change('u', { at: 2, id: 1, a: 1 })]);
    assert.deepEqual([same.added.length, same.removed.length, same.counts.noops], [0, 0, 1]);
    // And yet the later one is known of: what comes between does not win.
    const late = await table.merge([change('u', { at: 2, id: 2, a: 3 })]);
    assert.equal(late.counts.opened, 1);
    await table.merge([change('u', { at: 4, id: 1, a: 1 })]);
    const between = await table.merge([change('u', { at: 3, id: 1, a: 7 })]);
    assert.equal(between.counts.late, 1);
    const [row] = await table.rows('id');
    assert.deepEqual([row?.a, row?._order], [1, order(4)]);
  });

  it('carries what the source did not send, out of the past too', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([change('c', { at: 1, id: 1, a: 1, b: 7 })]);
    await table.merge([change('u', { at: 3, id: 1, a: 3, b: 99, headers: unsent })]);
    assert.deepEqual(await held(table), ['1 3 7 u']);
    await table.merge([change('u', { at: 2, id: 1, a: 2, b: 8 })]);
    assert.deepEqual(await held(table), ['1 3 8 u']);
    // A key that changes: its first half takes the row away, its second half still needs it.
    const [toNew, toOld] = [{ '__debezium.newkey': '{"id":5}' }, { '__debezium.oldkey': '{"id":1}' }];
    await table.merge([change('d', { at: 4, id: 1, headers: toNew })]);
    assert.deepEqual(await held(table), []);
    await table.merge([change('c', { at: 4, id: 5, a: 4, b: 99, headers: { ...toOld, ...unsent } })]);
    assert.deepEqual(await held(table), ['5 4 8 c']);
  });

  it('names what it cannot know, until it comes', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([change('u', { at: 2, id: 1, a: 2, b: 99, headers: unsent })]);
    const [row] = await table.rows();
    assert.deepEqual([row?.b, row?._incomplete], [null, ['b']]);
    await table.merge([change('r', { at: 1, id: 1, a: 1, b: 5 })]);
    const [known] = await table.rows();
    assert.deepEqual([known?.a, known?.b, known?._incomplete, known?._op], [2, 5, null, 'u']);
  });

  it('is emptied by a truncate, and swept by a snapshot', async () => {
    using table = new EngineTable({ engine, mode: 'latest', buckets: 4 });
    await table.merge([1, 2, 3].map((id) => change('c', { at: 1, id, a: 1 })));
    await table.merge([{ op: 't', order: order(2), ts: 2_000_000n }]);
    assert.deepEqual([await held(table), [...table.files.keys()]], [[], []]);
    await table.merge([4, 5].map((id) => change('c', { at: 3, id, a: 3 })));
    await table.merge([change('r', { at: 4, id: 4, a: 3 })], { order: order(4), ts: 4_000_000n, kind: 's' });
    assert.deepEqual(await held(table), ['4 3 null c']);
    const late = await table.merge([change('c', { at: 1, id: 6, a: 1 })]);
    assert.equal(late.added.length, 0);
  });

  it('keeps its rows when its files are merged', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    for (let at = 1; at <= 4; at++) await table.merge([1, at].map((id) => change('u', { at, id, a: at })));
    const before = await held(table);
    assert.equal(await table.rewrite(), 1);
    assert.deepEqual(await held(table), before);
    assert.equal(table.files.size, 1);
  });
});

describe('what a table of what is now remembers', () => {
  const ids = Array.from({ length: 10_000 }, (_, id) => id + 100);
  /** Numbers that do not compress. */
  const mixed = (id: number): number => (id * 48_271) % 2_147_483_647;

  it('is merged in steps, and a version that stands again is not of the past', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge([
      change('c', { at: 1, id: 1, a: 1 }),
      ...ids.map((id) => change('c', { at: 1, id, a: mixed(id) })),
    ]);
    await table.merge(ids.map((id) => change('u', { at: 2, id, a: 0 })));
    const [large] = table.state;
    for (let at = 3; at < 20; at += 2) {
      // A transaction that says something else and then takes it back, cut in two.
      await table.merge([change('u', { at, id: 1, a: at })]);
      const back = await table.merge([{ ...change('u', { at, id: 1, a: 1 }), order: order(at, 1) }]);
      if (back.stateRemoved.length === 0)
        assert.equal(back.stateAdded?.rows, 2, 'that nothing changed, and that the version never ended');
    }
    assert.equal(table.state[0], large);
    assert.ok(table.state.length < 8, `${table.state.length} files`);
    const late = await table.merge([change('u', { at: 2, id: 1, a: 9 })]);
    assert.equal(late.counts.late, 1);
    const [row] = await table.rows('id');
    assert.deepEqual([row?.a, row?._order], [1, order(3, 1)]);
  });

  it('goes when no late change may need it any more', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge(ids.map((id) => change('c', { at: 1, id, a: 1 })));
    await table.merge(ids.map((id) => change('u', { at: 2, id, a: 2 })));
    await table.merge([change('u', { at: 3, id: 100, a: 3 })]);
    assert.equal(table.state.length, 2);
    table.horizon = order(2);
    await table.merge([change('u', { at: 4, id: 101, a: 4 })]);
    assert.equal(table.state.length, 2, 'the oldest file is gone, a new one is there');
    table.horizon = order(4);
    await table.merge([change('u', { at: 5, id: 101, a: 4 })]);
    assert.equal(table.state.length, 1);
    const dead = await table.merge([change('u', { at: 3, id: 101, a: 7 })]);
    assert.match(dead.dead[0]?.reason ?? '', /older than what the table still remembers/);
  });

  it('goes when it is merged with what may still be needed', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    for (let at = 1; at < 30; at++) {
      if (at === 17) table.horizon = order(8);
      const { stateAdded, stateRemoved } = await table.merge([change('u', { at, id: 1, a: at })]);
      if (stateRemoved.length > 1 && at >= 17) {
        assert.equal(stateAdded?.rows, at - 8);
        return;
      }
    }
    assert.fail('nothing was merged');
  });

  it('is written again about once a doubling, and not at all once it is large', () => {
    assert.equal(mergeFrom([1, 1, 1]), null);
    assert.equal(mergeFrom([1, 1, 1, 1, 1, 1, 1, 1]), 0);
    assert.equal(mergeFrom([1000, 1, 1, 1, 1, 1, 1, 1]), 1);
    assert.equal(mergeFrom([1 << 27, 1 << 27, 1, 1, 1, 1, 1, 1]), 2);
    assert.equal(mergeFrom(new Array(8).fill(1 << 27)), null);
  });
});
