// The engine reads what the envelope writes: no test of its own words, but both ends of the wire.
import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import type { RowChange } from '../../../src/change/event.ts';
import { EnvelopeWriter } from '../../../src/topic/envelope.ts';
import { Change } from '../../../src/topic/envelope-change.ts';
import { prepareEnvelope } from '../../../src/topic/envelope-names.ts';
import type { SourceBlock } from '../../../src/topic/prepared-table.ts';
import { RecordBatchBuilder } from '../../../src/topic/record-batch.ts';
import { decimal, type PlainRow, plainCells, plainTable, TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { EventWriter } from './event-batches.ts';

const shared = new SharedEngine();
after(() => shared[Symbol.asyncDispose]());

const source: SourceBlock = {
  type: {
    type: 'struct',
    name: 'test.Source',
    fields: [{ field: 'ts_us', type: { type: 'int64' }, optional: false }],
  },
  write: (out, { commitTs }) => out.bigLong(commitTs),
};

it('a value that its topic did not take is unknown: not a placeholder, not the value before', async () => {
  const columns = { id: TYPE.long, big: TYPE.text, amount: TYPE.long };
  const prepared = plainTable({ name: ['s', 'o'], columns, key: ['id'] });
  const envelope = prepareEnvelope({ prefix: 'p', table: prepared, source });
  const events = new EnvelopeWriter(
    envelope,
    { keyId: 1, valueId: 2 },
    { oversized: { policy: 'key_only' } },
  );
  const writer = new EventWriter(prepared.schema);
  Object.assign(writer.record, { keyId: 1, valueId: 2, fields: envelope.fields });
  writer.texts.set(1, envelope.keySchema ?? '').set(2, envelope.valueSchema);
  using table = new EngineTable({ engine: shared.engine, writers: [writer] });
  const change = new Change();
  for (const [position, after] of [
    [1n, ['1', 'small', '5']],
    [2n, ['1', 'x'.repeat(5000), '6']],
    [3n, ['1', 'small again', '7']],
  ] as const) {
    const out = new RecordBatchBuilder(1 << 12, { maxRecordBytes: 2000 });
    change.begin({ epoch: 1, position, phase: 1 }, { commitTs: position, nowUs: 9n, snapshot: 'false' });
    const images = { before: null, beforeIsKey: false, after: plainCells(after), keyChanged: false };
    events.write([out], change.setRow({ kind: 'row', op: 'u', table: null, ordinal: 0, ...images }));
    const batches = [{ partition: 0, from: 0n, batches: [out.finish()] }];
    await table.apply(await shared.engine.merge({ ...table.request([]), batches }, table.answers));
  }
  assert.deepEqual(
    (await table.rows('_order')).map((row) => [row.id, row.big, row.amount, row._incomplete]),
    [
      ['1', 'small', '5', null],
      ['1', null, null, ['amount', 'big']],
      ['1', 'small again', '7', null],
    ],
  );
});

it('a row is created, moves to another key without its large value, and is deleted', async () => {
  const prepared = plainTable({
    name: ['s', 't'],
    columns: { id: TYPE.long, 'big value': TYPE.text, amount: decimal(9, 2) },
    key: ['id'],
  });
  const envelope = prepareEnvelope({ prefix: 'p', table: prepared, source });
  const events = new EnvelopeWriter(envelope, { keyId: 1, valueId: 2 });
  const writer = new EventWriter(prepared.schema);
  Object.assign(writer.record, { keyId: 1, valueId: 2, fields: envelope.fields });
  writer.texts.set(1, envelope.keySchema ?? '').set(2, envelope.valueSchema);
  using table = new EngineTable({ engine: shared.engine, writers: [writer] });
  const change = new Change();
  const write = (
    position: bigint,
    row: Partial<RowChange<unknown>>,
    images: { before?: PlainRow; after?: PlainRow },
  ) => {
    const out = new RecordBatchBuilder();
    change.begin({ epoch: 1, position, phase: 1 }, { commitTs: position, nowUs: 9n, snapshot: 'false' });
    const before = images.before === undefined ? null : plainCells(images.before);
    const image = images.after === undefined ? null : plainCells(images.after);
    const rest = {
      kind: 'row',
      op: 'u',
      table: null,
      ordinal: 0,
      beforeIsKey: true,
      keyChanged: false,
    } as const;
    events.write([out], change.setRow({ ...rest, ...row, before, after: image }));
    return out.finish();
  };
  const batches = [
    write(1n, { op: 'c' }, { after: ['1', 'long', '1.25'] }),
    write(2n, { keyChanged: true }, { before: ['1', null, null], after: ['2', undefined, 'NaN'] }),
    write(3n, { op: 'd' }, { before: ['2', null, null] }),
  ];
  for (const batch of batches) {
    const request = { ...table.request([]), batches: [{ partition: 0, from: 0n, batches: [batch] }] };
    await table.apply(await shared.engine.merge(request, table.answers));
  }
  const rows = await table.rows('_order, id');
  assert.deepEqual(
    rows.map((row) => [
      row.id,
      row['big value'],
      row.amount,
      row._incomplete,
      row._closed_by,
      row._previous_key,
    ]),
    [
      ['1', 'long', '1.25', null, 'k', null],
      ['2', 'long', null, ['amount'], 'd', '{"id":1}'],
    ],
  );
});
