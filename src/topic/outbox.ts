// Owns what waits to be published: a batch a topic, the schemas it needs, and how much is in flight.
// Knows neither where changes come from nor what a transaction is; it never splits one atomic write.
import type { RowChange } from '../change/event.ts';
import { formatOrder, type Order, type OrderParts } from '../change/order.ts';
import type { TableName, TableSchema } from '../change/schema.ts';
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import { EnvelopeWriter, prepareEnvelope } from './envelope.ts';
import { Change } from './envelope-change.ts';

import { claimTopic } from './naming.ts';
import type { PreparedTable, SnapshotMark, SourceBlock } from './prepared-table.ts';
import type { Publisher, Slice, StateRecord } from './publisher.ts';
import { RecordBatchBuilder, type TakenRecords } from './record-batch.ts';
import { printState, type SchemaRecord, STATE_KEYS } from './state.ts';

/** One is being made durable, one waits: small changes that arrive meanwhile share the next one's sync. */
const MAX_IN_FLIGHT_WRITES = 2;

type OutboxOptions = {
  publisher: Publisher;
  /** First part of every topic's name. */
  prefix: string;
  block: SourceBlock;
  /** Microseconds since 1970-01-01 UTC. */
  nowUs: () => bigint;
  /** Bytes that may wait for the publisher before `flush` waits. */
  maxInFlightBytes: number;
  /** Makes a batch of records; they stay as they are until it resolves. */
  pack: (taken: TakenRecords) => Promise<Uint8Array>;
};

/** A table as it is published now: valid for one schema. */
export type TableOut = {
  readonly topic: string;
  readonly table: PreparedTable;
  readonly writer: EnvelopeWriter;
  /** The topic's own: shared by all that its table was and is. */
  readonly builder: RecordBatchBuilder;
};

/** Who writes a record does not know whose it is. */
const withTopic = (thrown: unknown, topic: string): unknown => {
  if (!(thrown instanceof VarveError) || thrown.kind !== 'value_unsupported') return thrown;
  const facts = { ...thrown.facts, topic };
  return new VarveError(thrown.kind, `A change of ${topic}: ${thrown.message}`, { facts, cause: thrown });
};

const sameShape = (known: SchemaRecord, next: Omit<SchemaRecord, 'n' | 'first'>): boolean =>
  JSON.stringify([known.columns, known.fields, known.key, known.keyId, known.valueId]) ===
  JSON.stringify([next.columns, next.fields, next.key, next.keyId, next.valueId]);

const keyText = (schema: Pick<SchemaRecord, 'columns' | 'key'> | TableSchema): string =>
  schema.key.map((at) => schema.columns[at]?.name).join(', ') || 'none';

