// The envelope against records of a real Debezium: the same rows must give the same bytes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { RowChange } from '../../src/change/event.ts';
import { EnvelopeWriter } from '../../src/topic/envelope.ts';
import { Change } from '../../src/topic/envelope-change.ts';
import { prepareEnvelope } from '../../src/topic/envelope-names.ts';
import type { PreparedTable, SourceBlock } from '../../src/topic/prepared-table.ts';
import { RecordBatchBuilder, readRecords } from '../../src/topic/record-batch.ts';
import { avroType } from '../support/avsc.ts';
import {
  compareWithGolden,
  type DecodedRecord,
  decodeBatch,
  decodeRecorded,
  GOLDEN,
  type GoldenCase,
  loadGolden,
  type RecordedRecord,
  toConnectType,
} from '../support/golden.ts';
import { decimal, type PlainRow, plainCells, plainTable, TYPE } from '../support/plain-table.ts';

type Envelope = { source: unknown; ts_ms: unknown; ts_us: unknown; ts_ns: unknown };
type AvroRecord = { fields: { name: string; type: unknown }[] };

/** One topic of a case, as recorded. */
class RecordedTopic {
  readonly records: readonly RecordedRecord[];
  readonly #golden: GoldenCase;

  constructor(caseDir: string, topic: string) {
    this.#golden = loadGolden(caseDir);
    this.records = this.#golden.records.filter((record) => record.topic === topic);
  }

