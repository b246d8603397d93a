// Bounds hold their values: lower <= every value <= upper in the order in which readers compare that type.
// The values are also put through the engine that prints them, because its text is what the bounds are made
// of.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import {
  binaryBound,
  columnBounds,
  stringBound,
  unscaledBytes,
} from '../../src/sinks/parquet/iceberg/single-value.ts';
import type { IcebergPrimitive } from '../../src/sinks/parquet/iceberg-type.ts';

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

const unscaled = (bytes: Uint8Array): bigint =>
  BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));

/** Java's order of floats: -0 below 0. */
const beforeOrSame = (a: number, b: number): boolean =>
  a < b || Object.is(a, b) || (a === b && Object.is(a, -0));

/** lower <= value <= upper, as a reader decodes and compares. */
const holds = (
  type: IcebergPrimitive,
  { lower, upper }: { lower: Uint8Array; upper: Uint8Array },
  value: unknown,
): boolean => {
  switch (type) {
    case 'boolean':
      return Number(lower[0]) <= Number(value) && Number(value) <= Number(upper[0]);
    case 'int':
    case 'date':
      return view(lower).getInt32(0, true) <= Number(value) && Number(value) <= view(upper).getInt32(0, true);
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return (
        view(lower).getBigInt64(0, true) <= (value as bigint) &&
        (value as bigint) <= view(upper).getBigInt64(0, true)
      );
    case 'float':
      return (
        beforeOrSame(view(lower).getFloat32(0, true), value as number) &&
        beforeOrSame(value as number, view(upper).getFloat32(0, true))
      );
    case 'double':
      return (
        beforeOrSame(view(lower).getFloat64(0, true), value as number) &&
        beforeOrSame(value as number, view(upper).getFloat64(0, true))
      );
    case 'string':
    case 'binary': {
      const bytes = Buffer.from(value as string);
      return Buffer.compare(lower, bytes) <= 0 && Buffer.compare(bytes, upper) <= 0;
    }
    default:
      return unscaled(lower) <= (value as bigint) && (value as bigint) <= unscaled(upper);
  }
};

const day = 86_400_000_000n;
/** SQL of a value whose meaning is known. */
type Sample = { sql: string; value: unknown };
const integers = (type: string, min: bigint, max: bigint) =>
  fc.bigInt({ min, max }).map((value): Sample => ({ sql: `(${value})::${type}`, value }));
const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const floats = (type: string, values: fc.Arbitrary<number>) =>
  values.map((value): Sample => {
    const text = Object.is(value, -0) ? '-0' : String(value);
    return { sql: `'${text}'::${type}`, value };
  });
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: fc.constantFrom('\u{10ffff}', '\ud7ff', 'я', 'a', '\ue000'), maxLength: 40 }),
  fc.string({ unit: 'grapheme', minLength: 200, maxLength: 400 }),
);

const SAMPLES: Record<string, { type: IcebergPrimitive; values: fc.Arbitrary<Sample> }> = {
  boolean: { type: 'boolean', values: fc.boolean().map((value) => ({ sql: String(value), value })) },
  int: { type: 'int', values: integers('INTEGER', -(2n ** 31n), 2n ** 31n - 1n) },
  long: { type: 'long', values: integers('BIGINT', -(2n ** 63n), 2n ** 63n - 1n) },
  date: {
    type: 'date',
    values: fc
      .integer({ min: -2_000_000, max: 4_000_000 })
      .map((value) => ({ sql: `('1970-01-01'::DATE + (${value}))`, value })),
  },
  time: {
    type: 'time',
    values: fc
      .bigInt({ min: 0n, max: day - 1n })
      .map((value) => ({ sql: `('00:00:00'::TIME + to_microseconds(${value}))`, value })),
  },
  timestamp: {
    type: 'timestamp',
    values: fc
      .bigInt({ min: -2_000_000n * day, max: 4_000_000n * day })
      .map((value) => ({ sql: `make_timestamp(${value})`, value })),
  },
  timestamptz: {
    type: 'timestamptz',
    values: fc
      .bigInt({ min: -2_000_000n * day, max: 4_000_000n * day })
      .map((value) => ({ sql: `(make_timestamp(${value}) AT TIME ZONE 'UTC')`, value })),
  },
  float: { type: 'float', values: floats('FLOAT', fc.float({ noNaN: true })) },
  double: { type: 'double', values: floats('DOUBLE', fc.double({ noNaN: true })) },
  string: {
    type: 'string',
    values: texts.map((value) => ({
      sql: quote(value.replaceAll('\0', '')),
      value: value.replaceAll('\0', ''),
    })),
  },
  binary: {
    type: 'binary',
    values: fc
      .uint8Array({ maxLength: 40 })
      .map((value) => ({ sql: `unhex('${Buffer.from(value).toString('hex')}')`, value })),
  },
  'decimal(9, 2)': {
    type: 'decimal(9, 2)',
    values: fc.bigInt({ min: -(10n ** 9n) + 1n, max: 10n ** 9n - 1n }).map(decimal(9, 2)),
  },
  'decimal(38, 10)': {
    type: 'decimal(38, 10)',
    values: fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }).map(decimal(38, 10)),
  },
};

