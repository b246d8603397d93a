// A table whose columns change, through its commits: what stops it, what goes on, what its files and its
// older snapshots are like after it, in every mode.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Column, TableSchema } from '../../../src/change/schema.ts';
import { stateAt } from '../../../src/sinks/parquet/iceberg/past-state.ts';
import { EvolvingTable, type Written } from '../../laws/evolution-table.ts';
import { TYPE } from '../../support/plain-table.ts';
import { orderAt } from '../../support/table-bench.ts';
import { type ReadTable, readTable, rowTexts } from '../../support/table-rows.ts';
import { SharedEngine } from '../engine/engine-table.ts';
import { columnsOf, EventWriter } from '../engine/event-batches.ts';

type Specs = Record<string, Partial<Column> & Pick<Column, 'type'>>;
const id = { type: TYPE.int, optional: false };
const schema = (columns: Specs, key = { id }): TableSchema => ({
  name: ['public', 't'],
  columns: columnsOf({ ...key, ...columns }),
  key: [0],
});
/** One a schema, in force from the transaction of its number times ten on. */
const writers = (...schemas: readonly TableSchema[]): EventWriter[] =>
  schemas.map((one, at) => new EventWriter(one, at + 1, at === 0 ? '' : orderAt((at + 1) * 10)));

/** A change of key `key` by schema `n`. */
const change = (n: number, at: number, [key, row]: [key: number | bigint, row: object]): Written => ({
  n,
  event: {
    op: 'u',
    order: orderAt(at),
    ts: BigInt(at) * 1_000_000n,
    tx: `${at}`,
    key: { id: key },
    row: { id: key, ...row },
  },
});
const int = (value: number) => ({ int: value });
const text = (value: string) => ({ string: value });

let shared: SharedEngine;
before(() => {
  shared = new SharedEngine();
});
after(() => shared[Symbol.asyncDispose]());

type Rules = Parameters<EvolvingTable['open']>[0];
const openTable = async (schemas: readonly TableSchema[], rules: Rules = {}): Promise<EvolvingTable> => {
  const { engine, directory } = shared;
  const table = new EvolvingTable({ engine, directory, writers: writers(...schemas), rules });
  await table.open();
  return table;
};
const read = ({ location }: EvolvingTable): Promise<ReadTable> => readTable(location, 't');
const columnNames = ({ fields }: Pick<ReadTable, 'fields'>): string =>
  fields
    .filter(({ name }) => !/^(_|valid_|is_current$)/.test(name))
    .map(({ name, type }) => `${name} ${typeof type === 'string' ? type : `list ${type.element}`}`)
    .join(', ');
const dataFiles = ({ files }: ReadTable): number => files.filter(({ content }) => content === 'data').length;

const A_INT = schema({ a: { type: TYPE.int } });
const A_TEXT = schema({ a: { type: TYPE.text } });

test('a type that does not fit stops the table; with new_column it goes on from there', async () => {
  const table = await openTable([A_INT, A_TEXT], { onIncompatible: 'fail' });
  await table.commit([change(1, 1, [1, { a: int(1) }])]);
  const other = [change(2, 20, [1, { a: text('one') }]), change(1, 2, [2, { a: int(2) }])];
  const before = (await read(table)).state.version;
  await assert.rejects(table.commit(other), {
    kind: 'schema_incompatible',
    message: /column a of public\.t is string now, .* \(a int\).* on_incompatible: new_column/,
  });
  assert.equal((await read(table)).state.version, before);
  await table.open({ onIncompatible: 'new_column' });
  await table.commit(other);
  // What was decided stays decided: nothing is asked of a schema that the table has followed.
  await table.open({ onIncompatible: 'fail' });
  await table.commit([change(2, 21, [3, { a: text('three') }])]);
  const found = await read(table);
  assert.equal(columnNames(found), 'id int, a int, a__2 string');
  assert.deepEqual(rowTexts(found, ['id', 'a', 'a__2', '_closed_by']), [
    '1 1 null u',
    '2 2 null null',
    '1 null one null',
    '3 null three null',
  ]);
});

