// Values as people read them: exact numbers, times of any year, bytes, nothing rounded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dateText, printable, printableCell, timestampText, timeText } from '../../src/cli/printable.ts';

const DAY_MS = 86_400_000;

test('dates are those of the calendar, in every year that Date knows', () => {
  const days = fc.integer({ min: -100_000_000, max: 100_000_000 });
  fc.assert(
    fc.property(days, (day) => {
      const iso = new Date(day * DAY_MS).toISOString();
      assert.equal(dateText(BigInt(day)), iso.slice(0, iso.indexOf('T')));
    }),
  );
});

test('dates beyond those', () => {
  // The last day that PostgreSQL holds, and the first.
  assert.equal(dateText(2_145_042_905n), '+5874897-12-31');
  assert.equal(dateText(-2_440_588n), '-004713-11-24');
});

test('times of a day and timestamps to the microsecond', () => {
  const expected: [bigint, string][] = [
    [0n, '00:00:00'],
    [1n, '00:00:00.000001'],
    [86_399_999_999n, '23:59:59.999999'],
    [86_400_000_000n, '24:00:00'],
    [3_600_500_000n, '01:00:00.5'],
  ];
  for (const [micros, text] of expected) assert.equal(timeText(micros), text);
  assert.equal(timestampText(-1n), '1969-12-31T23:59:59.999999');
  assert.equal(timestampText(1_709_210_096_789_012n), '2024-02-29T12:34:56.789012');
});

test('timestamps agree with Date to the millisecond', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true }), (date) => {
      const text = timestampText(BigInt(date.getTime()) * 1000n);
      const [head = '', fraction = ''] = text.split('.');
      assert.equal(`${head}.${fraction.padEnd(3, '0')}Z`, date.toISOString());
    }),
  );
});

test('numbers that a double cannot hold stay text', () => {
  assert.equal(printable(9_007_199_254_740_991n, { type: 'int64' }), 9_007_199_254_740_991);
  assert.equal(printable(9_223_372_036_854_775_807n, { type: 'int64' }), '9223372036854775807');
  const decimal = {
    type: 'bytes',
    name: 'org.apache.kafka.connect.data.Decimal',
    parameters: { scale: '2' },
  } as const;
  assert.equal(printable(Uint8Array.of(0xfb, 0x1e), decimal), '-12.50');
  assert.equal(printableCell(-1250n, 'decimal(8, 2)'), '-12.50');
  assert.equal(printableCell(5n, 'decimal(3, 3)'), '0.005');
});

test('bytes, lists and nothing', () => {
  assert.equal(printable(Uint8Array.of(0xde, 0xad), { type: 'bytes' }), '\\xdead');
  assert.equal(printable(null, { type: 'string' }), null);
  const list = {
    type: 'array',
    items: { type: 'int32', name: 'io.debezium.time.Date', optional: true },
  } as const;
  assert.deepEqual(printable([0, null], list), ['1970-01-01', null]);
  assert.equal(printableCell(null, 'string'), null);
  assert.equal(printableCell(1n, 'timestamptz'), '1970-01-01T00:00:00.000001Z');
});
