// Whatever a file's bounds, its partition and its manifest say, no file that holds a row that is looked for
// is left out; and where they tell the files apart, the others are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decimalText } from '../../src/sinks/parquet/columns-value.ts';
import { bucketOf } from '../../src/sinks/parquet/iceberg/bucket.ts';
import { commit, createTable } from '../../src/sinks/parquet/iceberg/commit.ts';
import { findFiles, type Wish } from '../../src/sinks/parquet/iceberg/prune.ts';
import { columnBounds } from '../../src/sinks/parquet/iceberg/single-value.ts';
import type { DataFile, IcebergField, IcebergPrimitive } from '../../src/sinks/parquet/iceberg-type.ts';
import { dataFile, deletesOf, LOCATION, makeWorld, nextSnapshotId } from '../sinks/iceberg/table-world.ts';

type Value = number | bigint | string | Uint8Array;
type Kind = {
  type: IcebergPrimitive;
  values: fc.Arbitrary<Value>;
  /** As the engine prints it. */
  print: (value: Value) => string;
};

const instantText = (micros: Value): string => {
  const text = new Date(Number((micros as bigint) / 1000n)).toISOString().replace('T', ' ').slice(0, -1);
  return `${text}${String((micros as bigint) % 1000n).padStart(3, '0')}+00`;
};

const KINDS: readonly Kind[] = [
  { type: 'long', values: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), print: String },
  { type: 'long', values: fc.bigInt({ min: -20n, max: 20n }), print: String },
  { type: 'int', values: fc.integer(), print: String },
  {
    type: 'double',
    values: fc.double({ noNaN: true }),
    print: (value) => (Object.is(value, -0) ? '-0.0' : String(value).replace('Infinity', 'inf')),
  },
  {
    type: 'decimal(9, 2)',
    values: fc.bigInt({ min: -999_999_999n, max: 999_999_999n }),
    print: (value) => decimalText(value as bigint, 2),
  },
  { type: 'string', values: fc.string({ unit: 'binary', maxLength: 24 }), print: String },
  {
    type: 'binary',
    values: fc.uint8Array({ maxLength: 24 }),
    print: (value) => Buffer.from(value as Uint8Array).toString('hex'),
  },
  {
    type: 'timestamptz',
    values: fc.bigInt({ min: 0n, max: 10_000_000_000_000_000n }),
    print: instantText,
  },
];

const bytesOf = (value: Value): Uint8Array =>
  value instanceof Uint8Array ? value : Buffer.from(String(value), 'utf8');

const isBelow = (one: Value, other: Value): boolean =>
  typeof one === 'string' || one instanceof Uint8Array
    ? Buffer.compare(bytesOf(one), bytesOf(other)) < 0
    : (one as bigint) < (other as bigint);

const isSame = (one: Value, other: Value): boolean => !isBelow(one, other) && !isBelow(other, one);

const meets = (value: Value | null, wish: Wish): boolean => {
  if (wish.is === 'notNull') return value !== null;
  if (value === null) return wish.is === 'aboveOrNull';
  const wanted = wish.value as Value;
  if (wish.is === 'equal') return isSame(value, wanted);
  if (wish.is === 'atMost') return !isBelow(wanted, value);
  if (wish.is === 'atLeast') return !isBelow(value, wanted);
  return isBelow(wanted, value);
};

const BUCKETS = 4;
const ID = 1;
const CURRENT = 2;

const columnsOf = (type: IcebergPrimitive): IcebergField[] => [
  { id: ID, name: 'id', required: false, type },
  { id: CURRENT, name: 'is_current', required: true, type: 'boolean' },
];

const bucketable = ({ type }: Kind): boolean => type !== 'double';

/** One file of these values, with the statistics that they have. */
const fileOf = (
  kind: Kind,
  values: readonly (Value | null)[],
  partition: DataFile['partition'],
): DataFile => {
  const present = values.filter((value) => value !== null).sort((a, b) => (isBelow(a, b) ? -1 : 1));
  const [min, max] = [present[0], present.at(-1)].map((value) => (value == null ? null : kind.print(value)));
  const bounds = columnBounds(kind.type, { min: min ?? null, max: max ?? null, hasNan: false });
  const nulls = values.length - present.length;
  const stats = { bytes: 1, values: values.length, nulls, ...(bounds ?? {}) };
  return dataFile({ partition, records: values.length, stats: new Map([[ID, stats]]) });
};

const law = (kind: Kind) =>
  fc.record({
    rows: fc.array(fc.record({ value: fc.option(kind.values), current: fc.boolean(), file: fc.nat(3) }), {
      minLength: 1,
      maxLength: 30,
    }),
    wanted: kind.values,
    is: fc.constantFrom('equal', 'atMost', 'atLeast', 'aboveOrNull', 'notNull'),
    current: fc.option(fc.boolean()),
    isOneOfThem: fc.boolean(),
  });

const bucketFor = (kind: Kind, value: Value | null): number | null =>
  bucketOf(kind.type, typeof value === 'number' ? BigInt(value) : (value as never), BUCKETS);

