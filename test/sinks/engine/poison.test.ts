// Records that say nothing that can be folded: each goes to the dead letters with the bytes that it has, and
// what stands before and behind it is folded as if it were not there.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { formatOrder } from '../../../src/change/order.ts';
import type { TableSchema } from '../../../src/change/schema.ts';
import { VarveError } from '../../../src/errors.ts';
import { RecordBatchBuilder, readRecords } from '../../../src/topic/record-batch.ts';
import { atLevel } from '../../support/level.ts';
import { TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { columnsOf, type EventRecord, EventWriter } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const SCHEMA: TableSchema = {
  name: ['s', 't'],
  columns: columnsOf({
    id: { type: TYPE.long, optional: false },
    a: { type: TYPE.int },
    tags: { type: TYPE.texts },
  }),
  key: [0],
};
const WRITER = new EventWriter(SCHEMA);

const event = (at: number, more: Partial<EventRecord> = {}): EventRecord => ({
  op: 'c',
  order: formatOrder({ epoch: 1, position: BigInt(at), phase: 1, ordinal: 0 }),
  ts: BigInt(at),
  key: { id: BigInt(at) },
  row: { id: BigInt(at), a: { int: at }, tags: { array: [{ string: 'marker' }] } },
  ...more,
});

type Raw = { key: Uint8Array | null; value: Uint8Array | null; headers: (readonly [string, Uint8Array])[] };

/** A record as the writer writes it. */
const rawOf = (given: EventRecord): Raw => {
  let raw: Raw | null = null;
  readRecords(WRITER.batch([given]), (record) => {
    const part = (start: number, end: number) => (start < 0 ? null : record.bytes.slice(start, end));
    raw = {
      key: part(record.keyStart, record.keyEnd),
      value: part(record.valueStart, record.valueEnd),
      headers: record.headers().map(([name, value]) => [name, value ?? new Uint8Array()]),
    };
  });
  if (raw === null) throw new Error('nothing was written');
  return raw;
};

const batchOf = (records: readonly Raw[]): Uint8Array => {
  const out = new RecordBatchBuilder();
  for (const { key, value, headers } of records) {
    out.beginRecord(0);
    if (key === null) out.nullKey();
    else {
      out.beginKey();
      out.writer.raw(key);
      out.endKey();
    }
    if (value === null) out.nullValue();
    else {
      out.beginValue();
      out.writer.raw(value);
      out.endValue();
    }
    out.beginHeaders(headers.length);
    for (const [name, text] of headers) out.header(new TextEncoder().encode(name), text);
    out.endRecord();
  }
  return out.finish();
};

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const withId = (bytes: Uint8Array, id: number): Uint8Array => {
  const changed = bytes.slice();
  new DataView(changed.buffer).setInt32(1, id);
  return changed;
};
/** The array of one item claims to have two thousand million. */
const withHugeArray = (value: Uint8Array): Uint8Array => {
  const at = Buffer.from(value).indexOf('marker') - 3;
  assert.equal(value[at], 2, 'the count of one');
  return Buffer.concat([
    value.subarray(0, at),
    Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0x0f),
    value.subarray(at + 1),
  ]);
};
const withHeader = (raw: Raw, name: string, text: string): Raw => ({
  ...raw,
  headers: [...raw.headers, [name, bytesOf(text)]],
});

const GOOD = rawOf(event(2));
const KEY = GOOD.key ?? new Uint8Array();
const VALUE = GOOD.value ?? new Uint8Array();
const POISON: Readonly<Record<string, readonly [Raw, RegExp]>> = {
  'a wrong magic byte': [{ ...GOOD, value: Uint8Array.of(1, ...VALUE.subarray(1)) }, /bytes do not fit/],
  'no frame at all': [{ ...GOOD, value: bytesOf('{}') }, /bytes do not fit/],
  'an unknown value schema': [{ ...GOOD, value: withId(VALUE, 999_999) }, /names a schema/],
  'a schema of another topic for its key': [{ ...GOOD, key: withId(KEY, 999_999) }, /names a schema/],
  'a truncated value': [{ ...GOOD, value: VALUE.slice(0, -4) }, /bytes do not fit/],
  'a truncated key': [{ ...GOOD, key: KEY.slice(0, -1) }, /bytes do not fit/],
  'bytes left over': [{ ...GOOD, value: Uint8Array.of(...VALUE, 0) }, /bytes do not fit/],
  'a union with no such branch': [
    { ...GOOD, value: Uint8Array.of(...VALUE.subarray(0, 5), 8, ...VALUE.subarray(6)) },
    /bytes do not fit/,
  ],
  'an array that is larger than its record': [{ ...GOOD, value: withHugeArray(VALUE) }, /bytes do not fit/],
  'an operation that nobody knows': [rawOf(event(2, { op: 'x' as 'c' })), /operation is none/],
  'no image': [rawOf({ ...event(2), row: undefined } as unknown as EventRecord), /has no row/],
  'no key': [{ ...GOOD, key: null }, /has no key/],
  'no order': [{ ...GOOD, headers: [] }, /no varve.order/],
  'a header that is no JSON': [withHeader(GOOD, 'varve.unchanged', '["a"'), /bytes do not fit/],
  'a header of another shape': [withHeader(GOOD, 'varve.unchanged', '{"a":1}'), /bytes do not fit/],
  'half of another shape': [
    withHeader(withHeader(GOOD, '__debezium.oldkey', '{"id":9}'), 'varve.text', '{"a":1}'),
    /bytes do not fit/,
  ],
};

