// Which columns a table has after each schema of its source, and what they are called.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Column, ConnectType } from '../../../src/change/schema.ts';
import { VarveError } from '../../../src/errors.ts';
import {
  fieldOfColumn,
  layoutColumns,
  presentNames,
  type TableLayout,
} from '../../../src/sinks/parquet/columns-layout.ts';
import type { SchemaRecord } from '../../../src/topic/state.ts';

type ColumnSpec = readonly [id: number, name: string, type: ConnectType];
const column = (id: number, name: string, type: ConnectType): Column => ({
  id,
  name,
  type,
  sourceType: '',
  optional: true,
});
const record = (columns: readonly ColumnSpec[], key: number[] = [0]): SchemaRecord => ({
  table: ['s', 't'],
  n: 1,
  first: '',
  columns: columns.map(([id, name, type], at) => ({
    id,
    name,
    type,
    sourceType: '',
    optional: !key.includes(at),
  })),
  fields: columns.map(([, name]) => name),
  key,
  keyId: 1,
  valueId: 2,
});
const int: ConnectType = { type: 'int32' };
const long: ConnectType = { type: 'int64' };
const text: ConnectType = { type: 'string' };
const userNames = (layout: TableLayout): string[] =>
  layout.fields
    .slice(
      0,
      layout.fields.findIndex(({ name }) => name === 'valid_from'),
    )
    .map(({ id, name }) => `${id} ${name}`);