const refuseOtherKey = (topic: string, known: SchemaRecord, schema: TableSchema): void => {
  const before = known.key.map((at) => known.columns[at]?.id).join();
  const after = schema.key.map((at) => schema.columns[at]?.id).join();
  if (before === after) return;
  throw new VarveError(
    'key_changed',
    `The key of ${topic} changed from (${keyText(known)}) to (${keyText(schema)}). Its rows can no longer ` +
      'be told apart as before. Run varve reset FILE --yes, move its table away and start again.',
    { facts: { topic, before: keyText(known), after: keyText(schema) } },
  );
};

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #builders = new Map<string, RecordBatchBuilder>();
  readonly #outs = new Map<PreparedTable, TableOut>();
  readonly #schemas = new Map<string, SchemaRecord>();
  readonly #state: StateRecord[] = [];
  readonly #change = new Change();
  readonly #claims = new Map<string, TableName>();
  #last: TableOut | undefined;
  /** The clock of all that goes out together; asked when its first transaction begins. */
  #nowUs = 0n;
  #bytes = 0;
  #inFlightBytes = 0;
  /** Writes handed over and not durable yet, oldest first; none of them rejects. */
  readonly #inFlight: Promise<void>[] = [];
  /** Resolves when all flushed so far was given to the publisher. */
  #handedOver: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(options: OutboxOptions) {
    this.#options = options;
    for (const [key, text] of options.publisher.state()) {
      if (!key.startsWith('schema/')) continue;
      const record = JSON.parse(text) as SchemaRecord;
      const topic = key.slice('schema/'.length, key.lastIndexOf('/'));
      if ((this.#schemas.get(topic)?.n ?? 0) < record.n) this.#schemas.set(topic, record);
    }
  }

  /** Bytes of records that the next flush will write. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0 && this.#state.length === 0;
  }

  /** The table's writer, if it was opened. */
  find(table: PreparedTable): TableOut | undefined {
    if (this.#last?.table === table) return this.#last;
    const found = this.#outs.get(table);
    if (found) this.#last = found;
    return found;
  }

  /** Registers schemas, makes the topic. The schema record, from `first` on, goes with the next flush. */
  async open(table: PreparedTable, first: Order): Promise<TableOut> {
    const { publisher, prefix, block } = this.#options;
    claimTopic(this.#claims, prefix, table.schema.name);
    const prepared = prepareEnvelope({ prefix, table, source: block });
    const { topic, keySchema, valueSchema } = prepared;
    const known = this.#schemas.get(topic);
    if (known) refuseOtherKey(topic, known, table.schema);
    await publisher.ensureTopic(topic, { partitions: 1 });
    const keyId = keySchema === null ? null : await publisher.registerSchema(prepared.keySubject, keySchema);
    const valueId = await publisher.registerSchema(prepared.valueSubject, valueSchema);
    const { name, columns, key } = table.schema;
    const next = {
      table: name,
      columns: [...columns],
      fields: prepared.fields,
      key: [...key],
      keyId,
      valueId,
    };
    if (known === undefined || !sameShape(known, next)) {
      const record: SchemaRecord = { ...next, n: (known?.n ?? 0) + 1, first };
      this.#schemas.set(topic, record);
      this.#state.push({ key: STATE_KEYS.schema(topic, record.n), value: printState(record) });
    }
    const writer = new EnvelopeWriter(prepared, { keyId, valueId });
    const out: TableOut = { topic, table, writer, builder: this.#builder(topic) };
    this.#outs.set(table, out);
    return out;
  }

  /** From now on `column` of `table` is optional: a NULL came where its schema said none could. */
  async relax(table: PreparedTable, column: number, first: Order): Promise<TableOut> {
    const out = await this.open(table.relax(column), first);
    this.#outs.set(table, out);
    this.#last = undefined;
    return out;
  }

  /** What the next rows share. */
  begin(transaction: Omit<OrderParts, 'ordinal'>, commitTs: bigint, snapshot: SnapshotMark): void {
    if (this.#bytes === 0) this.#nowUs = this.#options.nowUs();
    this.#change.begin(transaction, { commitTs, snapshot, nowUs: this.#nowUs });
  }

  /** Throws `null_in_required` with nothing written; everything else of the batch stays as it was. */
  row(out: TableOut, row: RowChange<unknown>): void {
    this.#write(out, this.#change.setRow(row));
  }

  truncate(out: TableOut, ordinal: number): void {
    this.#write(out, this.#change.setTruncate(ordinal));
  }

  #write({ topic, writer, builder }: TableOut, change: Change): void {
    const before = builder.size;
    try {
      writer.write(builder, change);
    } catch (thrown) {
      throw withTopic(thrown, topic);
    }
    this.#bytes += builder.size - before;
  }

  #builder(topic: string): RecordBatchBuilder {
    const known = this.#builders.get(topic);
    if (known) return known;
    const made = new RecordBatchBuilder();
    this.#builders.set(topic, made);
    return made;
  }

  /**
   * Hands everything over as one atomic write with `state`. Waits only for room; `durable` of the answer
   * resolves when it is on disk. A write that failed fails every later flush.
   */
  async flush(state: readonly StateRecord[]): Promise<{ durable: Promise<void> }> {
    const bytes = this.#bytes;
    const packing = this.#pack();
    packing.catch(() => undefined);
    this.#bytes = 0;
    const all = [...this.#state.splice(0), ...state];
    while (this.#isFull(bytes)) await this.#inFlight[0];
    if (this.#failure !== undefined) throw this.#failure;
    this.#inFlightBytes += bytes;
    // Packed in any order, handed over in this one.
    const turn = Promise.all([packing, this.#handedOver]);
    const written = turn.then(([slices]) => {
      return { done: durably('topic.write', () => this.#options.publisher.write({ slices, state: all })) };
    });
    // Rejects for those behind it, too: nothing may be published after a hole.
    this.#handedOver = written.then(() => undefined);
    this.#handedOver.catch(() => undefined);
    const durable = written
      .then(({ done }) => done)
      .then(
        () => {
          this.#inFlightBytes -= bytes;
        },
        (cause: unknown) => {
          this.#failure = cause;
          this.#inFlightBytes = 0;
          throw cause;
        },
      );
    const settled = durable.then(
      () => undefined,
      () => undefined,
    );
    this.#inFlight.push(settled);
    void settled.then(() => this.#inFlight.shift());
    return { durable };
  }

  /** What waits, as batches. */
  async #pack(): Promise<Slice[]> {
    const filled = [...this.#builders].filter(([, builder]) => builder.records > 0);
    return Promise.all(
      filled.map(async ([topic, builder]) => {
        const taken = builder.take();
        const batch = await this.#options.pack(taken);
        builder.recycle(taken);
        return { topic, partition: 0, batch, records: taken.records };
      }),
    );
  }

  #isFull(bytes: number): boolean {
    if (this.#inFlight.length === 0 || this.#failure !== undefined) return false;
    const isOver = this.#inFlightBytes + bytes > this.#options.maxInFlightBytes;
    return isOver || this.#inFlight.length >= MAX_IN_FLIGHT_WRITES;
  }

  /** Resolves when everything flushed so far is durable. */
  async settled(): Promise<void> {
    await Promise.all(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** The order of a table's snapshot itself: its rows follow with ordinals from 1. */
export const snapshotOrder = (epoch: number, position: bigint): Order =>
  formatOrder({ epoch, position, phase: 0, ordinal: 0 });
