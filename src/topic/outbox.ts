// Owns what waits to be published and goes out as one atomic write, and how much is in flight. Knows neither
// where changes come from nor what a transaction means; it never splits one atomic write.
import type { RowChange } from '../change/event.ts';
import { formatOrder, type Order, type OrderParts } from '../change/order.ts';
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import { Batches } from './batches.ts';
import { Change, type EventCounts } from './envelope-change.ts';
import type { OversizedRule } from './envelope-oversized.ts';
import type { OutboxOptions } from './outbox-options.ts';
import { HeartbeatTopic, type OpenTopic, TransactionTopic } from './own-topics.ts';
import type { PreparedTable, SnapshotMark } from './prepared-table.ts';
import type { Slice, StateRecord } from './publisher.ts';
import { type TableOut, TableOuts } from './table-outs.ts';

/** One is being made durable, one waits: small changes that arrive meanwhile share the next one's sync. */
const MAX_IN_FLIGHT_WRITES = 2;

/** Who encodes a value does not know whose it is. */
const withTopic = (thrown: unknown, topic: string): unknown => {
  if (!(thrown instanceof VarveError) || thrown.kind !== 'value_unsupported') return thrown;
  const facts = { ...thrown.facts, topic };
  return new VarveError(thrown.kind, `A change of ${topic}: ${thrown.message}`, { facts, cause: thrown });
};

const writeChange = ({ topic, writer, partitions }: TableOut, change: Change): void => {
  try {
    writer.write(partitions, change);
  } catch (thrown) {
    throw withTopic(thrown, topic);
  }
};

