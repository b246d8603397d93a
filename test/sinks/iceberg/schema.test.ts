// How columns and partitioning may change: ids never change and never return, and old files stay readable.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VarveError } from '../../../src/errors.ts';
import {
  type Columns,
  canPromote,
  evolveColumns,
  evolveSpec,
  sameColumns,
  type WantedField,
} from '../../../src/sinks/parquet/iceberg/schema.ts';
import type { IcebergList, IcebergPrimitive } from '../../../src/sinks/parquet/iceberg-type.ts';

const column = (
  id: number | null,
  name: string,
  ...[type = 'string', required = false]: [type?: WantedField['type'], required?: boolean]
): WantedField => ({
  id,
  name,
  required,
  type,
});
const list = (element: IcebergPrimitive, id = 0): IcebergList => ({
  type: 'list',
  'element-id': id,
  element,
  'element-required': false,
});
const none: Columns = { fields: [], lastColumnId: 0 };
const base = evolveColumns(none, [
  column(null, 'id', 'int', true),
  column(null, 'tags', list('int')),
  column(null, 'x', 'float'),
]);
const refused = (wanted: readonly WantedField[]): void =>
  assert.throws(
    () => evolveColumns(base, wanted),
    (thrown) => thrown instanceof VarveError && thrown.kind === 'schema_incompatible',
  );

test('new columns and the elements of new lists get the next ids', () => {
  assert.deepEqual(
    base.fields.map(({ id, type }) => [id, typeof type === 'string' ? null : type['element-id']]),
    [
      [1, null],
      [2, 3],
      [4, null],
    ],
  );
  assert.equal(base.lastColumnId, 4);
});

test('an id given out is itself when it comes back: files are written before the commit', () => {
  const once = evolveColumns(base, [
    ...base.fields,
    column(null, 'more', list('string')),
    column(null, 'y', 'date'),
  ]);
  assert.deepEqual(evolveColumns(base, once.fields), once);
  assert.deepEqual(evolveColumns(once, once.fields), once);
  assert.ok(sameColumns(evolveColumns(once, once.fields).fields, once.fields));
});

test('a rename and another order keep the id; a column that is gone never gives its id away', () => {
  const renamed = evolveColumns(base, [column(4, 'z', 'float'), column(1, 'key', 'int', true)]);
  assert.deepEqual(
    renamed.fields.map(({ id, name }) => [id, name]),
    [
      [4, 'z'],
      [1, 'key'],
    ],
  );
  assert.equal(renamed.lastColumnId, 4);
  const again = evolveColumns(renamed, [...renamed.fields, column(null, 'tags', list('int'))]);
  assert.deepEqual(again.fields.at(-1), { ...column(5, 'tags', list('int', 6)) });
  assert.throws(
    () => evolveColumns(renamed, [...renamed.fields, column(2, 'tags', list('int', 3))]),
    VarveError,
  );
});

test('types widen, and only as old files can be read', () => {
  const yes: [IcebergPrimitive, IcebergPrimitive][] = [
    ['int', 'long'],
    ['float', 'double'],
    ['decimal(9, 2)', 'decimal(18, 2)'],
    ['string', 'string'],
  ];
  const no: [IcebergPrimitive, IcebergPrimitive][] = [
    ['long', 'int'],
    ['double', 'float'],
    ['decimal(9, 2)', 'decimal(9, 3)'],
    ['decimal(9, 2)', 'decimal(8, 2)'],
    ['decimal(9, 2)', 'decimal(39, 2)'],
    ['int', 'double'],
    ['int', 'decimal(10, 0)'],
    ['int', 'string'],
    ['date', 'timestamp'],
    ['timestamp', 'timestamptz'],
    ['string', 'binary'],
    ['uuid', 'string'],
  ];
  for (const [from, to] of yes) assert.ok(canPromote(from, to), `${from} -> ${to}`);
  for (const [from, to] of no) assert.ok(!canPromote(from, to), `${from} -> ${to}`);
  assert.ok(canPromote(list('int'), list('long')));
  assert.ok(!canPromote(list('long'), list('int')));
  assert.ok(!canPromote(list('int'), 'int'));
  assert.deepEqual(evolveColumns(base, [column(2, 'tags', list('long'))]).fields[0]?.type, list('long', 3));
});

test('what would break old rows is refused', () => {
  refused([column(4, 'x', 'int')]);
  refused([column(4, 'x', 'float', true)]);
  refused([...base.fields, column(null, 'new', 'int', true)]);
  refused([...base.fields, column(null, 'x', 'int')]);
  refused([column(4, 'x', 'float'), column(4, 'y', 'float')]);
  refused([column(3, 'element', 'int')]);
});

test('whatever happens to a schema, one id always meant one column of one type family', () => {
  const types: IcebergPrimitive[] = ['int', 'long', 'string', 'float', 'double'];
  const change = fc.record({
    keep: fc.array(fc.boolean(), { maxLength: 6 }),
    add: fc.array(fc.constantFrom(...types), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
      let columns = evolveColumns(none, [column(null, 'c', 'int')]);
      const meaning = new Map<number, string>();
      let names = 0;
      for (const { keep, add } of changes) {
        const kept = columns.fields.filter((_, at) => keep[at] !== false);
        const before = columns.lastColumnId;
        columns = evolveColumns(columns, [...kept, ...add.map((type) => column(null, `c${++names}`, type))]);
        assert.ok(columns.lastColumnId >= before);
        for (const { id, name } of columns.fields) {
          assert.ok(id <= columns.lastColumnId);
          assert.equal(meaning.get(id) ?? name, name);
          meaning.set(id, name);
        }
      }
    }),
  );
});

test('partition fields keep their ids, names never collide with columns or other bucket counts', () => {
  const columns = evolveColumns(none, [
    column(null, 'id', 'int'),
    column(null, 'id_bucket_4', 'int'),
    column(null, 'is_current', 'boolean'),
  ]).fields;
  const one = evolveSpec(
    { specs: [], lastPartitionId: 999 },
    [
      { sourceId: 3, transform: 'identity' },
      { sourceId: 1, transform: 'bucket[4]' },
    ],
    columns,
  );
  assert.deepEqual(one.spec, {
    specId: 0,
    fields: [
      { fieldId: 1000, sourceId: 3, name: 'is_current', transform: 'identity' },
      { fieldId: 1001, sourceId: 1, name: 'id_bucket_4_', transform: 'bucket[4]' },
    ],
  });
  const two = evolveSpec(
    { specs: [one.spec], lastPartitionId: one.lastPartitionId },
    [
      { sourceId: 3, transform: 'identity' },
      { sourceId: 1, transform: 'bucket[8]' },
    ],
    columns,
  );
  assert.deepEqual(
    [two.spec.specId, two.spec.fields.map(({ fieldId }) => fieldId), two.lastPartitionId],
    [1, [1000, 1002], 1002],
  );
  const back = evolveSpec(
    { specs: [one.spec, two.spec], lastPartitionId: 1002 },
    [
      { sourceId: 3, transform: 'identity' },
      { sourceId: 1, transform: 'bucket[4]' },
    ],
    columns,
  );
  assert.equal(back.spec, one.spec);
  assert.throws(
    () => evolveSpec({ specs: [], lastPartitionId: 999 }, [{ sourceId: 9, transform: 'identity' }], columns),
    VarveError,
  );
});
