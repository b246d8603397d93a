// Owns an outbox over a topic in memory, writing rows through it, and reading back what it published, by
// partition.
import type { RowChange } from '../../src/change/event.ts';
import { formatOrder } from '../../src/change/order.ts';
import { Outbox } from '../../src/topic/outbox.ts';
import type { OutboxOptions } from '../../src/topic/outbox-options.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import type { EnsuredTopic, Publisher } from '../../src/topic/publisher.ts';
import { readRecords, sealRecords } from '../../src/topic/record-batch.ts';
import type { TableOut } from '../../src/topic/table-outs.ts';
import { type DecodedRecord, decodeBatch } from './golden.ts';
import { MemoryTopic } from './memory-topic.ts';
import { type PlainRow, plainCells } from './plain-table.ts';
import { EMPTY_BLOCK } from './scripted-log.ts';

export const TRANSACTION = { epoch: 1, position: 5n, phase: 1 } as const;
export const FIRST = formatOrder({ ...TRANSACTION, ordinal: 0 });

export const openOutbox = (publisher: Publisher, more: Partial<OutboxOptions> = {}): Outbox =>
  new Outbox({
    publisher,
    prefix: 'test',
    block: EMPTY_BLOCK,
    nowUs: () => 1_795_264_600_123_456n,
    maxInFlightBytes: 1 << 25,
    pack: (taken) => sealRecords(taken, null),
    ...more,
  });

type Undecoded = { key: string; headers: Record<string, string> };

type OutboxBench = {
  topic: MemoryTopic;
  /** Another one over the same topic, as after a start. */
  open(more?: Partial<OutboxOptions>): Outbox;
  /** What each partition holds, in order. */
  read(topic: string): DecodedRecord[][];
  /** The same of a topic whose keys are no Avro. */
  readUndecoded(topic: string): Undecoded[];
  /** Sizes of the batches of each partition. */
  sizes(topic: string): number[][];
};

const undecoded = (batch: Uint8Array): Undecoded[] => {
  const found: Undecoded[] = [];
  readRecords(batch, (view) => {
    const headers = view.headers().map(([name, value]) => [name, Buffer.from(value ?? []).toString()]);
    const key = Buffer.from(view.bytes.subarray(view.keyStart, view.keyEnd)).toString();
    found.push({ key, headers: Object.fromEntries(headers) });
  });
  return found;
};

export const outboxBench = (limits?: Omit<EnsuredTopic, 'partitions' | 'id'>): OutboxBench => {
  const topic = new MemoryTopic(limits);
  const batchesOf = (name: string): Uint8Array[][] =>
    topic.topic(name).partitions.map(({ batches }) => batches.map(({ batch }) => batch));
  const schemaOf = (id: number): string => topic.schemas[id - 1] ?? `no schema ${id}`;
  return {
    topic,
    open: (more) => openOutbox(topic.publisher(), more),
    read: (name) =>
      batchesOf(name).map((batches) => batches.flatMap((one) => decodeBatch(name, one, schemaOf))),
    readUndecoded: (name) => batchesOf(name).flat().flatMap(undecoded),
    sizes: (name) => batchesOf(name).map((batches) => batches.map(({ length }) => length)),
  };
};

type Row = { op?: 'c' | 'u' | 'd'; before?: PlainRow; after?: PlainRow; moved?: boolean };

export const makeRow = (
  ordinal: number,
  { op = 'c', before, after, moved = false }: Row,
): RowChange<unknown> => ({
  kind: 'row',
  op,
  table: null,
  ordinal,
  before: before === undefined ? null : plainCells(before),
  beforeIsKey: op === 'd' || moved,
  after: after === undefined ? null : plainCells(after),
  keyChanged: moved,
});

/** One table's rows on their way, counted. */
type Writing = { outbox: Outbox; out: TableOut; ordinal: number };

export const begin = async (outbox: Outbox, table: PreparedTable): Promise<Writing> => {
  const out = await outbox.open(table, FIRST);
  outbox.begin(TRANSACTION, 7n, 'false');
  return { outbox, out, ordinal: 0 };
};

export const write = (writing: Writing, row: Row): void =>
  writing.outbox.row(writing.out, makeRow(writing.ordinal++, row));

export const flush = async ({ outbox }: Writing): Promise<void> => {
  await outbox.flush([]);
  await outbox.settled();
};