test('two schemas that live at once do not shatter files', async () => {
  const renamed = schema({ b: { type: TYPE.long, id: 2 }, c: { type: TYPE.text } });
  const table = await openTable([A_INT, renamed]);
  const mixed = (from: number): Written[] =>
    Array.from({ length: 30 }, (_, at) => {
      const key = at + 1;
      return at % 2 === 0
        ? change(2, from + at, [key, { b: { long: BigInt(from) }, c: null }])
        : change(1, from + at - 1, [key, { a: int(from) }]);
    });
  await table.commit(mixed(20));
  assert.equal(dataFiles(await read(table)), 1);
  await table.commit(mixed(60));
  const found = await read(table);
  // One of rows that stand, and one of rows that ended.
  assert.equal(dataFiles(found), 2);
  assert.equal(found.state.metadata.schemas.length, 1);
  assert.equal(columnNames(found), 'id int, b long, c string');
  assert.equal(found.rows.length, 60);
});

test('an older snapshot has the columns of its time, and its files are read by the newest', async () => {
  const widened = schema({ w: { type: TYPE.long, id: 2 }, more: { type: TYPE.text, id: 5 } });
  const dropped = schema({ more: { type: TYPE.text, id: 6 } });
  const table = await openTable([A_INT, widened, dropped]);
  await table.commit([change(1, 1, [1, { a: int(1) }])]);
  await table.commit([change(2, 20, [2, { w: { long: 2n ** 40n }, more: text('x') }])]);
  await table.commit([change(3, 30, [3, { more: null }])]);
  const found = await read(table);
  const { state, io } = found;
  const then = await Promise.all(
    state.metadata.snapshots.map((one) => stateAt(io.store, state, BigInt(one['snapshot-id']))),
  );
  assert.deepEqual(then.map(columnNames), [
    'id int, a int',
    'id int, w long, more string',
    'id int, w long, more__2 string, more string',
  ]);
  assert.deepEqual(rowTexts(found, ['id', 'w', 'more__2', 'more']), [
    '1 1 null null',
    `2 ${2n ** 40n} x null`,
    '3 null null null',
  ]);
});

test('a value that could not be had stays so over a rename and makes no version', async () => {
  const renamed = schema({ b: { type: TYPE.int, id: 2 }, c: { type: TYPE.int } });
  const gone = schema({ c: { type: TYPE.int, id: 3 } });
  const table = await openTable([schema({ a: { type: TYPE.int }, c: { type: TYPE.int } }), renamed, gone]);
  const unsent = (written: Written, name: string): Written => ({
    ...written,
    event: { ...written.event, headers: { 'varve.unchanged': JSON.stringify([name]) } },
  });
  await table.commit([unsent(change(1, 1, [1, { a: null, c: int(1) }]), 'a')]);
  await table.commit([unsent(change(2, 20, [1, { b: null, c: int(1) }]), 'b')]);
  await table.commit([unsent(change(2, 21, [1, { b: null, c: int(2) }]), 'b')]);
  // What is not known of a column that is gone is no difference.
  await table.commit([change(3, 30, [1, { c: int(2) }])]);
  assert.deepEqual(rowTexts(await read(table), ['b', 'c', '_incomplete']), ['null 1 ["a"]', 'null 2 ["b"]']);
});

test('a key that is renamed and widened is the same key, in buckets and by either schema', async () => {
  const wide = { ...schema({ a: { type: TYPE.int, id: 2 } }, { id: { ...id, type: TYPE.int } }) };
  const columns = columnsOf({ number: { type: TYPE.long, optional: false }, a: { type: TYPE.int } });
  const table = await openTable([wide, { ...wide, columns }], {
    files: {
      targetFileBytes: 1 << 20,
      compression: 'zstd',
      bucketBy: 'id',
      buckets: 4,
      partitionBy: ['a'],
      owner: null,
      tags: {},
    },
  });
  const keys = [1, 2, 3, 4, 5];
  await table.commit(keys.map((key) => change(1, key, [key, { a: int(key) }])));
  const second = (at: number, key: number): Written => ({
    n: 2,
    event: {
      ...change(2, at, [key, {}]).event,
      key: { number: BigInt(key) },
      row: { number: BigInt(key), a: int(key * 10) },
    },
  });
  await table.commit([...keys.map((key) => second(20 + key, key)), change(1, 6, [1, { a: int(7) }])]);
  await table.upkeep();
  const found = await read(table);
  assert.equal(columnNames(found), 'number long, a int');
  assert.equal(found.rows.filter((row) => row.is_current === 'true').length, 5);
  assert.deepEqual(rowTexts(found, ['number', 'a']).slice(5, 7), ['1 7', '1 10']);
});

