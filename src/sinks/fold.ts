// Owns topic -> table for one topic: when to read, when to commit, when a finished snapshot may be swept.
// Knows neither the topic's nor the table's make. Offsets come from the table's own commit and from nowhere
// else.
import { endOfTransaction, parseOrder } from '../change/order.ts';
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import type { Feed, FeedBatch } from '../topic/feed.ts';
import { readState, type SchemaRecord, type SnapshotRecord, STATE_KEYS } from '../topic/state.ts';
import { chooseCut, wholeUpTo } from './cut.ts';
import type { CommitReport, FoldContext, FoldCut, TableSink, Upkeep } from './sink.ts';

const READ_BYTES = 8 << 20;
const WAIT_MS = 1000;
/** So many times the bytes of a commit may wait for the end of one transaction. */
const HELD_COMMITS = 4;

type FoldLimits = { intervalMs: number; rows: number; bytes: number };

type FoldOptions = {
  feed: Feed;
  table: TableSink;
  topic: string;
  limits: FoldLimits;
  /** Each commit holds whole transactions, but for the rows of a snapshot that is being read. */
  consistent: boolean;
  /** For durations only: must not go back. */
  nowMs: () => number;
  onCommit: (report: CommitReport, offsets: ReadonlyMap<number, bigint>) => void;
  /** Once aborted, fold up to the topic's end as it is then, commit, and return. */
  finish: AbortSignal;
};

type Pending = { batches: FeedBatch[]; rows: bigint; bytes: number; sinceMs: number };

const none = (): Pending => ({ batches: [], rows: 0n, bytes: 0, sinceMs: 0 });

/** All schema records of a topic, by rising number. */
export const schemaRecords = (state: ReadonlyMap<string, string>, topic: string): SchemaRecord[] =>
  [...state.keys()]
    .filter((key) => key.startsWith(STATE_KEYS.schemasOf(topic)))
    .map((key) => readState<SchemaRecord>(state, key))
    .filter((record) => record !== null)
    .sort((a, b) => a.n - b.n);

class Fold {
  readonly #options: FoldOptions;
  /** Where to read on, by partition. */
  readonly #next = new Map<number, bigint>();
  /** The same, of what is in the table or was there to begin with. */
  readonly #taken = new Map<number, bigint>();
  #pending = none();
  #topicId = '';
  #partitions = 0;
  /** A complete snapshot and the ends below which all its rows lie; null when none waits. */
  #complete: { record: SnapshotRecord; ends: Map<number, bigint> } | null = null;
  #handled = '';
  #target: Map<number, bigint> | null = null;

  constructor(options: FoldOptions) {
    this.#options = options;
  }

