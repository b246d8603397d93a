// The `source` block against recorded Debezium records: the same facts must give the same bytes.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSourceBlock, makeSourcePosition } from '../../../connectors/postgres/source-block.ts';
import { ByteWriter } from '../../../src/topic/byte-writer.ts';
import type { SnapshotMark } from '../../../src/topic/prepared-table.ts';

type RecordedSource = {
  name: string;
  snapshot: string;
  db: string;
  sequence: string;
  ts_us: number;
  schema: string;
  table: string;
  txId: number | null;
  lsn: number | null;
};

const GOLDEN = join(import.meta.dirname, '../../fixtures/golden/postgres');
const lines = (name: string): string[] =>
  readFileSync(join(GOLDEN, name, 'expected.jsonl'), 'utf8')
    .trim()
    .split('\n');

const halves = (lsn: bigint): [number, number] => [Number(lsn >> 32n), Number(lsn & 0xffff_ffffn)];

const render = (source: RecordedSource, lsn: bigint, last: bigint | null): string => {
  const position = makeSourcePosition();
  [position.lsnHigh, position.lsnLow] = halves(lsn);
  if (last !== null) [position.commitHigh, position.commitLow] = halves(last);
  position.txId = source.txId;
  const out = new ByteWriter();
  makeSourceBlock({ pipeline: source.name, database: source.db }, position).write(out, {
    table: [source.schema, source.table],
    snapshot: source.snapshot as SnapshotMark,
    commitTs: BigInt(source.ts_us),
  });
  return Buffer.from(out.bytes.subarray(0, out.pos)).toString('hex');
};

test('recorded source blocks come out byte for byte', () => {
  let compared = 0;
  for (const name of readdirSync(GOLDEN)) {
    for (const line of lines(name)) {
      const { value, valueAvro } = JSON.parse(line);
      const source: RecordedSource | undefined = value?.source;
      // Debezium's incremental chunks have no position of their own.
      if (!source || source.lsn === null || !valueAvro) continue;
      const [last] = JSON.parse(source.sequence) as [string | null, string];
      const rendered = render(source, BigInt(source.lsn), last === null ? null : BigInt(last));
      assert.ok(valueAvro.includes(rendered), `${name}: ${rendered} is not in ${valueAvro}`);
      compared++;
    }
  }
  assert.ok(compared > 100);
});

test('the type is the recorded one', () => {
  const schemas: Record<string, { connect: { fields: { field: string }[] } }> = JSON.parse(
    readFileSync(join(GOLDEN, 'crud', 'schemas.json'), 'utf8'),
  );
  const recorded = Object.values(schemas).flatMap(({ connect }) =>
    connect.fields.filter((field) => field.field === 'source'),
  )[0];
  const { type } = makeSourceBlock({ pipeline: 'p', database: 'd' }, makeSourcePosition());
  const fields = type.fields?.map(({ type: { type: plain, ...more }, ...field }) => ({
    type: plain,
    ...more,
    ...field,
  }));
  assert.deepEqual({ ...type, fields, optional: false, field: 'source' }, recorded);
});

test('positions beyond what a double can hold keep every digit', () => {
  const source = {
    name: 'p',
    snapshot: 'false',
    db: 'd',
    sequence: '',
    ts_us: 0,
    schema: 's',
    table: 't',
    txId: null,
  };
  for (const lsn of [
    0n,
    1n,
    0xffff_ffffn,
    1n << 52n,
    (1n << 53n) + 1n,
    0x7fff_ffff_ffff_ffffn,
    (1n << 64n) - 1n,
  ]) {
    const text = Buffer.from(render({ ...source, lsn: null }, lsn, lsn), 'hex').toString('latin1');
    assert.ok(text.includes(`["${lsn}","${lsn}"]`));
    const long = new ByteWriter();
    long.bigLong(BigInt.asIntN(64, lsn));
    const encoded = Buffer.from(long.bytes.subarray(0, long.pos)).toString('latin1');
    assert.ok(text.endsWith(`\x02${encoded}\0\0\0`));
  }
});

test('one block follows its position from event to event', () => {
  const position = makeSourcePosition();
  const block = makeSourceBlock({ pipeline: 'p', database: 'd' }, position);
  const facts = { table: ['s', 't'] as const, snapshot: 'false' as const, commitTs: -1n };
  const write = (): string => {
    const out = new ByteWriter();
    block.write(out, facts);
    return Buffer.from(out.bytes.subarray(0, out.pos)).toString('latin1');
  };
  assert.ok(write().includes('[null,"0"]'));
  position.lsnLow = 17;
  position.commitHigh = 0;
  position.commitLow = 16;
  position.txId = 4_000_000_000;
  assert.ok(write().includes('["16","17"]'));
  assert.ok(block.type.name?.endsWith('.postgresql.Source'));
});