  envelope(at: number): Envelope {
    const { valueSchema, valueAvro } = this.records[at] ?? assert.fail(`there is no record ${at}`);
    return avroType(this.#avro(valueSchema)).fromBuffer(Buffer.from(valueAvro ?? '', 'hex')) as Envelope;
  }

  /** The record's value, bytes of a message on the wire, with another clock. */
  framed(at: number, nowUs: bigint): Buffer {
    const clock = {
      ts_ms: { long: nowUs / 1000n },
      ts_us: { long: nowUs },
      ts_ns: { long: nowUs * 1000n },
    };
    const type = avroType(this.#avro(this.records[at]?.valueSchema));
    const frame = Buffer.alloc(5);
    frame.writeInt32BE(VALUE_ID, 1);
    return Buffer.concat([frame, type.toBuffer({ ...this.envelope(at), ...clock })]);
  }

  /** Writes the source block of the recorded record number `at()`. */
  source(at: () => number): SourceBlock {
    const { connect, avro } = this.#golden.schemas[this.records[0]?.valueSchema ?? ''] ?? assert.fail();
    const recorded = connect.fields?.find(({ field }) => field === 'source') ?? assert.fail();
    const type = avroType((avro as AvroRecord).fields.find(({ name }) => name === 'source')?.type);
    return {
      type: toConnectType(recorded),
      write: (out) => out.raw(Uint8Array.from(type.toBuffer(this.envelope(at()).source))),
    };
  }

  #avro(id: string | null | undefined): object {
    return this.#golden.schemas[id ?? '']?.avro ?? assert.fail(`there is no schema ${id}`);
  }
}

const KEY_ID = 7;
const VALUE_ID = 70_000;
const NOW_US = 1_795_264_600_123_456n;

/** Publishes the changes of one table and checks every value's bytes; returns the records, read. */
const publish = (caseDir: string, table: PreparedTable, changes: readonly PlainChange[]): DecodedRecord[] => {
  const topic = `golden.${table.schema.name.join('.')}`;
  const recorded = new RecordedTopic(caseDir, topic);
  const out = new RecordBatchBuilder();
  let first = 0;
  const envelope = prepareEnvelope({ prefix: 'golden', table, source: recorded.source(() => first) });
  const { keySchema, valueSchema } = envelope;
  assert.equal(envelope.topic, topic);
  const writer = new EnvelopeWriter(envelope, {
    keyId: keySchema === null ? null : KEY_ID,
    valueId: VALUE_ID,
  });
  const change = new Change();
  change.begin({ epoch: 1, position: 5n, phase: 1 }, { commitTs: 0n, nowUs: NOW_US, snapshot: 'false' });
  for (const [ordinal, plain] of changes.entries()) {
    first = out.records;
    if (plain.op === 't') writer.write([out], change.setTruncate(ordinal));
    else writer.write([out], change.setRow({ ...ROW, ...plain, op: plain.op, ordinal }));
  }
  const batch = out.finish();
  let at = 0;
  readRecords(batch, ({ bytes, valueStart, valueEnd }) => {
    if (valueStart >= 0) {
      const value = Buffer.from(bytes.subarray(valueStart, valueEnd));
      assert.deepEqual(value, recorded.framed(at, NOW_US), `value of record ${at} of ${topic}`);
    }
    at++;
  });
  return decodeBatch(topic, batch, (id) => (id === KEY_ID ? keySchema : valueSchema) ?? assert.fail());
};

type PlainChange = Pick<RowChange<unknown>, 'before' | 'beforeIsKey' | 'after' | 'keyChanged'> & {
  op: RowChange<unknown>['op'] | 't';
};

const ROW = { kind: 'row', table: null } as const;
const NONE = { before: null, beforeIsKey: false, after: null, keyChanged: false } as const;

const r = (...after: PlainRow): PlainChange => ({ ...NONE, op: 'r', after: plainCells(after) });
const c = (...after: PlainRow): PlainChange => ({ ...NONE, op: 'c', after: plainCells(after) });
const u = (...after: PlainRow): PlainChange => ({ ...NONE, op: 'u', after: plainCells(after) });
/** Delete of which the source sent only the key. */
const d = (...before: PlainRow): PlainChange => ({
  ...NONE,
  op: 'd',
  before: plainCells(before),
  beforeIsKey: true,
});
const truncate: PlainChange = { ...NONE, op: 't' };
/** The same with a whole old image. */
const from = (change: PlainChange, ...before: PlainRow): PlainChange => ({
  ...change,
  before: plainCells(before),
  beforeIsKey: false,
});
const moved = (change: PlainChange): PlainChange => ({ ...change, keyChanged: true });
const fromKey = (change: PlainChange, ...before: PlainRow): PlainChange => ({
  ...from(change, ...before),
  beforeIsKey: true,
});

type Topics = [PreparedTable, PlainChange[]][];

const same = (caseName: string, topics: Topics): void => {
  const caseDir = join(GOLDEN, 'postgres', caseName);
  compareWithGolden(
    caseDir,
    topics.flatMap(([table, changes]) => publish(caseDir, table, changes)),
  );
};

test('crud', () => {
  const table = plainTable({
    name: ['public', 'customers'],
    columns: { id: TYPE.int, first_name: TYPE.text, email: TYPE.text, balance: decimal(12, 2) },
    key: ['id'],
    required: ['id', 'first_name'],
  });
  same('crud', [
    [
      table,
      [
        r('1001', 'Sally', 'sally@example.com', '10.00'),
        r('1002', 'George', null, '-3.50'),
        r('1003', 'Edward', 'ed@example.com', '0.00'),
        c('1004', 'Anne', 'anne@example.com', '99.99'),
        u('1004', 'Anne Marie', 'anne@example.com', '99.99'),
        u('1001', 'Sally', 'sally@example.com', '10.00'),
        u('1001', 'Sally', 'sally@example.com', '11.00'),
        u('1002', 'George', null, '-2.50'),
        d('1004', null, null, null),
        c('1004', 'Again', null, null),
        c('1006', 'a', null, null),
        c('1008', 'c', null, null),
      ],
    ],
  ]);
});

test('key-change', () => {
  const t = plainTable({ name: ['public', 't'], columns: { id: TYPE.int, v: TYPE.text }, key: ['id'] });
  const ck = plainTable({
    name: ['public', 'ck'],
    columns: { a: TYPE.int, b: TYPE.text, v: TYPE.text },
    key: ['b', 'a'],
  });
  same('key-change', [
    [
      t,
      [
        r('1', 'one'),
        r('2', 'two'),
        moved(fromKey(u('10', 'one'), '1', null)),
        moved(fromKey(u('20', 'TWO'), '2', null)),
      ],
    ],
    [
      ck,
      [
        r('1', 'x', 'v1'),
        moved(fromKey(u('1', 'y', 'v1'), '1', 'x', null)),
        u('1', 'y', 'v2'),
        d('1', 'y', null),
      ],
    ],
  ]);
});

test('toast-unchanged', () => {
  const big = 'x'.repeat(9000);
  const t = plainTable({
    name: ['public', 't'],
    columns: {
      id: TYPE.int,
      small: TYPE.text,
      big: TYPE.text,
      bigb: TYPE.bytes,
      bigj: TYPE.json,
      bigarr: TYPE.texts,
    },
    key: ['id'],
  });
  const f = plainTable({
    name: ['public', 'f'],
    columns: { id: TYPE.int, small: TYPE.text, big: TYPE.text },
    key: ['id'],
  });
  const json = `{"k": "${'j'.repeat(9000)}"}`;
  same('toast-unchanged', [
    [f, [r('1', 's', big), from(u('1', 'changed', undefined), '1', 's', big)]],
    [
      t,
      [
        r('1', 's', big, 'ab'.repeat(9000), json, JSON.stringify(['e'.repeat(9000)])),
        u('1', 'changed', undefined, undefined, undefined, undefined),
        u('1', 'changed', 'now small', undefined, undefined, undefined),
        d('1', null, null, null, null, null),
      ],
    ],
  ]);
});

test('truncate', () => {
  const a = plainTable({ name: ['public', 'a'], columns: { id: TYPE.int, v: TYPE.text }, key: ['id'] });
  const b = plainTable({ name: ['public', 'b'], columns: { id: TYPE.int, a_id: TYPE.int }, key: ['id'] });
  same('truncate', [
    [a, [r('1', 'x'), truncate, c('2', 'y')]],
    [b, [r('1', '1'), truncate, truncate]],
  ]);
});

test('no-key', () => {
  const columns = { a: TYPE.int, v: TYPE.text };
  const nk = plainTable({ name: ['public', 'nk'], columns, key: [] });
  const nkf = plainTable({ name: ['public', 'nkf'], columns, key: [] });
  const gone = from({ ...NONE, op: 'd' }, '1', 'x');
  same('no-key', [
    [nk, [r('1', 'x'), c('2', null), c('2', null)]],
    [nkf, [r('1', 'x'), r('1', 'x'), c('2', 'y'), from(u('2', 'z'), '2', 'y'), gone, gone]],
  ]);
});

test('replident-full', () => {
  const table = plainTable({
    name: ['public', 't'],
    columns: { id: TYPE.int, v: TYPE.text, n: decimal(10, 2) },
    key: ['id'],
  });
  same('replident-full', [
    [
      table,
      [
        r('1', 'one', '1.50'),
        r('2', null, null),
        from(u('1', 'ONE', '1.50'), '1', 'one', '1.50'),
        from(u('2', 'x', null), '2', null, null),
        moved(from(u('3', 'ONE', '1.50'), '1', 'ONE', '1.50')),
        from({ ...NONE, op: 'd' }, '2', 'x', null),
      ],
    ],
  ]);
});

test('the comparison fails on a record too many, one too few, another value and a stale difference', () => {
  const caseDir = join(GOLDEN, 'postgres', 'truncate');
  const golden = loadGolden(caseDir);
  const all = golden.records.map((record) => decodeRecorded(record, golden));
  const [first] = all as [DecodedRecord];
  compareWithGolden(caseDir, all);
  assert.throws(() => compareWithGolden(caseDir, [...all, first]), assert.AssertionError);
  assert.throws(() => compareWithGolden(caseDir, all.slice(1)), assert.AssertionError);
  assert.throws(
    () => compareWithGolden(caseDir, [{ ...first, key: null }, ...all.slice(1)]),
    assert.AssertionError,
  );
  assert.throws(() => compareWithGolden(caseDir, all, [{ why: 'none', apply: (record) => record }]), /none/);
  const none = {
    why: 'no truncates',
    apply: (record: DecodedRecord) => (record.key === null ? null : record),
  };
  compareWithGolden(
    caseDir,
    all.filter(({ key }) => key !== null),
    [none],
  );
});
