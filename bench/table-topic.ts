// Owns embedded topics of the benches' table, filled as capture and snapshot would have filled them. Knows
// no table.
import { randomUUID } from 'node:crypto';
import { formatOrder } from '../src/change/order.ts';
import { COMPRESSIONS } from '../src/topic/compression.ts';
import { openEmbeddedPublisher } from '../src/topic/embedded/publisher.ts';
import type { Publisher, StateRecord } from '../src/topic/publisher.ts';
import { sealRecords } from '../src/topic/record-batch.ts';
import { printState, type SnapshotRecord, STATE_KEYS } from '../src/topic/state.ts';
import { PIPELINE, TOPIC } from './database.ts';
import { type IdChange, makeBatchWriter, SCHEMA_RECORD } from './order-batches.ts';
import { envelope } from './order-rows.ts';

const EPOCH = 1;
/** Rows of a snapshot that go into one write; changes go by the transaction. */
const SNAPSHOT_WRITE_ROWS = 10_000;
const TRANSACTION_ROWS = 1000;
/** Writes under way at once: they share a sync. */
const WRITES = 64;
const RETENTION_BYTES = 1e12;

const openTopic = (path: string): Promise<Publisher> =>
  openEmbeddedPublisher({
    path,
    retention: { bytes: RETENTION_BYTES },
    now: Date.now,
    randomId: randomUUID,
  });

type Part = { changes: readonly IdChange[]; transaction: bigint; first: number };

const writeParts = async (publisher: Publisher, parts: Iterable<Part>): Promise<void> => {
  const subject = `${PIPELINE}.${SCHEMA_RECORD.table.join('.')}`;
  const keyId = await publisher.registerSchema(`${subject}-key`, envelope.keySchema ?? '');
  const valueId = await publisher.registerSchema(`${subject}-value`, envelope.valueSchema);
  await publisher.ensureTopic(TOPIC, { partitions: 1 });
  const record = { ...SCHEMA_RECORD, keyId, valueId };
  const schema = { key: STATE_KEYS.schema(TOPIC, record.n), value: printState(record) };
  await publisher.write({ slices: [], state: [schema] });
  const { add, builder } = makeBatchWriter({ keyId, valueId });
  let writing: Promise<void>[] = [];
  for (const { changes, transaction, first } of parts) {
    add(changes, transaction, first);
    const taken = builder.take();
    const batch = await sealRecords(taken, COMPRESSIONS.zstd);
    builder.recycle(taken);
    const slice = { topic: TOPIC, partition: 0, batch, records: changes.length };
    writing.push(publisher.write({ slices: [slice], state: [] }));
    if (writing.length < WRITES) continue;
    await Promise.all(writing);
    writing = [];
  }
  await Promise.all(writing);
};

const SNAPSHOT_POSITION = 1n;

function* snapshotParts(rows: number): Generator<Part> {
  for (let from = 0; from < rows; from += SNAPSHOT_WRITE_ROWS) {
    const length = Math.min(SNAPSHOT_WRITE_ROWS, rows - from);
    const changes = Array.from({ length }, (_, at): IdChange => ({ op: 'r', id: from + at + 1 }));
    yield { changes, transaction: SNAPSHOT_POSITION, first: from + 1 };
  }
}

/** A new topic that holds a finished snapshot of rows 1 to `rows`. */
export const makeSnapshotTopic = async (path: string, rows: number): Promise<void> => {
  const publisher = await openTopic(path);
  const record = (isDone: boolean): StateRecord => {
    const snapshot: SnapshotRecord = {
      table: SCHEMA_RECORD.table,
      epoch: EPOCH,
      order: formatOrder({ epoch: EPOCH, position: SNAPSHOT_POSITION, phase: 0, ordinal: 0 }),
      ts: (BigInt(Date.now()) * 1000n).toString(),
      rows,
      estimatedRows: rows,
      done: isDone,
      sweep: false,
    };
    return { key: STATE_KEYS.snapshot(TOPIC), value: printState(snapshot) };
  };
  await publisher.write({ slices: [], state: [record(false)] });
  await writeParts(publisher, snapshotParts(rows));
  await publisher.write({ slices: [], state: [record(true)] });
  await publisher.close();
};

/** By the number of the change. */
export type ChangeAt = (at: number) => IdChange;

function* changeParts(count: number, changeAt: ChangeAt, behind: bigint): Generator<Part> {
  let transaction = behind;
  for (let from = 0; from < count; from += TRANSACTION_ROWS) {
    const length = Math.min(TRANSACTION_ROWS, count - from);
    const changes = Array.from({ length }, (_, at) => changeAt(from + at));
    yield { changes, transaction: ++transaction, first: 0 };
  }
}

/** Adds changes, in transactions of 1000, behind whatever the topic holds. */
export const addChanges = async (path: string, count: number, changeAt: ChangeAt): Promise<void> => {
  const publisher = await openTopic(path);
  // Positions only have to rise from one call to the next, as the clock does.
  await writeParts(publisher, changeParts(count, changeAt, BigInt(Date.now()) * 1000n));
  await publisher.close();
};
