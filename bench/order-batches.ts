// Owns record batches of changes of the benches' table, as capture would have published them. For loops that
// fold without a server.
import type { RowChange } from '../src/change/event.ts';
import { formatOrder } from '../src/change/order.ts';
import { EnvelopeWriter } from '../src/topic/envelope.ts';
import { Change } from '../src/topic/envelope-change.ts';
import type { FeedBatch } from '../src/topic/feed.ts';
import { RecordBatchBuilder } from '../src/topic/record-batch.ts';
import { baseOffsetBytes } from '../src/topic/record-batch-header.ts';
import type { SchemaRecord } from '../src/topic/state.ts';
import { envelope, makeRow, position } from './order-rows.ts';

const KEY_ID = 1;
const VALUE_ID = 2;
const EPOCH = 1;
const TRANSACTION_ROWS = 1000;

/** Avro schema texts by id. */
export const SCHEMAS: ReadonlyMap<number, string> = new Map([
  [KEY_ID, envelope.keySchema ?? ''],
  [VALUE_ID, envelope.valueSchema],
]);

export const SCHEMA_RECORD: SchemaRecord = {
  table: envelope.table.schema.name,
  n: 1,
  first: formatOrder({ epoch: EPOCH, position: 0n, phase: 0, ordinal: 0 }),
  columns: [...envelope.table.schema.columns],
  fields: [...envelope.fields],
  key: [...envelope.table.schema.key],
  keyId: KEY_ID,
  valueId: VALUE_ID,
};

/** `r`: a row of the snapshot that lies before all changes. */
export type IdChange = { op: 'r' | 'c' | 'u' | 'd'; id: number };

/** Where the topic ends, and the source's log. */
export type TopicEnd = { offset: bigint; transaction: bigint };

type BatchWriter = {
  /** Adds the changes of one transaction. `first`: ordinal of the first of them. */
  add(changes: readonly IdChange[], transaction: bigint, first?: number): void;
  readonly builder: RecordBatchBuilder;
};

export const makeBatchWriter = (ids = { keyId: KEY_ID, valueId: VALUE_ID }): BatchWriter => {
  const writer = new EnvelopeWriter(envelope, ids, { tombstones: false });
  const builder = new RecordBatchBuilder();
  const partitions = [builder];
  const change = new Change();
  const row: RowChange<unknown> = {
    kind: 'row',
    op: 'c',
    table: null,
    ordinal: 0,
    before: null,
    beforeIsKey: false,
    after: null,
    keyChanged: false,
  };
  const add = (changes: readonly IdChange[], transaction: bigint, first = 0): void => {
    const nowUs = BigInt(Date.now()) * 1000n;
    const isSnapshot = changes[0]?.op === 'r';
    change.begin(
      { epoch: EPOCH, position: transaction, phase: isSnapshot ? 0 : 1 },
      { commitTs: nowUs, nowUs, snapshot: isSnapshot ? 'true' : 'false' },
    );
    position.txId = Number(transaction);
    for (const [at, { op, id }] of changes.entries()) {
      const cells = makeRow(id, op === 'u' ? `customer-${id} of transaction ${transaction}` : undefined);
      row.op = op;
      row.ordinal = first + at;
      row.before = op === 'd' ? cells : null;
      row.beforeIsKey = op === 'd';
      row.after = op === 'd' ? null : cells;
      writer.write(partitions, change.setRow(row));
    }
  };
  return { add, builder };
};

/** The changes in transactions of 1000, behind `end`, which moves. */
export const makeFeedBatch = (changes: readonly IdChange[], end: TopicEnd): FeedBatch => {
  const { add, builder } = makeBatchWriter();
  const batches: Uint8Array[] = [];
  for (let from = 0; from < changes.length; from += TRANSACTION_ROWS) {
    add(changes.slice(from, from + TRANSACTION_ROWS), ++end.transaction);
    const batch = builder.finish();
    builder.reset();
    batch.set(baseOffsetBytes(Number(end.offset)));
    end.offset += BigInt(Math.min(TRANSACTION_ROWS, changes.length - from));
    batches.push(batch);
  }
  return { partition: 0, batches, nextOffset: end.offset };
};