/** `txId`: the source's; absent: its events are never numbered. `counts`: what of it was published before. */
export type SharedByEvents = Omit<OrderParts, 'ordinal'> & {
  txId?: string;
  counts?: EventCounts | undefined;
};

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #batches: Batches;
  readonly #tables: TableOuts;
  readonly #state: StateRecord[] = [];
  readonly #change = new Change();
  #transactions: TransactionTopic | null = null;
  #heartbeats: HeartbeatTopic | null = null;
  /** Of the transaction under way, where they are numbered; null between transactions. */
  #boundary: { id: string; isBegun: boolean } | null = null;
  /** The clock of all that goes out together; asked when its first transaction begins. */
  #nowUs = 0n;
  /** Values on their way to where they are kept. */
  #claimed: Promise<void>[] = [];
  #inFlightBytes = 0;
  /** Writes handed over and not durable yet, oldest first; none of them rejects. */
  readonly #inFlight: Promise<void>[] = [];
  /** Resolves when all flushed so far was given to the publisher. */
  #handedOver: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#batches = new Batches(options.pack);
    const batches = this.#batches;
    this.#tables = new TableOuts({ options, batches, oversizedRule: (table) => this.#oversizedRule(table) });
  }

  /** Bytes of records that the next flush will write. */
  get bytes(): number {
    return this.#batches.bytes;
  }

  get isEmpty(): boolean {
    return this.#batches.bytes === 0 && this.#state.length === 0;
  }

  /** Events of the transaction under way by table; null where they are not numbered. */
  get counts(): EventCounts | null {
    return this.#boundary === null ? null : this.#change.counts;
  }

  /** The table's writer, if it was opened. */
  find(table: PreparedTable): TableOut | undefined {
    return this.#tables.find(table);
  }

  /**
   * Registers schemas, makes the topic. The schema record, from `first` on, goes with the next flush. Throws
   * `key_changed`, `topic_changed`, `name_collision`, and what the publisher refuses.
   */
  async open(table: PreparedTable, first: Order): Promise<TableOut> {
    const { transactionTopic = false } = this.#options;
    if (transactionTopic && this.#transactions === null)
      this.#transactions = await TransactionTopic.open(this.#ownTopic);
    const { out, state } = await this.#tables.open(table, first);
    if (state !== null) this.#state.push(state);
    return out;
  }

  /** From now on `column` of `table` is optional: a NULL came where its schema said none could. */
  async relax(table: PreparedTable, column: number, first: Order): Promise<TableOut> {
    const { out, state } = await this.#tables.relax(table, column, first);
    if (state !== null) this.#state.push(state);
    return out;
  }

  get #ownTopic() {
    const { publisher, prefix, subjects = 'topic_name' } = this.#options;
    return { publisher, prefix, subjects, openTopic: this.#openTopic };
  }

  readonly #openTopic: OpenTopic = async (topic) => {
    const ensured = await this.#options.publisher.ensureTopic(topic, { partitions: 1 });
    const [builder] = this.#batches.of(topic, ensured);
    if (builder !== undefined && ensured.partitions === 1) return builder;
    throw new VarveError(
      'topic_unfit',
      `${topic} has ${ensured.partitions} partitions; it has an order to keep, so it must have one.`,
      { facts: { topic, partitions: ensured.partitions } },
    );
  };

  /** What the next rows share. */
  begin(transaction: SharedByEvents, commitTs: bigint, snapshot: SnapshotMark): void {
    if (this.#batches.bytes === 0) this.#nowUs = this.#options.nowUs();
    const facts = { commitTs, snapshot, nowUs: this.#nowUs };
    const { txId, position, counts } = transaction;
    if (this.#options.transactionTopic !== true || txId === undefined) {
      this.#change.begin(transaction, facts);
      return;
    }
    const id = `${txId}:${position}`;
    this.#change.begin(transaction, { ...facts, boundary: { id, counts: counts ?? {} } });
    this.#boundary = { id, isBegun: counts !== undefined };
  }

  /** The transaction is whole. One without an event has no boundaries. */
  end(): void {
    const boundary = this.#boundary;
    if (boundary === null) return;
    this.#markBegin();
    if (boundary.isBegun) this.#mark(boundary.id, this.#change.counts);
    this.#boundary = null;
  }

  #markBegin(): void {
    const boundary = this.#boundary;
    if (boundary === null || boundary.isBegun || this.#change.totalOrder === 0) return;
    boundary.isBegun = true;
    this.#mark(boundary.id, null);
  }

  #mark(id: string, counts: EventCounts | null): void {
    const { commitTs, nowMs } = this.#change;
    this.#transactions?.write({ id, counts, tsMs: Number(commitTs / 1000n), nowMs });
  }

  /** Throws `null_in_required` with nothing written; everything else of the batch stays as it was. */
  row(out: TableOut, row: RowChange<unknown>): void {
    writeChange(out, this.#change.setRow(row));
  }

  truncate(out: TableOut, ordinal: number): void {
    writeChange(out, this.#change.setTruncate(ordinal));
  }

  /** A heartbeat goes with the next flush. Not within a transaction. */
  async beat(): Promise<void> {
    const { nowUs } = this.#options;
    this.#heartbeats ??= await HeartbeatTopic.open(this.#ownTopic);
    this.#heartbeats.write(Number(nowUs() / 1000n));
  }

  async #oversizedRule(table: PreparedTable['schema']['name']): Promise<OversizedRule> {
    const { oversizedOf, claims, prefix } = this.#options;
    const policy = oversizedOf?.(table) ?? 'stop';
    if (policy === 'dead_letter') return { policy, grave: await this.#openTopic(`${prefix}.varve.dead`) };
    if (policy !== 'claim_check') return { policy };
    if (claims !== undefined) return { policy, claim: (name, value) => this.#claim(name, value) };
    throw new VarveError(
      'config_invalid',
      `Values of ${table.join('.')} that are too large are to be kept elsewhere (claim_check), but no ` +
        'place was given. Name one: topic.claim_check.location.',
    );
  }

  #claim(name: string, value: Uint8Array): string {
    const { claims } = this.#options;
    if (claims === undefined)
      throw new VarveError('internal', 'A value was to be kept, but there is no place.');
    const put = claims.put(name, value);
    put.catch(() => undefined);
    this.#claimed.push(put);
    this.#batches.addBytes(value.length);
    return claims.locate(name);
  }

  /**
   * Hands everything over as one atomic write with `state`. Waits only for room; `durable` of the answer
   * resolves when it is on disk. A write that failed fails every later flush.
   */
  async flush(state: readonly StateRecord[]): Promise<{ durable: Promise<void> }> {
    this.#markBegin();
    const { bytes } = this.#batches;
    const packing = this.#pack();
    packing.catch(() => undefined);
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

  /** What waits, as batches; values that are kept elsewhere are there before the records that say where. */
  async #pack(): Promise<Slice[]> {
    const claimed = this.#claimed;
    if (claimed.length > 0) this.#claimed = [];
    const slices = await this.#batches.take();
    await Promise.all(claimed);
    return slices;
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
