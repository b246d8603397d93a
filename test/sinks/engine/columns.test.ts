// Which type a source column has in the table, and how its values get there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ConnectType } from '../../../src/change/schema.ts';
import { compileConvert, TYPE_RULES, tableType } from '../../../src/sinks/parquet/columns.ts';
import { readKeyJson } from '../../../src/sinks/parquet/columns-key.ts';
import { parseInstant } from '../../../src/sinks/parquet/columns-time.ts';
import { bigIntOf, convertText, UNHELD } from '../../../src/sinks/parquet/columns-value.ts';
import type { AvroValue } from '../../../src/topic/avro-read.ts';

const convert = (type: ConnectType, value: AvroValue) => compileConvert(type, tableType(type))(value);
const named = (type: ConnectType['type'], name: string): ConnectType => ({ type, name });
const decimal = (precision: number, scale: number): ConnectType => ({
  type: 'bytes',
  name: 'org.apache.kafka.connect.data.Decimal',
  parameters: { scale: `${scale}`, 'connect.decimal.precision': `${precision}` },
});

describe('types', () => {
  it('are the ones that the documentation lists', () => {
    const text = readFileSync(new URL('../../../docs/table-types.md', import.meta.url), 'utf8');
    const listed = text.split('\n').filter((line) => line.startsWith('| `'));
    const cells = listed.map((line) => line.split('|').map((cell) => cell.trim()));
    assert.deepEqual(
      cells.map((row) => row.slice(1, 4)),
      TYPE_RULES.map(({ connect, table, unheld }) => [`\`${connect}\``, table, unheld]),
    );
  });

  it('keep decimals exact or turn to text', () => {
    assert.equal(tableType(decimal(38, 10)), 'decimal(38, 10)');
    assert.equal(tableType(decimal(39, 10)), 'string');
    assert.equal(tableType(named('bytes', 'org.apache.kafka.connect.data.Decimal')), 'string');
    assert.equal(convert(decimal(4, 2), Uint8Array.of(0xff, 0x85)), -123n);
    assert.equal(convert(decimal(2, 1), Uint8Array.of(100)), UNHELD);
    assert.equal(convert(decimal(50, 3), Uint8Array.of(0xff)), '-0.001');
    const variable: ConnectType = named('struct', 'io.debezium.data.VariableScaleDecimal');
    assert.equal(convert(variable, [2, Uint8Array.of(1, 0)]), '2.56');
    assert.equal(convert(variable, [-2, Uint8Array.of(5)]), '500');
  });

  it('say what they cannot hold', () => {
    const zoned = named('string', 'io.debezium.time.ZonedTimestamp');
    assert.equal(convert(zoned, '2024-02-29T12:34:56.000001Z'), 1_709_210_096_000_001n);
    assert.equal(convert(zoned, 'infinity'), UNHELD);
    assert.equal(convert(named('int64', 'io.debezium.time.MicroTime'), 86_400_000_000n), UNHELD);
    assert.equal(convert(named('int64', 'io.debezium.time.MicroTimestamp'), 2n ** 63n - 1n), UNHELD);
    assert.equal(convert(named('int64', 'io.debezium.time.NanoTimestamp'), 1001n), UNHELD);
    assert.equal(convert(named('int64', 'io.debezium.time.NanoTimestamp'), 5000n), 5n);
    assert.equal(convert(named('string', 'io.debezium.data.Uuid'), 'x'), UNHELD);
    assert.equal(convertText('double', 'NaN'), Number.NaN);
    assert.equal(convertText('string', 'NaN'), 'NaN');
    assert.equal(convertText('timestamptz', 'infinity'), UNHELD);
    assert.equal(
      convertText({ type: 'list', 'element-id': 1, element: 'int', 'element-required': false }, '{{1}}'),
      UNHELD,
    );
  });

  it('make lists of arrays and text of what is deeper', () => {
    const items = { type: 'int32', optional: true } as const;
    const list: ConnectType = { type: 'array', items };
    assert.deepEqual(convert(list, [1, null]), [1, null]);
    const nested: ConnectType = { type: 'array', items: { ...list, optional: true } };
    assert.deepEqual(convert(nested, [[1, null], null]), ['[1,null]', null]);
    const point: ConnectType = {
      type: 'struct',
      name: 'io.debezium.data.geometry.Point',
      fields: [
        { field: 'x', type: { type: 'float64' }, optional: false },
        { field: 'wkb', type: { type: 'bytes' }, optional: true },
      ],
    };
    assert.equal(convert(point, [1.5, Uint8Array.of(1, 255)]), '{"x":1.5,"wkb":"Af8="}');
    const map: ConnectType = { type: 'map', items: { type: 'string', optional: true } };
    assert.equal(convert(map, { a: 'x', b: null }), '{"a":"x","b":null}');
  });

  it('read integers of any length', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 130n), max: 2n ** 130n }), (value) => {
        const bytes = Uint8Array.from({ length: 18 }, (_, at) =>
          Number((value >> BigInt(8 * (17 - at))) & 0xffn),
        );
        assert.equal(bigIntOf(bytes), value);
      }),
    );
  });

  it('read every instant that a date can print', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), fc.nat(999), (date, micros) => {
        const iso = date
          .toISOString()
          .replace(/^([+-])0+(?=[0-9]{4})/, (_, sign) => (sign === '-' ? '-' : '+'));
        const text = iso.replace('Z', `${`${micros}`.padStart(3, '0')}Z`);
        assert.equal(parseInstant(text), BigInt(date.getTime()) * 1000n + BigInt(micros), text);
      }),
    );
    for (const text of [
      '',
      'infinity',
      '2024-01-01',
      '2024-13-01T00:00:00Z',
      '2024-01-01T00:00:00',
      '2024-01-01T00:00:00.1234567Z',
    ])
      assert.equal(parseInstant(text), null, text);
  });

  it('read keys back from their JSON', () => {
    const type = { type: 'int64' } as const;
    const column = { field: 'id', type, convert: compileConvert(type, 'long') };
    assert.deepEqual(readKeyJson('{"id":9007199254740993}', [column]), [9007199254740993n]);
    assert.equal(readKeyJson('{"id":null}', [column]), null);
    assert.equal(readKeyJson('{"id":1.5}', [column]), null);
    assert.equal(readKeyJson('nonsense', [column]), null);
    const money = {
      field: 'm',
      type: decimal(6, 2),
      convert: compileConvert(decimal(6, 2), 'decimal(6, 2)'),
    };
    assert.deepEqual(readKeyJson('{"m":-12.5}', [money]), [-1250n]);
  });
});
