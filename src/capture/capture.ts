// Owns log -> topic: whole transactions with the checkpoint that covers them; confirms only what is durable.
// Knows no database and no topic implementation.
//   source:   ..BEGIN p1 .. COMMIT r1 | BEGIN p2 .. COMMIT r2 |..     read, not yet safe
//   topic:    [p1 .. p2, checkpoint resume=r2]                        one atomic write
//   confirm:                     r2                                   only when that write is durable
import type { Begin, Idle, LogEvent, ResumePoint, RowChange, Stale, Truncate } from '../change/event.ts';
import { endOfTransaction, formatOrder, type Order, type OrderParts, parseOrder } from '../change/order.ts';
import { tableText } from '../change/schema.ts';
import { atOnce } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import type { Outbox, SharedByEvents } from '../topic/outbox.ts';
import type { PreparedTable } from '../topic/prepared-table.ts';
import type { StateRecord } from '../topic/publisher.ts';
import { type Checkpoint, printState, STATE_KEYS } from '../topic/state.ts';
import type { TableOut } from '../topic/table-outs.ts';
import type { LogChunk, LogReader } from './log-reader.ts';
import { withTicks } from './ticks.ts';

/** Flush when this much waits, even while more is coming. */
const FLUSH_BYTES = 4 << 20;
const PART_MS = 10_000;
const IDLE_CHECKPOINT_MS = 10_000;

export type CaptureOptions = {
  reader: LogReader<PreparedTable>;
  outbox: Outbox;
  epoch: number;
  from: Checkpoint;
  selection: string;
  maxTransactionBytes: number;
  /** A transaction that is still arriving after this long goes out in parts; 10 s if absent. */
  maxTransactionMs?: number;
  topicOf: (table: Stale['table']) => string;
  /** For durations only: must not go back. */
  nowMs: () => number;
  /** Called when `resume` is durable: lag, progress, and whether the end asked for is reached. */
  onDurable: (checkpoint: Checkpoint, events: number) => void;
  /** Tables about to be read again: what makes them stale until then is being mended. By `tableText`. */
  mending?: ReadonlySet<string>;
  /** A heartbeat is published so often, between transactions, whether or not anything comes; 0: none. */
  heartbeatMs?: number;
  /** Stop before the first transaction at or after this position; all before it is durable on return. */
  before?: bigint;
  /** Ends the loop after a durable checkpoint for which this is true. */
  until?: (resume: ResumePoint) => boolean;
};

export class Capture {
  readonly #options: CaptureOptions;
  readonly #checkpoint: Checkpoint;
  /** Its `resume` is printed into the checkpoint only when that is written. */
  #place: { readonly resume: ResumePoint };
  /** The newest transaction's; printed into the checkpoint only when that is written. */
  #commitTs: bigint | null = null;
  /** The newest transaction that was taken whole; likewise. */
  #whole: Omit<OrderParts, 'ordinal'> | null = null;
  #transaction: (SharedByEvents & { begunMs: number; doneOrdinal: number }) | null = null;
  #ordinal = -1;
  #events = 0;
  #written: ResumePoint;
  #idleMs = 0;
  #beatMs = Number.NEGATIVE_INFINITY;
  #finished = false;
  #stopBefore = false;
  #failure: unknown;
  readonly #broken = new AbortController();

  constructor(options: CaptureOptions) {
    this.#options = options;
    this.#checkpoint = { ...options.from, selection: options.selection };
    this.#place = options.from;
    this.#written = options.from.resume;
    if (options.from.part !== null && options.from.selection !== options.selection) {
      throw new VarveError(
        'state_foreign',
        'The selection of tables changed while a large transaction was half published. ' +
          'Put the old `source.tables` back until the pipeline has caught up, then change it.',
      );
    }
  }