type Change = { part: string; at: number; to: number };

/** The record with one byte of it another; of a header, the first one's. */
const changed = (raw: Raw, { part, at, to }: Change): Raw => {
  const put = (bytes: Uint8Array): Uint8Array => {
    const copy = bytes.slice();
    if (copy.length > 0) copy[at % copy.length] = to;
    return copy;
  };
  if (part === 'key') return { ...raw, key: raw.key && put(raw.key) };
  if (part === 'value') return { ...raw, value: raw.value && put(raw.value) };
  return {
    ...raw,
    headers: raw.headers.map(([name, bytes], place) => [name, place === 0 ? put(bytes) : bytes]),
  };
};

const mergeAll = async (table: EngineTable, records: readonly Raw[]) => {
  const request = table.request([event(1)]);
  const batches = [{ partition: 0, from: 0n, batches: [batchOf(records)] }];
  const schema = async (id: number): Promise<string> => {
    const text = WRITER.texts.get(id);
    if (text === undefined) throw new VarveError('schema_unknown', `There is no schema ${id}.`);
    return text;
  };
  return table.apply(await engine.merge({ ...request, batches }, { ...table.answers, schema }));
};

describe('a record with', () => {
  for (const [name, [poison, reason]] of Object.entries(POISON))
    it(`${name} is a dead letter, with its bytes, and the rest is folded`, async () => {
      using table = new EngineTable({ engine, writers: [WRITER] });
      const result = await mergeAll(table, [rawOf(event(1)), poison, rawOf(event(3))]);
      const [dead, second] = result.dead;
      assert.equal(second, undefined);
      assert.deepEqual([dead?.partition, dead?.offset, dead?.isLate], [0, 1n, false]);
      assert.match(dead?.reason ?? '', reason);
      const same = (one: Uint8Array | null | undefined, other: Uint8Array | null) =>
        assert.deepEqual(one && Buffer.from(one), other && Buffer.from(other));
      same(dead?.value, poison.value);
      same(dead?.key, poison.key);
      assert.deepEqual([...result.offsets], [[0, 3n]]);
      const rows = await table.rows('id');
      assert.deepEqual(
        rows.map((row) => [row.id, row.a, row._previous_key, row._incomplete]),
        [
          ['1', 1, null, null],
          ['3', 3, null, null],
        ],
      );
    });

  it('a schema of ours that is lost stops the table', async () => {
    using table = new EngineTable({ engine, writers: [WRITER] });
    const request = table.request([event(1)]);
    const schema = async (): Promise<string> => {
      throw new VarveError('schema_unknown', 'There is none.');
    };
    await assert.rejects(engine.merge(request, { ...table.answers, schema }), { kind: 'schema_unknown' });
  });

  it('any bytes at all is folded or a dead letter, and what stands around it is folded', async () => {
    const change = fc.record({
      part: fc.constantFrom('key', 'value', 'header'),
      at: fc.nat(200),
      to: fc.nat(255),
    });
    const damages = fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(damages, async (all) => {
        using table = new EngineTable({ engine, writers: [WRITER] });
        const [first, last] = [event(1), event(900_000)];
        const damaged = all.map((changes, at) => changes.reduce(changed, rawOf(event(2 + at))));
        const result = await mergeAll(table, [rawOf(first), ...damaged, rawOf(last)]);
        assert.deepEqual([...result.offsets], [[0, BigInt(damaged.length + 2)]]);
        for (const { offset, value } of result.dead) {
          const given = damaged[Number(offset) - 1];
          assert.deepEqual(value && Buffer.from(value), given?.value && Buffer.from(given.value));
        }
        const ids = (await table.rows('id')).map(({ id }) => id);
        assert.ok(ids.includes('900000'), `${ids}`);
      }),
      { numRuns: atLevel({ test: 12, all: 200, deep: 3000 }), endOnFailure: true },
    );
  });
});