function decimal(precision: number, scale: number): (value: bigint) => Sample {
  return (value) => {
    const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
    const text = `${value < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
    return { sql: `'${text}'::DECIMAL(${precision}, ${scale})`, value };
  };
}

type Printed = { min: string | null; max: string | null; hasNan: boolean };

test("bounds from the engine's own statistics hold every value, for every type", async () => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-bounds-'));
  const engine = await DuckDBInstance.create(':memory:');
  const connection = await engine.connect();
  await connection.run("SET TimeZone = 'UTC'");
  const printed = async (values: readonly string[]): Promise<Printed> => {
    const rows = values.map((sql) => `SELECT ${sql} AS c`).join(' UNION ALL ');
    const reader = await connection.runAndReadAll(
      `COPY (${rows}) TO '${directory}/x.parquet' (FORMAT parquet, RETURN_STATS)`,
    );
    const columns = reader.getRowsJson()[0]?.[4] as unknown;
    const [column] = columns as { key: string; value: { key: string; value: string }[] }[];
    const stats = new Map(column?.value.map(({ key, value }) => [key, value]));
    return {
      min: stats.get('min') ?? null,
      max: stats.get('max') ?? null,
      hasNan: stats.get('has_nan') === 'true',
    };
  };
  try {
    for (const [name, { type, values }] of Object.entries(SAMPLES)) {
      let bounded = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 8 }), async (samples) => {
          const bounds = columnBounds(type, await printed(samples.map(({ sql }) => sql)));
          if (bounds === null) return;
          bounded++;
          for (const { value, sql } of samples)
            assert.ok(holds(type, bounds, value), `${name}: ${sql} is outside`);
        }),
        { numRuns: 60 },
      );
      // A law that is never put to work proves nothing.
      assert.ok(bounded > 20, `${name} had bounds only ${bounded} times`);
    }
  } finally {
    connection.closeSync();
    engine.closeSync();
    await rm(directory, { recursive: true });
  }
});

test('a cut string bound holds the string, has at most 16 code points, and is valid UTF-8', () => {
  fc.assert(
    fc.property(texts, (text) => {
      const [lower, upper] = [stringBound(text, 'lower'), stringBound(text, 'upper')];
      assert.ok(lower);
      const bytes = Buffer.from(text);
      assert.ok(Buffer.compare(lower, bytes) <= 0);
      assert.ok(Array.from(Buffer.from(lower).toString()).length <= 16);
      if (upper === null) return assert.ok(text.startsWith('\u{10ffff}'));
      assert.ok(Buffer.compare(bytes, upper) <= 0);
      assert.ok(Buffer.from(Buffer.from(upper).toString()).equals(Buffer.from(upper)), 'no UTF-8');
    }),
  );
  const long = 'абвгдежзийклмнопрст';
  assert.equal(Buffer.from(stringBound(long, 'upper') ?? '').toString(), 'абвгдежзийклмнор');
  assert.equal(
    Buffer.from(stringBound(`${'\ud7ff'.repeat(16)}x`, 'upper') ?? '').toString(),
    `${'\ud7ff'.repeat(15)}\ue000`,
  );
  assert.equal(stringBound('\u{10ffff}'.repeat(17), 'upper'), null);
});

test('a cut binary bound holds the bytes and has at most 16', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const [lower, upper] = [binaryBound(bytes, 'lower'), binaryBound(bytes, 'upper')];
      assert.ok(lower && lower.length <= 16 && Buffer.compare(lower, bytes) <= 0);
      assert.ok(upper === null || (upper.length <= 16 && Buffer.compare(bytes, upper) <= 0));
    }),
  );
  assert.equal(binaryBound(new Uint8Array(17).fill(0xff), 'upper'), null);
});

test("an unscaled number is the shortest two's complement that reads back", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }), (value) => {
      const bytes = unscaledBytes(value);
      assert.equal(unscaled(bytes), value);
      if (bytes.length > 1) assert.notEqual(unscaled(bytes.slice(1)), value, 'one byte too many');
    }),
  );
  for (const [value, hex] of [
    [0n, '00'],
    [-1n, 'ff'],
    [127n, '7f'],
    [128n, '0080'],
    [-128n, '80'],
    [-129n, 'ff7f'],
  ] as const)
    assert.equal(Buffer.from(unscaledBytes(value)).toString('hex'), hex);
});

type Doubtful = [min: string | null, max: string | null, hasNan?: boolean];

test('what is in doubt has no bound', () => {
  const none = (type: IcebergPrimitive, ...[min, max, hasNan = false]: Doubtful): void =>
    assert.equal(columnBounds(type, { min, max, hasNan }), null, `${type} ${min} ${max}`);
  none('int', null, null);
  none('double', '1', '2', true);
  none('double', 'nan', '2');
  none('int', '1', '2147483648');
  none('long', '1', '9223372036854775808');
  none('date', '2024-01-01', 'infinity');
  none('date', '2024-02-30', '2024-03-01');
  none('timestamp', '2024-01-01 00:00:00', 'infinity');
  none('timestamp', '2024-01-01 00:00:00+00', '2024-01-01 00:00:00+00');
  none('timestamptz', '2024-01-01 00:00:00+02', '2024-01-01 00:00:00+02');
  none('decimal(9, 2)', '1.234', '2.00');
  none('binary', 'zz', 'zz');
  none('uuid', '00000000-0000-0000-0000-000000000000', 'f0000000-0000-0000-0000-000000000000');
  assert.equal(
    columnBounds(
      { type: 'list', 'element-id': 9, element: 'int', 'element-required': false },
      { min: '1', max: '2', hasNan: false },
    ),
    null,
  );
});
