// How a moment and a key are written: exactly, in every form that people have for them, and refused with the
// key's columns and types where they are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readAnyMoment, readMoment } from '../../src/cli/moment.ts';
import { rowJson } from '../../src/cli/row-text.ts';
import type { EngineValue } from '../../src/sinks/parquet/columns-value.ts';
import type { IcebergField, IcebergPrimitive } from '../../src/sinks/parquet/iceberg-type.ts';
import { readInstant, readKeyValues } from '../../src/sinks/parquet/query-text.ts';

test('times: to the microsecond, with and without a zone, and nothing that is none', () => {
  const base = 1_769_860_800_000_000n;
  for (const [text, micros] of [
    ['2026-01-31T12:00:00Z', base],
    ['2026-01-31 12:00', base],
    ['2026-01-31T13:00:00+01:00', base],
    ['2026-01-31T13:30:00.5+0130', base + 500_000n],
    ['2026-01-31T04:00:00.000001-08', base + 1n],
    ['2026-01-31', base - 43_200_000_000n],
    ['-0001-01-01', -62_198_755_200_000_000n],
    ['+012026-01-31', 317_339_337_600_000_000n],
  ] as const)
    assert.equal(readInstant(text), micros, text);
  for (const text of [
    '',
    '2026',
    '2026-13-01',
    '2026-02-29',
    '2026-02-30T00:00:00Z',
    '2026-01-31T24:00',
    '2026-01-31T12:60',
    '2026-01-31T12:00:60Z',
    '2026-01-31T12:00:00.1234567Z',
    '2026-01-31T12:00:00+19',
    'yesterday',
    'infinity',
  ])
    assert.equal(readInstant(text), null, text);
});

test('a moment: a time, an order, a snapshot, now', () => {
  const order = '00000001.000000000000000000000005.1.000000000000';
  assert.deepEqual(readMoment(order, '--at').moment, { kind: 'asOf', at: { order } });
  assert.deepEqual(readMoment('now', '--at').moment, { kind: 'current' });
  assert.equal(readMoment('2026-01-31 12:00', '--at').text, '2026-01-31T12:00:00Z');
  assert.equal(readAnyMoment('4711', '--from').snapshot, 4711n);
  assert.throws(() => readMoment('4711', '--at'), /--at is a time such as .*, or an ORDER, not 4711/);
  assert.throws(() => readAnyMoment('soon', '--from'), { kind: 'usage' });
});

const field = (type: IcebergPrimitive, name = 'k'): IcebergField => ({ id: 1, name, required: true, type });
const read = (text: string, type: IcebergPrimitive): unknown => readKeyValues([text], [field(type)])[0];

test('keys: every type, exactly', () => {
  for (const [type, text, value] of [
    ['boolean', 'TRUE', true],
    ['boolean', 'f', false],
    ['int', '-5', -5],
    ['int', '+5.00', 5],
    ['long', '9223372036854775807', 9_223_372_036_854_775_807n],
    ['decimal(9, 2)', '-12.5', -1250n],
    ['decimal(9, 2)', '12.500', 1250n],
    ['decimal(9, 2)', '.5', 50n],
    ['float', '0.1', Math.fround(0.1)],
    ['double', '1e-3', 0.001],
    ['double', '-inf', Number.NEGATIVE_INFINITY],
    ['double', 'NaN', Number.NaN],
    ['string', '', ''],
    ['string', ' a ', ' a '],
    ['date', '2024-02-29', 19_782],
    ['date', '1969-12-31', -1],
    ['time', '12:34:56.5', 45_296_500_000n],
    ['timestamp', '1970-01-01T00:00:01', 1_000_000n],
    ['timestamptz', '1970-01-01T01:00:01+01', 1_000_000n],
    ['uuid', '{0A0B0C0D-0000-0000-0000-000000000001}', '0a0b0c0d-0000-0000-0000-000000000001'],
    ['binary', '\\x00ff', Uint8Array.of(0, 255)],
  ] as const)
    assert.deepEqual(read(text, type), value, `${type} ${text}`);
});

test('keys: what is rounded, too large or of another type is refused', () => {
  for (const [type, text] of [
    ['boolean', '2'],
    ['int', '1.5'],
    ['int', '2147483648'],
    ['int', '0x10'],
    ['long', '9223372036854775808'],
    ['decimal(9, 2)', '1.234'],
    ['decimal(9, 2)', '12345678.00'],
    ['decimal(9, 2)', '.'],
    ['double', ''],
    ['double', '0x10'],
    ['double', 'one'],
    ['date', '2023-02-29'],
    ['date', '2023-02-28T00:00:00Z'],
    ['time', '24:00:00'],
    ['timestamp', '1970-01-01T00:00:01Z'],
    ['uuid', '0a0b'],
    ['binary', 'xyz'],
  ] as const)
    assert.throws(() => read(text, type), /The key column k is of type .*: .* is none/, `${type} ${text}`);
  const key = [field('int', 'a'), field('string', 'b')];
  assert.throws(
    () => readKeyValues(['1'], key),
    /these columns, to be given in this order: a \(int\), b \(string\)\. 1 value was given/,
  );
  assert.throws(() => readKeyValues(['x', 'y'], key), /column a is of type int: "x" is none.*b \(string\)/);
  assert.throws(() => readKeyValues(['1'], []), /without a key is a list of events/);
});

test('keys: what is printed is read back', () => {
  const kinds: readonly [IcebergPrimitive, fc.Arbitrary<EngineValue>][] = [
    ['int', fc.integer()],
    ['long', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
    ['decimal(20, 3)', fc.bigInt({ min: -(10n ** 20n) + 1n, max: 10n ** 20n - 1n })],
    ['double', fc.double().filter((value) => !Object.is(value, -0))],
    ['date', fc.integer({ min: -700_000, max: 2_900_000 })],
    ['time', fc.bigInt({ min: 0n, max: 86_399_999_999n })],
    ['timestamp', fc.bigInt({ min: -(10n ** 17n), max: 10n ** 18n })],
    ['timestamptz', fc.bigInt({ min: -(10n ** 17n), max: 10n ** 18n })],
    ['binary', fc.uint8Array({ maxLength: 9 })],
    ['uuid', fc.uuid()],
    ['string', fc.string({ unit: 'binary' })],
  ];
  for (const [type, values] of kinds)
    fc.assert(
      fc.property(values, (value) => {
        const { k } = rowJson([value], [field(type)]);
        assert.deepEqual(read(String(k), type), value instanceof Uint8Array ? Uint8Array.from(value) : value);
      }),
    );
});
