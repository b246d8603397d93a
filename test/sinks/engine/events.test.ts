// Events that need more than the rules: dead letters, offsets, schemas that change, tables without a key.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import type { TableSchema } from '../../../src/change/schema.ts';
import { layoutColumns } from '../../../src/sinks/parquet/columns-layout.ts';
import { TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { columnsOf, type EventRecord, EventWriter, NUMBERS } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number, ordinal = 1): string => {
  return formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal });
};

type Numbers = [id: number, a?: number];
const change = (op: EventRecord['op'], at: number, ...[id, a]: Numbers): EventRecord => ({
  op,
  order: order(at),
  ts: BigInt(at),
  tx: `${at}`,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: a === undefined ? null : { int: a }, b: null },
});

describe('events', () => {
  it('are folded once, and go to the dead letters when they contradict or come too late', async () => {
    using table = new EngineTable({ engine });
    await table.merge([change('c', 1, 1, 1), change('u', 2, 1, 2)]);
    const again = await table.merge([change('u', 2, 1, 2)]);
    assert.deepEqual([again.counts.duplicates, again.added.length, again.dead.length], [1, 0, 0]);
    const other = await table.merge([change('u', 2, 1, 3)]);
    assert.equal(other.dead.length, 1);
    assert.match(other.dead[0]?.reason ?? '', /same order/);
    assert.ok((other.dead[0]?.value?.length ?? 0) > 10);
    assert.equal((await table.rows('_order')).at(-1)?.a, 3);
    const gone = await table.merge([change('d', 2, 1)]);
    assert.equal(gone.dead.length, 1);
    table.horizon = order(2);
    const late = await table.merge([change('u', 1, 1, 9), change('c', 2, 2, 1), change('c', 3, 3, 1)]);
    assert.equal(late.dead.length, 2);
    assert.deepEqual(
      (await table.rows('_order')).map(({ id, a }) => [id, a]),
      [
        ['1', 1],
        ['3', 1],
      ],
    );
  });

  it('without order, key or image are dead letters, and the rest goes on', async () => {
    using table = new EngineTable({ engine });
    const bad = { ...change('c', 1, 1), headers: { 'varve.order': 'nonsense' } };
    const { key: _key, ...keyless } = change('c', 2, 2);
    const result = await table.merge([bad, keyless, change('c', 3, 3)]);
    assert.deepEqual(
      result.dead.map(({ offset }) => offset),
      [0n, 1n],
    );
    assert.deepEqual([result.counts.opened, result.counts.events], [1, 1]);
  });

  it('above the cut stay in the topic', async () => {
    using table = new EngineTable({ engine });
    const request = {
      ...table.request([change('c', 1, 1), change('c', 2, 2), change('c', 3, 3)]),
      cut: `${order(2)}`,
    };
    const result = await table.apply(await engine.merge(request, table.answers));
    assert.deepEqual([...result.offsets], [[0, 2n]]);
    assert.equal((await table.rows()).length, 2);
    assert.equal(result.highs.get(0)?.order, order(2));
  });

  it('below the offset are not folded again', async () => {
    using table = new EngineTable({ engine });
    const request = table.request([change('c', 1, 1), change('c', 2, 2)]);
    const batches = request.batches.map((batch) => ({ ...batch, from: 1n }));
    const result = await table.apply(await engine.merge({ ...request, batches }, table.answers));
    assert.deepEqual([result.counts.events, [...result.offsets]], [1, [[0, 2n]]]);
  });

  it('of a schema that nobody knows stop the table', async () => {
    using table = new EngineTable({ engine });
    const request = { ...table.request([change('c', 1, 1)]), schemas: [] };
    await assert.rejects(engine.merge(request, table.answers), { kind: 'schema_unknown' });
  });

  it('read the same rows through renamed, widened, dropped and new columns', async () => {
    const first = new EventWriter(NUMBERS);
    using table = new EngineTable({ engine, buckets: 2, writers: [first] });
    await table.merge([change('c', 1, 1, 1), change('c', 2, 2, 2), change('c', 3, 3, 3)]);
    const schema: TableSchema = {
      name: ['s', 't'],
      columns: columnsOf({
        id: { type: TYPE.long, optional: false },
        renamed: { type: TYPE.long, id: 2 },
        b: { type: TYPE.text, id: 9 },
      }),
      key: [0],
    };
    const second = new EventWriter(schema, 2, order(4));
    table.writers.push(second);
    table.layout = layoutColumns(second.record, table.layout);
    const row = (id: number, value: bigint, b: string | null) => ({
      id: BigInt(id),
      renamed: { long: value },
      b: b === null ? null : { string: b },
    });
    const event = (id: number, value: bigint, b: string | null) =>
      ({ op: 'u', order: order(4, id), ts: 4n, key: { id: BigInt(id) }, row: row(id, value, b) }) as const;
    const result = await table.merge([event(1, 1n, null), event(2, 5_000_000_000n, 'x')]);
    assert.deepEqual([result.counts.noops, result.counts.opened, result.counts.closed], [1, 1, 1]);
    const { rows, columns } = await engine.query(
      { ...table.tableFiles(), rows: { kind: 'current' }, where: null, limit: 10 },
      table.answers,
    );
    const at = ['id', 'renamed', 'b'].map((name) => columns.indexOf(name));
    assert.deepEqual(
      rows.map((values) => at.map((column) => values[column])),
      [
        [1n, 1n, null],
        [2n, 5_000_000_000n, 'x'],
        [3n, 3n, null],
      ],
    );
  });
});

