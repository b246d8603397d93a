// What the engine's files look like to strangers: field ids, exact types, statistics; and every type there
// and back.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { parquetMetadata } from 'hyparquet';
import { formatOrder } from '../../../src/change/order.ts';
import type { ConnectType, TableSchema } from '../../../src/change/schema.ts';
import type { DataFile } from '../../../src/sinks/parquet/iceberg-type.ts';
import { decimal, TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { columnsOf, EventWriter } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number, ordinal = 1): string => {
  return formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal });
};
const footer = (table: EngineTable, { path }: DataFile) => {
  const bytes = readFileSync(table.local(path));
  return parquetMetadata(new Uint8Array(bytes).buffer).schema;
};
const text = (value: string) => ({ string: value });

describe('files', () => {
  it('carry field ids in every column, reserved ones in deletes, and no widened decimal', async () => {
    const schema: TableSchema = {
      name: ['s', 't'],
      columns: columnsOf({
        id: { type: TYPE.long, optional: false },
        amount: { type: decimal(12, 2) },
        tags: { type: TYPE.texts },
        pad: { type: TYPE.text },
      }),
      key: [0],
    };
    using table = new EngineTable({ engine, writers: [new EventWriter(schema)] });
    const row = (id: number, amount: number) => ({
      id: BigInt(id),
      amount: { bytes: Buffer.from([amount]) },
      tags: { array: [{ string: 'x' }] },
      pad: text('p'),
    });
    const event = (id: number, at: number, amount: number) =>
      ({
        op: 'c',
        order: order(at, id),
        ts: BigInt(at),
        key: { id: BigInt(id) },
        row: row(id, amount),
      }) as const;
    await table.merge([event(1, 1, 5), event(2, 1, 6), event(3, 1, 7)]);
    await table.merge([{ ...event(1, 2, 8), op: 'u' }]);
    const { data, deletes } = table.tableFiles();
    assert.equal(deletes.length, 1);
    for (const file of data) {
      const columns = footer(table, file).slice(1);
      const ids = new Map(columns.map(({ name, field_id }) => [name, field_id]));
      for (const { id, name } of table.layout.fields) assert.equal(ids.get(name), id, name);
      assert.ok(columns.every(({ name, field_id }) => field_id !== undefined || name === 'list'));
      const amount = columns.find(({ name }) => name === 'amount');
      assert.deepEqual([amount?.precision, amount?.scale], [12, 2]);
      assert.equal(columns.find(({ name }) => name === 'is_current')?.type, 'BOOLEAN');
    }
    const [file] = deletes as [DataFile];
    const columns = footer(table, file).slice(1);
    assert.deepEqual(
      columns.map(({ name, field_id, repetition_type }) => [name, field_id, repetition_type]),
      [
        ['file_path', 2147483546, 'REQUIRED'],
        ['pos', 2147483545, 'REQUIRED'],
      ],
    );
    assert.equal(file.records, 1);
    assert.equal(file.bytes, readFileSync(table.local(file.path)).length);
    assert.ok(
      data.some(
        ({ path, partition }) => path === file.referencedDataFile && `${partition}` === `${file.partition}`,
      ),
    );
  });

  it('have counts and bounds that fit their rows', async () => {
    using table = new EngineTable({ engine });
    const events = [3, 1, 2].map(
      (id) =>
        ({
          op: 'c',
          order: order(1, id),
          ts: 1n,
          key: { id: BigInt(id) },
          row: { id: BigInt(id), a: null, b: { int: id } },
        }) as const,
    );
    await table.merge(events);
    const [file] = table.tableFiles().data as [DataFile];
    assert.equal(file.records, 3);
    assert.equal(file.bytes, readFileSync(table.local(file.path)).length);
    const stats = (name: string) =>
      file.stats.get(table.layout.fields.find((field) => field.name === name)?.id ?? 0);
    const long = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).readBigInt64LE();
    assert.deepEqual([long(stats('id')?.lower), long(stats('id')?.upper)], [1n, 3n]);
    assert.deepEqual([stats('a')?.values, stats('a')?.nulls, stats('a')?.lower], [3, 3, undefined]);
    assert.deepEqual(stats('is_current')?.lower, Uint8Array.of(1));
  });
});

const named = (type: ConnectType['type'], name: string): ConnectType => ({ type, name, version: 1 });
const timeType = (type: ConnectType['type'], name: string) => named(type, `io.debezium.time.${name}`);

