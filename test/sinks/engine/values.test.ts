// Values that a careless comparison or decoder changes: two keys that differ by a leading U+FEFF, 0 and -0.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import type { TableSchema } from '../../../src/change/schema.ts';
import { TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { columnsOf, type EventRecord, EventWriter } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const schema: TableSchema = {
  name: ['s', 't'],
  columns: columnsOf({ id: { type: TYPE.text, optional: false }, a: { type: TYPE.text } }),
  key: [0],
};
const event = (op: EventRecord['op'], at: number, id: string): EventRecord => ({
  op,
  order: formatOrder({ epoch: 1, position: BigInt(at), phase: 1, ordinal: 1 }),
  ts: BigInt(at),
  key: { id },
  row: { id, a: { string: `\ufeff${at}` } },
});

describe('a leading U+FEFF', () => {
  it('belongs to the key', async () => {
    using table = new EngineTable({ engine, writers: [new EventWriter(schema)] });
    await table.merge([event('c', 1, '\ufeffk'), event('c', 2, 'k')]);
    await table.merge([event('u', 3, '\ufeffk')]);
    await table.merge([event('u', 4, '\ufeffk'), event('u', 5, '\ufeffk')]);
    await table.merge([event('u', 3, '\ufeffk')]);
    const question = { rows: { kind: 'current' }, where: null, limit: 10 } as const;
    const { rows, columns } = await engine.query({ ...table.tableFiles(), ...question }, table.answers);
    const at = ['id', 'a'].map((name) => columns.indexOf(name));
    assert.deepEqual(
      rows.map((row) => at.map((column) => row[column])),
      [
        ['k', '\ufeff2'],
        ['\ufeffk', '\ufeff5'],
      ],
    );
  });

  it('belongs to the bounds of a file', async () => {
    using table = new EngineTable({ engine, writers: [new EventWriter(schema)] });
    const { added } = await table.merge([event('c', 1, '\ufeffk')]);
    const [id] = table.layout.key;
    const { lower, upper } = added[0]?.file.stats.get(id ?? 0) ?? {};
    for (const bound of [lower, upper]) assert.equal(Buffer.from(bound ?? []).toString(), '\ufeffk');
  });
});

describe('numbers that compare as equal and are not the same', () => {
  for (const collapse of [true, false])
    it(`make versions (${collapse ? 'collapsed' : 'every change'})`, async () => {
      const floating: TableSchema = {
        name: ['s', 't'],
        columns: columnsOf({ id: { type: TYPE.long, optional: false }, a: { type: TYPE.double } }),
        key: [0],
      };
      using table = new EngineTable({ engine, rules: { collapse }, writers: [new EventWriter(floating)] });
      const set = (at: number, value: number): EventRecord => ({
        op: 'u',
        order: formatOrder({ epoch: 1, position: BigInt(at), phase: 1, ordinal: 1 }),
        ts: BigInt(at),
        key: { id: 1n },
        row: { id: 1n, a: { double: value } },
      });
      const values = [0, -0, -0, Number.NaN, Number.NaN, 0];
      // In order by joins, then a late one by the rules.
      for (const [at, value] of values.entries()) if (at !== 1) await table.merge([set(at + 1, value)]);
      await table.merge([set(2, -0)]);
      const rows = await table.rows('_order');
      assert.deepEqual(
        rows.map(({ a }) => a),
        [0, -0, 'NaN', 0],
      );
    });
});