describe('a layout', () => {
  const first = layoutColumns(
    record([
      [1, 'id', int],
      [2, 'a', int],
      [3, 'is_current', text],
    ]),
    null,
  );

  it('puts the own columns behind and gives way to their names', () => {
    assert.deepEqual(userNames(first), ['1 id', '2 a', '3 is_current__src']);
    assert.deepEqual(
      first.fields.filter(({ required }) => required).map(({ name }) => name),
      ['id', 'valid_from', 'is_current', '_op', '_order', '_commit_ts'],
    );
  });

  it('keeps a renamed column, and gives a new one of an old name a field of its own', () => {
    const renamed = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'b', int],
      ]),
      first,
    );
    assert.deepEqual(userNames(renamed), ['1 id', '2 b', '3 is_current__src']);
    const added = layoutColumns(
      record([
        [1, 'id', int],
        [7, 'b', int],
      ]),
      renamed,
    );
    const id = added.columns.get(7)?.at(-1);
    assert.deepEqual(userNames(added), ['1 id', '2 b__2', '3 is_current__src', `${id} b`]);
    assert.ok((id ?? 0) > first.lastId);
  });

  it('widens where Iceberg can, and starts anew where it cannot', () => {
    const wide = layoutColumns(
      record([
        [1, 'id', long],
        [2, 'a', long],
      ]),
      first,
    );
    assert.deepEqual(
      wide.fields.slice(0, 2).map(({ type }) => type),
      ['long', 'long'],
    );
    const narrow = layoutColumns(
      record([
        [1, 'id', long],
        [2, 'a', int],
      ]),
      wide,
    );
    assert.equal(narrow.fields[1]?.type, 'long');
    const other = layoutColumns(
      record([
        [1, 'id', long],
        [2, 'a', text],
      ]),
      narrow,
    );
    const field = other.fields.find(({ id }) => id === other.columns.get(2)?.at(-1));
    assert.deepEqual([field?.name, field?.type], ['a__2', 'string']);
    assert.ok(userNames(other).includes('2 a'));
    const back = layoutColumns(
      record([
        [1, 'id', long],
        [2, 'a', int],
      ]),
      other,
    );
    assert.deepEqual(userNames(back), userNames(other));
    assert.equal(fieldOfColumn(back, column(2, 'a', int))?.name, 'a');
    assert.equal(fieldOfColumn(back, column(2, 'a', text))?.name, 'a__2');
    const third = layoutColumns(
      record([
        [1, 'id', long],
        [2, 'a', { type: 'boolean' }],
      ]),
      back,
      { onIncompatible: 'new_column' },
    );
    assert.deepEqual(
      userNames(third)
        .at(-1)
        ?.replace(/^[0-9]+/, ''),
      ' a__3',
    );
  });

  it('stops at a type that the column cannot hold, where that is asked for, and at nothing else', () => {
    const then = (type: ConnectType, key: number[] = [0]) =>
      layoutColumns(
        record(
          [
            [1, 'id', int],
            [2, 'a', type],
          ],
          key,
        ),
        first,
        { onIncompatible: 'fail' },
      );
    for (const type of [int, long]) assert.equal(userNames(then(type)).length, 3);
    assert.throws(
      () => then(text),
      (thrown) =>
        thrown instanceof VarveError &&
        thrown.kind === 'schema_incompatible' &&
        /column a of s\.t is string now.*\(a int\).*new_column/.test(thrown.message),
    );
    // Nothing that one could choose makes another key of it.
    const rekeyed = record([[1, 'id', text]]);
    for (const onIncompatible of ['fail', 'new_column'] as const)
      assert.throws(() => layoutColumns(rekeyed, first, { onIncompatible }), { kind: 'key_changed' });
  });

  it('widens and narrows lists by what is in them', () => {
    const list = (items: ConnectType): ConnectType => ({
      type: 'array',
      items: { ...items, optional: true },
    });
    const of = (type: ConnectType, previous: TableLayout | null) =>
      layoutColumns(
        record([
          [1, 'id', int],
          [2, 'a', type],
        ]),
        previous,
      );
    const ints = of(list(int), null);
    const longs = of(list(long), ints);
    const element = (layout: TableLayout) => {
      const type = layout.fields[1]?.type;
      return typeof type === 'object' ? [type.element, type['element-id']] : type;
    };
    assert.deepEqual(
      [element(longs), element(of(list(int), longs))],
      [
        ['long', 3],
        ['long', 3],
      ],
    );
    assert.deepEqual(userNames(of(list(text), longs)).length, 3);
    assert.deepEqual(userNames(of(int, longs)).length, 3);
    // Deeper than the table's lists: text inside, so one column whatever happens down there.
    const deep = of(list(list(int)), null);
    assert.deepEqual(userNames(of(list(list(text)), deep)), userNames(deep));
  });

  it('gives a name up only to a column that the source calls so', () => {
    const columns = (...all: ColumnSpec[]) => record([[1, 'id', int], ...all]);
    const one = layoutColumns(columns([2, 'c', int], [3, 'd', int]), null);
    const dropped = layoutColumns(columns([3, 'd', int]), one);
    assert.deepEqual(userNames(dropped), ['1 id', '2 c', '3 d']);
    // The way of migrations without a pause: fill another column, drop, rename.
    const renamed = layoutColumns(columns([3, 'c', int]), dropped);
    assert.deepEqual(userNames(renamed), ['1 id', '2 c__2', '3 c']);
    const again = layoutColumns(columns([9, 'c', text]), renamed);
    const id = again.columns.get(9)?.at(0);
    assert.deepEqual(userNames(again), ['1 id', '2 c__2', '3 c__3', `${id} c`]);
    const swapped = layoutColumns(columns([2, 'd', int], [3, 'c', int]), one);
    assert.deepEqual(userNames(swapped), ['1 id', '2 d', '3 c']);
    const wild = layoutColumns(columns([2, 'c', text], [7, 'c__2', int]), one);
    assert.deepEqual(
      userNames(wild).map((name) => name.replace(/^[0-9]+ /, '')),
      ['id', 'c', 'd', 'c__3', 'c__2'],
    );
  });

  it('takes no name of a partition, which readers would refuse', () => {
    const partitions = [
      { name: 'at_day', sourceId: 2, transform: 'day' },
      { name: 'area', sourceId: 3, transform: 'identity' },
    ];
    const layout = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'at', text],
        [3, 'area', text],
      ]),
      null,
      { partitions },
    );
    assert.deepEqual(userNames(layout), ['1 id', '2 at', '3 area']);
    const later = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'AT_DAY', text],
        [3, 'region', text],
        [4, 'area', text],
      ]),
      layout,
      { partitions },
    );
    const id = later.columns.get(4)?.at(0);
    assert.deepEqual(userNames(later), ['1 id', '2 AT_DAY__2', '3 region', `${id} area__2`]);
  });

  it('knows what its columns were called before', () => {
    const one = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'a', int],
        [3, 'b', int],
      ]),
      null,
    );
    const two = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'b', int],
        [3, 'c', int],
      ]),
      one,
    );
    assert.deepEqual([...presentNames(two)], [['a', 'b']]);
    const three = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'z', int],
      ]),
      two,
    );
    assert.deepEqual([...presentNames(three)].sort(), [
      ['a', 'z'],
      ['b', 'z'],
    ]);
  });

  it('knows the field of every column that the source had, by its type then', () => {
    const a: Column = { id: 2, name: 'a', type: text, sourceType: '', optional: true };
    const old = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'a', text],
      ]),
      null,
    );
    const changed = layoutColumns(
      record([
        [1, 'id', int],
        [2, 'a', int],
      ]),
      old,
    );
    const dropped = layoutColumns(record([[1, 'id', int]]), changed);
    assert.equal(fieldOfColumn(dropped, a)?.name, fieldOfColumn(changed, a)?.name);
    assert.equal(fieldOfColumn(dropped, a)?.type, 'string');
    assert.equal(fieldOfColumn(dropped, { ...a, type: int })?.type, 'int');
    assert.equal(fieldOfColumn(dropped, { ...a, id: 9 }), null);
  });

  it('refuses another key', () => {
    assert.throws(
      () =>
        layoutColumns(
          record(
            [
              [1, 'id', int],
              [2, 'a', int],
            ],
            [1],
          ),
          first,
        ),
      { kind: 'key_changed' },
    );
  });

  it('keeps names apart that engines would fold', () => {
    assert.deepEqual(
      userNames(
        layoutColumns(
          record([
            [1, 'id', int],
            [2, 'ID', int],
          ]),
          null,
        ),
      ),
      ['1 id', '2 ID__2'],
    );
  });
});