/** One column a type: its type, an Avro value as avsc wants it, and how the engine prints it. */
const TORTURE: Readonly<Record<string, readonly [type: ConnectType, avro: unknown, printed: unknown]>> = {
  bool: [TYPE.bool, { boolean: false }, false],
  int: [TYPE.int, { int: -2147483648 }, -2147483648],
  long: [TYPE.long, { long: 9223372036854775807n }, '9223372036854775807'],
  float: [{ type: 'float32' }, { float: -0.5 }, -0.5],
  double: [TYPE.double, { double: 1e300 }, 1e300],
  nan: [TYPE.double, { double: Number.NaN }, 'NaN'],
  text: [TYPE.text, text('Привет 𝄞 \u0000 "x"'), 'Привет 𝄞 \u0000 "x"'],
  empty: [TYPE.text, text(''), ''],
  bytes: [TYPE.bytes, { bytes: Buffer.from([0, 255]) }, '\\x00\\xFF'],
  small: [decimal(4, 2), { bytes: Buffer.from([0xd8, 0xf1]) }, '-99.99'],
  nine: [decimal(9, 0), { bytes: Buffer.from([0x3b, 0x9a, 0xc9, 0xff]) }, '999999999'],
  eighteen: [decimal(18, 18), { bytes: Buffer.from([1]) }, '0.000000000000000001'],
  huge: [decimal(38, 0), { bytes: Buffer.from('4b3b4ca85a86c47a098a223fffffffff', 'hex') }, '9'.repeat(38)],
  wide: [decimal(40, 1), { bytes: Buffer.from([11]) }, '1.1'],
  date: [timeType('int32', 'Date'), { int: -1 }, '1969-12-31'],
  time: [timeType('int64', 'MicroTime'), { long: 86_399_999_999n }, '23:59:59.999999'],
  stamp: [timeType('int64', 'MicroTimestamp'), { long: -1n }, '1969-12-31 23:59:59.999999'],
  zoned: [timeType('string', 'ZonedTimestamp'), text('0001-01-01T00:00:00Z'), '0001-01-01 00:00:00+00'],
  uuid: [
    named('string', 'io.debezium.data.Uuid'),
    text('F0000000-0000-4000-8000-00000000000F'),
    'f0000000-0000-4000-8000-00000000000f',
  ],
  json: [TYPE.json, text('{"a":[1]}'), '{"a":[1]}'],
  list: [TYPE.texts, { array: [{ string: 'a' }, null] }, ['a', null]],
  none: [TYPE.texts, { array: [] }, []],
  late: [timeType('int64', 'MicroTime'), { long: 86_400_000_000n }, null],
};

describe('every type', () => {
  const names = Object.keys(TORTURE);
  const schema: TableSchema = {
    name: ['s', 't'],
    columns: columnsOf({
      id: { type: named('string', 'io.debezium.data.Uuid'), optional: false },
      ...Object.fromEntries(names.map((name) => [name, { type: TORTURE[name]?.[0] as ConnectType }])),
    }),
    key: [0],
  };
  const id = '00000000-0000-4000-8000-000000000001';
  const full = Object.fromEntries(names.map((name) => [name, TORTURE[name]?.[1]]));
  const empty = Object.fromEntries(names.map((name) => [name, null]));

  it('comes back as it went in, also when its row is closed, carried on and rewritten', async () => {
    using table = new EngineTable({ engine, buckets: 2, writers: [new EventWriter(schema)] });
    const unchanged = { 'varve.unchanged': JSON.stringify(names) };
    await table.merge([{ op: 'c', order: order(1), ts: 1n, key: { id }, row: { id, ...full } }]);
    const same = { op: 'u', order: order(2), ts: 2n, key: { id }, row: { id, ...full } } as const;
    assert.equal((await table.merge([same])).counts.noops, 1);
    await table.merge([{ op: 'u', order: order(3), ts: 3n, key: { id }, row: { id, ...empty } }]);
    await table.merge([{ op: 'u', order: order(4), ts: 4n, key: { id }, row: { id, ...full } }]);
    const carried = {
      op: 'u',
      order: order(5),
      ts: 5n,
      key: { id },
      row: { id, ...empty },
      headers: unchanged,
    } as const;
    assert.equal((await table.merge([carried])).counts.noops, 1);
    const printed = Object.fromEntries(names.map((name) => [name, TORTURE[name]?.[2]]));
    const rows = await table.rows('_order');
    assert.equal(rows.length, 3);
    for (const at of [0, 2]) {
      const { id: key, ...row } = rows[at] as Record<string, unknown>;
      assert.equal(key, id);
      assert.deepEqual(Object.fromEntries(names.map((name) => [name, row[name]])), printed);
      assert.deepEqual(row._incomplete, ['late']);
    }
    assert.deepEqual(
      names.map((name) => rows[1]?.[name]),
      names.map(() => null),
    );
    assert.equal(rows[1]?._incomplete, null);
  });

  it('takes the source text where the encoding could not hold the value', async () => {
    using table = new EngineTable({ engine, writers: [new EventWriter(schema)] });
    const headers = {
      'varve.text': JSON.stringify({ small: 'NaN', wide: 'NaN', double: '-Infinity', zoned: 'infinity' }),
    };
    await table.merge([
      { op: 'c', order: order(1), ts: 1n, key: { id }, row: { id, ...full, late: null }, headers },
    ]);
    const [row] = await table.rows();
    assert.deepEqual(
      [row?.small, row?.wide, row?.double, row?.zoned, row?._incomplete],
      [null, 'NaN', '-Infinity', null, ['small', 'zoned']],
    );
  });
});
