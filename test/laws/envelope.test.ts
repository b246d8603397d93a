// What the envelope writes, read by an Avro implementation that is not ours; and the rules that no recording
// shows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RowChange } from '../../src/change/event.ts';
import { formatOrder } from '../../src/change/order.ts';
import { EnvelopeWriter } from '../../src/topic/envelope.ts';
import { Change } from '../../src/topic/envelope-change.ts';
import { prepareEnvelope } from '../../src/topic/envelope-names.ts';
import type { PreparedTable, SourceBlock } from '../../src/topic/prepared-table.ts';
import { RecordBatchBuilder, readRecords } from '../../src/topic/record-batch.ts';
import { avroType } from '../support/avsc.ts';
import { decimal, type PlainRow, plainCells, plainTable, TYPE } from '../support/plain-table.ts';

const SOURCE: SourceBlock = {
  type: {
    type: 'struct',
    name: 'test.Source',
    fields: [
      { field: 'table', type: { type: 'string' }, optional: false },
      { field: 'snapshot', type: { type: 'string' }, optional: false },
      { field: 'ts_us', type: { type: 'int64' }, optional: false },
    ],
  },
  write: (out, { table, snapshot, commitTs }) => {
    out.text(table.join('.'));
    out.text(snapshot);
    out.bigLong(commitTs);
  },
};

const NOW_US = 1_795_264_600_123_456n;
const TRANSACTION = { epoch: 3, position: 0xabcn, phase: 1 } as const;

type Row = Record<string, unknown>;
type Value = { before: Row | null; after: Row | null; op: string } & Row;
type Written = { key: Row | null; value: Value | null; headers: Record<string, string>; timestamp: number };
type Event = Partial<Omit<RowChange<unknown>, 'before' | 'after'>> & { before?: PlainRow; after?: PlainRow };

/** avsc's own classes as plain objects. */
const plain = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return value.map(plain);
  const members = Object.entries(value).map(([name, part]) => [name, plain(part)] as const);
  const [first] = members;
  return first?.[0] === 'p.s.t.Value' ? first[1] : Object.fromEntries(members);
};

/** One table's topic, written by ours and read by avsc. */
class Topic {
  readonly out = new RecordBatchBuilder();
  readonly change = new Change();
  readonly #writer: EnvelopeWriter;
  readonly #key: ReturnType<typeof avroType> | null;
  readonly #value: ReturnType<typeof avroType>;

  constructor(table: PreparedTable, options: { tombstones?: boolean } = {}) {
    const envelope = prepareEnvelope({ prefix: 'p', table, source: SOURCE });
    const keyId = envelope.keySchema === null ? null : 1;
    this.#writer = new EnvelopeWriter(envelope, { keyId, valueId: 2 }, options);
    this.#key = envelope.keySchema === null ? null : avroType(JSON.parse(envelope.keySchema));
    this.#value = avroType(JSON.parse(envelope.valueSchema));
    this.change.begin(TRANSACTION, { commitTs: 5n, nowUs: NOW_US, snapshot: 'false' });
  }

  write({ before, after, ...event }: Event): this {
    const images = {
      before: before === undefined ? null : plainCells(before),
      after: after === undefined ? null : plainCells(after),
    };
    const rest = {
      kind: 'row',
      op: 'u',
      table: null,
      ordinal: 0,
      beforeIsKey: false,
      keyChanged: false,
    } as const;
    this.#writer.write([this.out], this.change.setRow({ ...rest, ...event, ...images }));
    return this;
  }

  truncate(ordinal: number): this {
    this.#writer.write([this.out], this.change.setTruncate(ordinal));
    return this;
  }