  /** Runs until aborted, done (`before`, `until`) or failed. On return everything read whole is durable. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const chunk of this.#chunks(AbortSignal.any([signal, this.#broken.signal]))) {
      for (let event = chunk.next(); event !== null; event = chunk.next()) {
        const wait = this.#take(event);
        if (wait !== null) await wait;
        if (this.#stopBefore) break;
      }
      if (this.#failure !== undefined) throw this.#failure;
      const isWhole = this.#transaction === null || this.#stopBefore;
      if (isWhole && (!chunk.behind || this.#options.outbox.bytes > FLUSH_BYTES)) await this.#flush();
      else if (this.#partIsDue()) await this.#flush();
      if (isWhole && this.#beatIsDue()) await this.#beat();
      if (this.#finished || this.#stopBefore || signal.aborted) break;
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#transaction === null) await this.#flush();
    await this.#options.outbox.settled();
  }

  #chunks(signal: AbortSignal): AsyncIterable<LogChunk<PreparedTable>> {
    const { reader, from, heartbeatMs = 0 } = this.#options;
    const chunks = reader.read(from.resume, signal);
    return heartbeatMs === 0 ? chunks : withTicks(chunks, heartbeatMs);
  }

  #beatIsDue(): boolean {
    const { heartbeatMs = 0, nowMs } = this.#options;
    return heartbeatMs > 0 && !this.#stopBefore && nowMs() - this.#beatMs >= heartbeatMs;
  }

  /** With the checkpoint, as everything: a heartbeat that was read is never taken back. */
  async #beat(): Promise<void> {
    this.#beatMs = this.#options.nowMs();
    await this.#options.outbox.beat();
    await this.#flush();
  }

  /** Null on the common path, so that a row costs no promise. */
  #take(event: LogEvent<PreparedTable>): Promise<void> | null {
    switch (event.kind) {
      case 'row':
        return this.#row(event);
      case 'begin':
        this.#begin(event);
        return null;
      case 'commit':
        this.#options.outbox.end();
        this.#moveTo(event);
        this.#whole = this.#transaction;
        this.#transaction = null;
        return this.#options.outbox.bytes > FLUSH_BYTES ? this.#flush() : null;
      case 'truncate':
        return this.#truncate(event);
      case 'idle':
        return this.#idle(event);
      case 'stale':
        return this.#stale(event);
      default:
        return event satisfies never;
    }
  }

  /** Everything before `resume` was taken whole. */
  #moveTo(place: { readonly resume: ResumePoint }): void {
    this.#place = place;
    this.#checkpoint.part = null;
  }

  #begin({ position, commitTs, txId }: Begin): void {
    const { epoch, before, outbox, nowMs } = this.#options;
    if (before !== undefined && position >= before) {
      this.#stopBefore = true;
      return;
    }
    this.#ordinal = -1;
    const doneOrdinal = this.#doneOrdinal(position);
    const counts = doneOrdinal < 0 ? undefined : this.#checkpoint.part?.counts;
    this.#transaction = { epoch, position, phase: 1, txId, counts, begunMs: nowMs(), doneOrdinal };
    this.#commitTs = commitTs;
    outbox.begin(this.#transaction, commitTs, 'false');
  }

  /** Ordinals up to this one were published before a kill; -1 for a transaction that was not. */
  #doneOrdinal(position: bigint): number {
    const { part } = this.#checkpoint;
    if (part === null) return -1;
    const done = parseOrder(part.order);
    if (done.epoch === this.#options.epoch && done.position === position) return part.ordinal;
    throw new VarveError(
      'history_gap',
      `A transaction that was half published (order ${part.order}) did not come again; the source went on ` +
        `at position ${position.toString(16)}. Its rest is lost: varve snapshot FILE --all ` +
        'reads the tables again.',
      { facts: { expected: part.order, got: position } },
    );
  }

  #row(row: RowChange<PreparedTable>): Promise<void> | null {
    this.#ordinal = row.ordinal;
    const out = this.#options.outbox.find(row.table);
    if (out === undefined) return this.#openAndWrite(row);
    if (this.#isKnown(row.ordinal)) return null;
    return this.#write(out, row);
  }

  #write(out: TableOut, row: RowChange<PreparedTable>): Promise<void> | null {
    try {
      this.#options.outbox.row(out, row);
      this.#events++;
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'null_in_required') throw thrown;
      return this.#relaxAndWrite(row, Number(thrown.facts.column));
    }
    return this.#options.outbox.bytes > this.#options.maxTransactionBytes ? this.#flush() : null;
  }

  // The flyweight row stays as it is: nothing is pulled before these promises resolve.
  async #openAndWrite(row: RowChange<PreparedTable>): Promise<void> {
    const out = await this.#options.outbox.open(row.table, this.#order(row.ordinal));
    if (!this.#isKnown(row.ordinal)) await this.#write(out, row);
  }

  async #relaxAndWrite(row: RowChange<PreparedTable>, column: number): Promise<void> {
    await this.#write(await this.#options.outbox.relax(row.table, column, this.#order(row.ordinal)), row);
  }

  #order(ordinal: number): Order {
    const transaction = this.#transaction;
    if (transaction !== null) return formatOrder({ ...transaction, ordinal });
    throw new VarveError('protocol_error', 'The log reader yielded a change outside a transaction.');
  }

  /** Published before a kill, in a part of this very transaction. */
  #isKnown(ordinal: number): boolean {
    return this.#transaction !== null && ordinal <= this.#transaction.doneOrdinal;
  }

  async #truncate({ tables, ordinal }: Truncate<PreparedTable>): Promise<void> {
    this.#ordinal = ordinal;
    const { outbox } = this.#options;
    for (const table of tables) {
      const out = outbox.find(table) ?? (await outbox.open(table, this.#order(ordinal)));
      if (this.#isKnown(ordinal)) continue;
      outbox.truncate(out, ordinal);
      this.#events++;
    }
  }

  async #idle(idle: Idle): Promise<void> {
    const { resume, isAsked } = idle;
    // The rest of a half published transaction is still to come: what is done of it must stay known.
    if (this.#checkpoint.part !== null) return;
    this.#moveTo(idle);
    const { outbox, until, nowMs } = this.#options;
    const isDue = isAsked || nowMs() - this.#idleMs >= IDLE_CHECKPOINT_MS || until?.(resume) === true;
    if (outbox.isEmpty && !isDue) return;
    this.#idleMs = nowMs();
    await this.#flush();
  }

  async #stale({ table, reason }: Stale): Promise<void> {
    const { topicOf, epoch, outbox, mending } = this.#options;
    if (mending?.has(tableText(table)) === true) return;
    const order = formatOrder({ epoch, position: this.#transaction?.position ?? 0n, phase: 1, ordinal: 0 });
    const record = printState({ table, reason, order });
    await this.#flush([{ key: STATE_KEYS.stale(topicOf(table)), value: record }]);
    await outbox.settled();
    throw new VarveError(
      'table_stale',
      `Rows of ${tableText(table)} changed without events: ${reason}. Its history has a hole from here on. ` +
        `Run varve snapshot FILE ${tableText(table)} to read it again.`,
      { facts: { table: tableText(table), reason } },
    );
  }

  #partIsDue(): boolean {
    const transaction = this.#transaction;
    const { nowMs, maxTransactionMs = PART_MS } = this.#options;
    return transaction !== null && nowMs() - transaction.begunMs > maxTransactionMs;
  }

  async #flush(more: readonly StateRecord[] = []): Promise<void> {
    const { outbox, onDurable, reader, until } = this.#options;
    const transaction = this.#transaction;
    if (transaction !== null && this.#ordinal >= 0 && !this.#stopBefore) {
      transaction.begunMs = this.#options.nowMs();
      const ordinal = Math.max(this.#ordinal, transaction.doneOrdinal);
      const { counts } = outbox;
      this.#checkpoint.part = { order: this.#order(0), ordinal, ...(counts === null ? {} : { counts }) };
    }
    if (this.#commitTs !== null) this.#checkpoint.commitTs = this.#commitTs.toString();
    if (this.#whole !== null) this.#checkpoint.order = endOfTransaction(this.#whole);
    this.#checkpoint.resume = this.#place.resume;
    const checkpoint = { ...this.#checkpoint };
    if (outbox.isEmpty && more.length === 0 && checkpoint.resume === this.#written)
      return this.#checkEnd(checkpoint);
    this.#written = checkpoint.resume;
    const events = this.#events;
    this.#events = 0;
    const { durable } = await outbox.flush([
      { key: STATE_KEYS.checkpoint, value: printState(checkpoint) },
      ...more,
    ]);
    const confirmed = durable.then(
      () => {
        atOnce('source.confirm', () => reader.confirm(checkpoint.resume));
        onDurable(checkpoint, events);
      },
      (cause: unknown) => {
        this.#failure ??= cause;
        this.#broken.abort();
      },
    );
    if (until?.(checkpoint.resume) === true) await confirmed;
    this.#checkEnd(checkpoint);
  }

  #checkEnd(checkpoint: Checkpoint): void {
    if (checkpoint.part === null && this.#options.until?.(checkpoint.resume) === true) this.#finished = true;
  }
}