test('a column of the partitioning widens, and a new one takes no partition for its own', async () => {
  const more = schema({
    area: { type: TYPE.long, id: 2 },
    id_bucket_2: { type: TYPE.int },
  });
  const table = await openTable([schema({ area: { type: TYPE.int } }), more], {
    files: {
      targetFileBytes: 1 << 20,
      compression: 'zstd',
      bucketBy: 'auto',
      buckets: 2,
      partitionBy: ['area'],
      owner: null,
      tags: {},
    },
  });
  await table.commit([1, 2, 3].map((key) => change(1, key, [key, { area: int(5) }])));
  const wide = (key: number): object => ({
    area: { long: key === 3 ? 2n ** 40n : 5n },
    id_bucket_2: int(key),
  });
  await table.commit([1, 2, 3].map((key) => change(2, 20 + key, [key, wide(key)])));
  await table.upkeep();
  const found = await read(table);
  assert.equal(columnNames(found), 'id int, area long, id_bucket_2__2 int');
  assert.deepEqual(rowTexts(found, ['id', 'area', 'id_bucket_2__2', 'is_current']), [
    '1 5 null false',
    '2 5 null false',
    '3 5 null false',
    '1 5 1 true',
    '2 5 2 true',
    `3 ${2n ** 40n} 3 true`,
  ]);
});

for (const rules of [
  { mode: 'latest' },
  { mode: 'append' },
  { mode: 'scd2', write: 'copy_on_write' },
] as const satisfies readonly Rules[])
  test(`columns change in ${Object.values(rules).join(', ')}`, async () => {
    const renamed = schema({ b: { type: TYPE.text, id: 2 }, c: { type: TYPE.int, id: 7 } });
    const table = await openTable([A_INT, renamed], rules);
    await table.commit([change(1, 1, [1, { a: int(1) }]), change(1, 2, [2, { a: int(2) }])]);
    await table.commit([change(2, 20, [1, { b: text('x'), c: int(1) }]), change(1, 3, [2, { a: int(3) }])]);
    await table.upkeep();
    const found = await read(table);
    assert.equal(columnNames(found), 'id int, b int, b__2 string, c int');
    const all = ['1 1 null null', '2 2 null null', '2 3 null null', '1 null x 1'];
    assert.deepEqual(rowTexts(found, ['id', 'b', 'b__2', 'c']), rules.mode === 'latest' ? all.slice(2) : all);
  });

test('a snapshot after changes closes what is gone and reopens nothing that is the same', async () => {
  const other = schema({ a: { type: TYPE.long, id: 2 }, n: { type: TYPE.int, id: 8 } });
  const table = await openTable([A_INT, other]);
  await table.commit([1, 2, 3].map((key) => change(1, key, [key, { a: int(key) }])));
  const seen = (key: number, n: number | null): Written => {
    const { n: schemaOf, event } = change(2, 30, [
      key,
      { a: { long: BigInt(key) }, n: n === null ? null : int(n) },
    ]);
    const order = `${orderAt(30).slice(0, 34)}0.${key.toString(16).padStart(12, '0')}`;
    return { n: schemaOf, event: { ...event, op: 'r', order } };
  };
  const order = `${orderAt(30).slice(0, 34)}0.000000000000`;
  const record = {
    table: ['public', 't'] as const,
    epoch: 1,
    order,
    ts: '30000000',
    rows: 2,
    estimatedRows: 2,
  };
  await table.commit([seen(1, null), seen(2, 5)], { ...record, done: true, sweep: true });
  assert.deepEqual(rowTexts(await read(table), ['id', 'a', 'n', '_closed_by']), [
    '1 1 null null',
    '2 2 null u',
    '3 3 null s',
    '2 2 5 null',
  ]);
});