  read(): Written[] {
    const written: Written[] = [];
    readRecords(this.out.finish(), (view) => {
      const part = (type: ReturnType<typeof avroType> | null, start: number, end: number): unknown =>
        start < 0 ? null : plain(type?.fromBuffer(Buffer.from(view.bytes.subarray(start + 5, end))));
      written.push({
        key: part(this.#key, view.keyStart, view.keyEnd) as Row | null,
        value: part(this.#value, view.valueStart, view.valueEnd) as Value | null,
        headers: Object.fromEntries(
          view.headers().map(([name, value]) => [name, Buffer.from(value ?? []).toString()]),
        ),
        timestamp: view.timestamp,
      });
    });
    return written;
  }

  readOne(): Written {
    const [first, second] = this.read();
    assert.equal(second, undefined, 'one record was expected');
    return first ?? assert.fail();
  }
}

const COLUMNS = {
  id: TYPE.int,
  big: TYPE.long,
  on: TYPE.bool,
  ratio: TYPE.double,
  name: TYPE.text,
  blob: TYPE.bytes,
  tags: TYPE.texts,
} as const;

/** Avro branch and value of a cell's text, as avsc says it. */
const AS_AVRO: Record<keyof typeof COLUMNS, (text: string) => Row> = {
  id: (text) => ({ int: Number(text) }),
  big: (text) => ({ long: BigInt(text) }),
  on: (text) => ({ boolean: text === 't' }),
  ratio: (text) => ({ double: Number(text) }),
  name: (text) => ({ string: text }),
  blob: (text) => ({ bytes: Buffer.from(text, 'hex') }),
  tags: (text) => ({ array: (JSON.parse(text) as string[]).map((string) => ({ string })) }),
};

const texts = {
  id: fc.integer().map(String),
  big: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String),
  on: fc.constantFrom('t', 'f'),
  ratio: fc.double({ noNaN: true }).map((value) => (Object.is(value, -0) ? '-0' : String(value))),
  name: fc.string({ unit: 'binary', maxLength: 60 }),
  blob: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  tags: fc.array(fc.string(), { maxLength: 3 }).map((tags) => JSON.stringify(tags)),
};

test('rows of any values, NULLs, required columns and defaults are what another implementation reads', () => {
  const names = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[];
  const row = fc.record(texts);
  const nulls = fc.uniqueArray(fc.constantFrom(...names.slice(1)));
  fc.assert(
    fc.property(fc.tuple(row, row), nulls, fc.boolean(), ([before, after], nullable, hasDefault) => {
      const table = plainTable({
        name: ['s', 't'],
        columns: COLUMNS,
        key: ['id'],
        required: names.filter((name) => !nullable.includes(name)),
        defaults: hasDefault ? { big: '-7', name: 'dflt', on: true, ratio: 1.5 } : {},
      });
      const expected = (values: typeof before): Row =>
        Object.fromEntries(
          names.map((name, at) => {
            if (!nullable.includes(name)) return [name, Object.values(AS_AVRO[name](values[name]))[0]];
            return [name, at % 2 === 0 ? null : AS_AVRO[name](values[name])];
          }),
        );
      const cells = (values: typeof before): PlainRow =>
        names.map((name, at) => (nullable.includes(name) && at % 2 === 0 ? null : values[name]));
      const topic = new Topic(table).write({ before: cells(before), after: cells(after) });
      const { key, value } = topic.readOne();
      assert.deepEqual(key, { id: Number(after.id) });
      assert.deepEqual(value?.before, expected(before));
      assert.deepEqual(value?.after, expected(after));
    }),
    { numRuns: 150 },
  );
});

const TABLE = plainTable({
  name: ['s', 't'],
  columns: { id: TYPE.int, v: TYPE.text, n: decimal(10, 2), b: TYPE.bytes },
  key: ['id'],
});

test('source, clocks, transaction and timestamp are those of the change', () => {
  const { value, timestamp, headers } = new Topic(TABLE)
    .write({ op: 'c', after: ['1', 'x', '1.00', ''] })
    .readOne();
  assert.deepEqual(value?.source, { table: 's.t', snapshot: 'false', ts_us: 5n });
  assert.deepEqual(
    [value?.op, value?.transaction, value?.ts_ms, value?.ts_us, value?.ts_ns],
    ['c', null, { long: NOW_US / 1000n }, { long: NOW_US }, { long: NOW_US * 1000n }],
  );
  assert.equal(timestamp, Number(NOW_US / 1000n));
  assert.deepEqual(headers, { 'varve.order': formatOrder({ ...TRANSACTION, ordinal: 0 }) });
});

test('every ordinal gives the order that the words of the house give', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.integer({ min: 0, max: 2 ** 48 - 1 }), (small, large) => {
      const topic = new Topic(TABLE);
      for (const ordinal of [large, small]) topic.write({ ordinal, after: ['1', null, null, null] });
      topic.truncate(large);
      const orders = [large, small, large].map((ordinal) => formatOrder({ ...TRANSACTION, ordinal }));
      assert.deepEqual(
        topic.read().map(({ headers }) => headers['varve.order']),
        orders,
      );
    }),
    { numRuns: 50 },
  );
});