  async #open(): Promise<void> {
    const { feed, table, topic } = this.#options;
    this.#topicId = await feed.topicId(topic);
    this.#partitions = await feed.partitions(topic);
    const known = table.topicId();
    if (known !== null && known !== this.#topicId) {
      throw new VarveError(
        'topic_changed',
        `${topic} is not the topic that its table was folded from (${known} then, ${this.#topicId} now): ` +
          'it was deleted and made again. Put the old topic directory back, or move the table away and ' +
          'let it be built anew.',
        { facts: { topic, before: known, now: this.#topicId } },
      );
    }
    for (let partition = 0; partition < this.#partitions; partition++) {
      const offset = table.offsets().get(partition) ?? (await feed.ends(topic, partition)).start;
      this.#next.set(partition, offset);
      this.#taken.set(partition, offset);
    }
  }

  async #ends(): Promise<Map<number, bigint>> {
    const ends = new Map<number, bigint>();
    for (const partition of this.#next.keys()) {
      ends.set(partition, (await this.#options.feed.ends(this.#options.topic, partition)).end);
    }
    return ends;
  }

  #reached(ends: ReadonlyMap<number, bigint>): boolean {
    return [...ends].every(([partition, end]) => (this.#next.get(partition) ?? 0n) >= end);
  }

  async #read(): Promise<boolean> {
    const { feed, topic, nowMs } = this.#options;
    let found = false;
    for (const [partition, from] of this.#next) {
      const batch = await feed.read(topic, partition, { from, maxBytes: READ_BYTES });
      if (batch.nextOffset === from) continue;
      found = true;
      if (this.#pending.batches.length === 0) this.#pending.sinceMs = nowMs();
      this.#pending.batches.push(batch);
      this.#pending.rows += batch.nextOffset - from;
      for (const bytes of batch.batches) this.#pending.bytes += bytes.length;
      this.#next.set(partition, batch.nextOffset);
    }
    return found;
  }

  /** State is read before the ends, so that a marker seen here has all its rows below them. */
  async #lookForSnapshot(state: ReadonlyMap<string, string>): Promise<void> {
    const record = readState<SnapshotRecord>(state, STATE_KEYS.snapshot(this.#options.topic));
    if (record === null || !record.done || record.order === this.#handled) return;
    if (this.#complete?.record.order === record.order) return;
    this.#complete = { record, ends: await this.#ends() };
  }

  #isFull(): boolean {
    const { rows, bytes } = this.#options.limits;
    return this.#pending.rows >= BigInt(rows) || this.#pending.bytes >= bytes;
  }

  /** How much of what waits goes into the next commit; null: none of it may yet. */
  async #choose(state: ReadonlyMap<string, string>): Promise<FoldCut | null> {
    const { topic, consistent } = this.#options;
    const whole = wholeUpTo(state, topic);
    const ends = await this.#ends();
    const isAll = (): boolean => this.#reached(ends);
    if (consistent) while (!isAll() && !this.#isFull() && (await this.#read()));
    if (!consistent || this.#pending.batches.length === 0)
      return { limit: null, whole: isAll() ? whole.order : null };
    const { batches } = this.#pending;
    const waiting = [...this.#next].map(([partition, next]) => ({
      from: this.#taken.get(partition) ?? 0n,
      batches: batches.filter((one) => one.partition === partition).flatMap((one) => one.batches),
      isAll: next >= (ends.get(partition) ?? 0n),
    }));
    return chooseCut(waiting, whole);
  }

  /** Throws `transaction_too_large`. */
  #refuseToHold(): void {
    const { topic, limits } = this.#options;
    const most = limits.bytes * HELD_COMMITS;
    if (this.#pending.bytes <= most) return;
    throw new VarveError(
      'transaction_too_large',
      `A transaction of more than ${most} bytes in ${topic} cannot go into one commit, as consistent: ` +
        'true asks. Raise commit_bytes, a quarter of what may wait, or set consistent to false for this ' +
        'table until it is through.',
      { facts: { topic, bytes: this.#pending.bytes, most } },
    );
  }

  /** False: what waits stays in the topic for now. */
  async #commit(): Promise<boolean> {
    const { feed, table, topic, onCommit } = this.#options;
    // A schema record rides with its first record: it is in any state read after the records were.
    const state = await feed.state();
    const cut = await this.#choose(state);
    if (cut === null) {
      this.#refuseToHold();
      return false;
    }
    const complete = this.#completeIn(cut);
    const context: FoldContext = {
      schema: (id) => feed.schema(id),
      schemas: schemaRecords(await feed.state(), topic),
      snapshot: complete,
      estimatedRows: readState<SnapshotRecord>(state, STATE_KEYS.snapshot(topic))?.estimatedRows ?? 0,
      cut,
    };
    const { batches } = this.#pending;
    this.#pending = none();
    const report = await table.commit(batches, context, this.#topicId);
    if (complete !== null) {
      this.#handled = complete.order;
      this.#complete = null;
    }
    onCommit(report, table.offsets());
    for (const [partition, offset] of table.offsets()) {
      this.#taken.set(partition, offset);
      await durably('table.release', () => feed.release(topic, partition, offset));
    }
    // What lay above the cut is read again.
    if (cut.limit !== null) for (const [partition, offset] of this.#taken) this.#next.set(partition, offset);
    return true;
  }

  /** The snapshot whose last row is in this commit or was in one before. */
  #completeIn({ limit }: FoldCut): SnapshotRecord | null {
    if (this.#complete === null || !this.#reached(this.#complete.ends)) return null;
    const { record } = this.#complete;
    return limit === null || limit >= endOfTransaction(parseOrder(record.order)) ? record : null;
  }

  #isDue(atEnd: boolean): boolean {
    const { limits, nowMs, finish } = this.#options;
    const { batches, sinceMs } = this.#pending;
    const sweepIsDue = this.#complete !== null && this.#reached(this.#complete.ends);
    if (batches.length === 0) return sweepIsDue;
    if (this.#isFull()) return true;
    return nowMs() - sinceMs >= limits.intervalMs || (finish.aborted && atEnd);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { feed, table, limits, nowMs, finish } = this.#options;
    await this.#open();
    let upkeep: Upkeep = 'more';
    while (!signal.aborted) {
      const state = await feed.state();
      await this.#lookForSnapshot(state);
      const found = await this.#read();
      if (finish.aborted) this.#target ??= await this.#ends();
      const atEnd = this.#target === null ? !found : this.#reached(this.#target);
      const isDue = this.#isDue(atEnd);
      if (isDue && (await this.#commit())) {
        // One step a commit, because a busy topic leaves no other moment.
        do upkeep = await table.maintain();
        while (upkeep === 'behind' && !signal.aborted);
        continue;
      }
      if (finish.aborted && atEnd && (isDue || this.#pending.batches.length === 0)) return;
      if (found) continue;
      if (upkeep !== 'done' && this.#pending.batches.length === 0) {
        upkeep = await table.maintain();
        continue;
      }
      const age = this.#pending.batches.length === 0 ? 0 : nowMs() - this.#pending.sinceMs;
      await feed.changed(
        isDue ? WAIT_MS : Math.max(1, Math.min(WAIT_MS, limits.intervalMs - age)),
        AbortSignal.any([signal, finish]),
      );
    }
  }
}

/** Folds until aborted (what was read and not committed is read again later) or until `finish` is reached. */
export const runFold = async (options: FoldOptions, signal: AbortSignal): Promise<void> =>
  new Fold(options).run(signal);