for (const kind of KINDS)
  test(`${kind.type}: no file that holds such a row is left out`, async () => {
    await fc.assert(
      fc.asyncProperty(law(kind), async ({ rows, wanted, is, current, isOneOfThem }) => {
        const world = makeWorld();
        const [id, isCurrent] = columnsOf(kind.type) as [IcebergField, IcebergField];
        const bucket = { sourceId: ID, transform: `bucket[${BUCKETS}]` };
        const identity = { sourceId: CURRENT, transform: 'identity' };
        const partition = bucketable(kind) ? [identity, bucket] : [identity];
        const made = await createTable(world, LOCATION, {
          columns: [id, isCurrent],
          partition,
          sort: [],
          properties: {},
        });
        const groups = Map.groupBy(rows, (row) =>
          JSON.stringify([row.current, bucketable(kind) ? bucketFor(kind, row.value) : 0, row.file]),
        );
        const files = [...groups].map(([name, group]) => {
          const [now, at] = JSON.parse(name) as [boolean, number];
          const values = group.map(({ value }) => value);
          return { group, file: fileOf(kind, values, bucketable(kind) ? [now, at] : [now]) };
        });
        const deletes = files.slice(0, 2).map(({ file }) => deletesOf(file));
        const add = [...files.map(({ file }) => file), ...deletes];
        const snapshot = {
          id: nextSnapshotId(),
          operation: 'overwrite' as const,
          add,
          remove: [],
          summary: {},
        };
        const state = await commit(world, made, { snapshot });
        const value = isOneOfThem ? (rows.find((row) => row.value !== null)?.value ?? wanted) : wanted;
        const wish = { field: id, is, value } as Wish;
        const wishes: Wish[] = [wish];
        if (current !== null) wishes.push({ field: isCurrent, is: 'equal', value: current });
        const found = await findFiles(world.store, { ...state, cache: new Map() }, wishes);
        const kept = new Set(found.data.map(({ path }) => path));
        for (const { file, group } of files) {
          const holds = group.some(
            (row) => meets(row.value, wish) && (current === null || row.current === current),
          );
          assert.ok(!holds || kept.has(file.path), `${is} ${String(value)} of ${file.path}`);
          if (current !== null && file.partition[0] !== current) assert.ok(!kept.has(file.path));
        }
        assert.deepEqual(
          found.deletes.map(({ path }) => path).sort(),
          deletes
            .filter((one) => kept.has(one.referencedDataFile ?? ''))
            .map(({ path }) => path)
            .sort(),
        );
      }),
      { numRuns: 60 },
    );
  });

test('one key of many files: few are left, and manifests of other buckets are not read', async () => {
  const world = makeWorld();
  const [id, isCurrent] = columnsOf('long') as [IcebergField, IcebergField];
  const partition = [
    { sourceId: CURRENT, transform: 'identity' },
    { sourceId: ID, transform: `bucket[${BUCKETS}]` },
  ];
  const kind = KINDS[0] as Kind;
  let state = await createTable(world, LOCATION, {
    columns: [id, isCurrent],
    partition,
    sort: [],
    properties: {},
  });
  // A commit a bucket: each has a manifest of its own.
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const keys = Array.from({ length: 400 }, (_, at) => BigInt(at)).filter(
      (key) => bucketFor(kind, key) === bucket,
    );
    const add = keys.map((key) => fileOf(kind, [key], [true, bucket]));
    const snapshot = { id: nextSnapshotId(), operation: 'append' as const, add, remove: [], summary: {} };
    state = await commit(world, state, { snapshot });
  }
  const found = await findFiles(world.store, { ...state, cache: new Map() }, [
    { field: id, is: 'equal', value: 77n },
  ]);
  assert.deepEqual([found.data.length, found.total.data, found.total.manifests], [1, 400, BUCKETS]);
  assert.equal(found.manifests.length, 1);
  const missing = await findFiles(world.store, state, [{ field: id, is: 'equal', value: 4711n }]);
  assert.deepEqual(missing.data, []);
});

test('a column that was widened is compared with the bounds of its narrow form', async () => {
  const world = makeWorld();
  const [id, isCurrent] = columnsOf('int') as [IcebergField, IcebergField];
  const partition = [{ sourceId: CURRENT, transform: 'identity' }];
  const made = await createTable(world, LOCATION, {
    columns: [id, isCurrent],
    partition,
    sort: [],
    properties: {},
  });
  const ints = KINDS[2] as Kind;
  const add = [fileOf(ints, [1, 5], [true]), fileOf(ints, [-9, -6], [true])];
  const snapshot = { id: nextSnapshotId(), operation: 'append' as const, add, remove: [], summary: {} };
  const state = await commit(world, made, { snapshot });
  const wide = { ...id, type: 'long' as const };
  const found = await findFiles(world.store, state, [{ field: wide, is: 'equal', value: -7n }]);
  assert.deepEqual(
    found.data.map(({ path }) => path),
    [add[1]?.path],
  );
});