test('a changed key is a delete, its tombstone and a create, all of one order', () => {
  const event = { before: ['1', null, null, null], after: ['2', 'x', null, null] };
  const topic = new Topic(TABLE).write({ ...event, beforeIsKey: true, keyChanged: true, ordinal: 9 });
  const order = formatOrder({ ...TRANSACTION, ordinal: 9 });
  const toNew = { '__debezium.newkey': '{"id":2}', 'varve.order': order };
  assert.deepEqual(
    topic.read().map(({ key, value, headers }) => [key?.id, value?.op, headers]),
    [
      [1, 'd', toNew],
      [1, undefined, toNew],
      [2, 'c', { '__debezium.oldkey': '{"id":1}', 'varve.order': order }],
    ],
  );
});

test('without tombstones a delete is one record, and a changed key two', () => {
  const topic = new Topic(TABLE, { tombstones: false });
  topic.write({ op: 'd', before: ['1', null, null, null], beforeIsKey: true });
  topic.write({ before: ['1', null, null, null], after: ['2', null, null, null], keyChanged: true });
  assert.deepEqual(
    topic.read().map(({ value }) => value?.op),
    ['d', 'd', 'c'],
  );
});

test('a key as text: decimals as numbers, bytes as base64, texts escaped', () => {
  const columns = { s: TYPE.text, n: decimal(10, 2), b: TYPE.bytes, l: TYPE.long };
  const table = plainTable({ name: ['s', 't'], columns, key: ['l', 'n', 's', 'b'] });
  const max = String(2n ** 63n - 1n);
  const topic = new Topic(table).write({
    before: ['"\n', '-0.05', 'ff00', max],
    after: ['é', '1234.50', '', '0'],
    keyChanged: true,
  });
  const [old, , made] = topic.read();
  assert.equal(old?.headers['__debezium.newkey'], '{"l":0,"n":1234.50,"s":"é","b":""}');
  assert.equal(made?.headers['__debezium.oldkey'], `{"l":${max},"n":-0.05,"s":"\\"\\n","b":"/wA="}`);
});

test('what did not change and was not sent is named, with a placeholder in its place', () => {
  const columns = { id: TYPE.int, 'a "q"': TYPE.text, b: TYPE.bytes, n: decimal(10, 2), r: TYPE.long };
  const table = plainTable({ name: ['s', 't'], columns, key: ['id'], required: ['id', 'r', 'b'] });
  const topic = new Topic(table).write({ after: ['1', undefined, undefined, undefined, undefined] });
  const { value, headers } = topic.readOne();
  assert.deepEqual(JSON.parse(headers['varve.unchanged'] ?? ''), ['a "q"', 'b', 'n', 'r']);
  const placeholder = '__debezium_unavailable_value';
  assert.deepEqual(value?.after, {
    id: 1,
    a__q_: { string: placeholder },
    b: Buffer.from(placeholder),
    n: null,
    r: 0n,
  });
});

test('an unchanged value is taken from the old image where that has it', () => {
  const whole = new Topic(TABLE).write({
    before: ['1', 'old', '1.00', undefined],
    after: ['1', undefined, '2.00', undefined],
  });
  const [record] = whole.read();
  assert.deepEqual(record?.value?.after?.v, { string: 'old' });
  assert.equal(record?.headers['varve.unchanged'], '["b"]');
  const keyOnly = new Topic(TABLE).write({
    before: ['1', 'not real', null, null],
    beforeIsKey: true,
    after: [undefined, undefined, null, null],
  });
  const { key, headers } = keyOnly.readOne();
  assert.equal(key?.id, 1);
  assert.equal(headers['varve.unchanged'], '["v"]');
});

test('a key column that nobody sent stops, because a placeholder would be the key of another row', () => {
  const topic = new Topic(TABLE).write({ after: ['1', null, null, null] });
  const after = [undefined, 'x', null, null];
  assert.throws(() => topic.write({ after }), { kind: 'value_unsupported', message: /key column "id"/ });
  assert.equal(topic.read().length, 1);
});