describe('a changed key', () => {
  it('closes one row, opens another, and carries what the source did not send', async () => {
    using table = new EngineTable({ engine });
    await table.merge([change('c', 1, 1, 7)]);
    const halves = [
      { ...change('d', 2, 1), headers: { '__debezium.newkey': '{"id":2}' } },
      { ...change('c', 2, 2), headers: { '__debezium.oldkey': '{"id":1}', 'varve.unchanged': '["a"]' } },
    ];
    await table.merge([halves[1] as EventRecord]);
    await table.merge([halves[0] as EventRecord]);
    const rows = await table.rows('id');
    assert.deepEqual(
      rows.map((row) => [row.id, row.a, row._closed_by, row._previous_key, row._incomplete]),
      [
        ['1', 7, 'k', null, null],
        ['2', 7, null, '{"id":1}', null],
      ],
    );
  });

  it('that is spelt anew and is the same stays one row', async () => {
    using table = new EngineTable({ engine });
    await table.merge([change('c', 1, 1, 7)]);
    await table.merge([
      { ...change('d', 2, 1), headers: { '__debezium.newkey': '{"id":1}' } },
      { ...change('c', 2, 1, 8), headers: { '__debezium.oldkey': '{"id":1}' } },
    ]);
    const rows = await table.rows('_order');
    assert.deepEqual(
      rows.map((row) => [row.a, row._op, row._closed_by]),
      [
        [7, 'c', 'u'],
        [8, 'u', null],
      ],
    );
  });
});

describe('a table without a key', () => {
  const schema: TableSchema = { ...NUMBERS, columns: columnsOf({ a: { type: TYPE.int } }), key: [] };
  const append = (op: EventRecord['op'], at: number, a: number): EventRecord => ({
    op,
    order: order(at),
    ts: BigInt(at),
    ...(op === 't' ? {} : { row: { a: { int: a } } }),
  });

  it('gets one row an event, once', async () => {
    using table = new EngineTable({ engine, writers: [new EventWriter(schema)] });
    await table.merge([append('c', 1, 1), append('d', 2, 1), append('t', 3, 0)]);
    const result = await table.merge([append('d', 2, 1), append('c', 4, 5), append('c', 4, 5)]);
    assert.deepEqual([result.counts.opened, result.counts.duplicates], [1, 2]);
    const rows = await table.rows('_order');
    assert.deepEqual(
      rows.map(({ a, _op }) => [a, _op]),
      [
        [1, 'c'],
        [1, 'd'],
        [null, 't'],
        [5, 'c'],
      ],
    );
  });
});