test('a value that the encoding cannot hold goes beside it as text', () => {
  const topic = new Topic(TABLE).write({
    before: ['1', null, 'NaN', null],
    after: ['1', null, '1.00', null],
  });
  topic.write({ before: ['1', null, '1.00', null], after: ['1', null, 'NaN', null] });
  topic.write({ op: 'd', before: ['1', null, 'NaN', null] });
  const headers = topic.read().map((record) => record.headers['varve.text']);
  assert.deepEqual(headers, [undefined, '{"n":"NaN"}', '{"n":"NaN"}', undefined]);
});

test('NULL in a column with a default stays NULL', () => {
  const table = plainTable({ name: ['s', 't'], columns: COLUMNS, key: ['id'], defaults: { name: 'x' } });
  const topic = new Topic(table).write({ after: ['1', null, null, null, null, null, null] });
  assert.equal(topic.readOne().value?.after?.name, null);
});

test('a key-only image holds NULL, the default or the zero of its type beside the key', () => {
  const zoned = { type: 'string', name: 'io.debezium.time.ZonedTimestamp', version: 1 } as const;
  const columns = { ...COLUMNS, n: decimal(9, 2), z: zoned, s: TYPE.text };
  const table = plainTable({
    name: ['s', 't'],
    columns,
    key: ['id'],
    required: Object.keys(columns).filter((name) => name !== 's'),
    defaults: { big: '-7', on: true, ratio: 1.5, blob: 'a\u0000ÿ', s: 'x' },
  });
  const topic = new Topic(table).write({
    op: 'd',
    before: ['4', ...new Array(9).fill(null)],
    beforeIsKey: true,
  });
  assert.deepEqual(topic.read()[0]?.value?.before, {
    id: 4,
    big: -7n,
    on: true,
    ratio: 1.5,
    name: '',
    blob: Buffer.from([97, 0, 255]),
    tags: [],
    n: Buffer.of(0),
    z: '1970-01-01T00:00:00Z',
    s: null,
  });
});

test('NULL where the schema allows none leaves nothing behind, and goes out with the column optional', () => {
  const table = plainTable({
    name: ['s', 't'],
    columns: { id: TYPE.int, v: TYPE.text },
    key: ['id'],
    required: ['id', 'v'],
  });
  const moved = { before: ['1', null], beforeIsKey: true, after: ['2', null], keyChanged: true };
  for (const event of [{ after: ['1', null] }, { before: ['1', null], after: ['1', 'x'] }, moved]) {
    const topic = new Topic(table);
    const error = { kind: 'null_in_required', facts: { column: 1, table: 's.t' } };
    assert.throws(() => topic.write(event), error);
    assert.equal(topic.out.records, 0);
    topic.write({ after: ['1', 'x'] });
    assert.equal(topic.read().length, 1);
    assert.ok(new Topic(table.relax(1)).write(event).read().length > 0);
  }
});

test('an encoder that throws leaves no half record', () => {
  const table: PreparedTable = {
    ...TABLE,
    encode: TABLE.encode.map((encode) => (bytes, start, end, out) => {
      if (end - start === 3) throw new Error('cannot');
      return encode(bytes, start, end, out);
    }),
  };
  const topic = new Topic(table).write({ after: ['1', 'ok', null, null] });
  const size = topic.out.size;
  assert.throws(() => topic.write({ after: ['1', 'bad', null, null] }), /cannot/);
  assert.equal(topic.out.size, size);
  assert.equal(topic.write({ after: ['2', 'ok', null, null] }).read().length, 2);
});

test('a row change that lacks an image is the fault of the log reader, and is not published', () => {
  for (const event of [{ op: 'd' as const }, { keyChanged: true, after: ['1', null, null, null] }]) {
    const topic = new Topic(TABLE);
    assert.throws(() => topic.write(event), { kind: 'protocol_error', message: /for s\.t; its rows/ });
    assert.equal(topic.out.records, 0);
  }
});

test('a truncate has no key and no image', () => {
  const { key, value } = new Topic(TABLE).truncate(1).readOne();
  assert.deepEqual([key, value?.op, value?.before, value?.after], [null, 't', null, null]);
});

test('a truncate says nothing of the row that was written before it', () => {
  const topic = new Topic(TABLE).write({ after: ['1', undefined, 'NaN', null] }).truncate(1);
  const [row, truncate] = topic.read().map(({ headers }) => Object.keys(headers));
  assert.deepEqual(row, ['varve.order', 'varve.unchanged', 'varve.text']);
  assert.deepEqual(truncate, ['varve.order']);
});
