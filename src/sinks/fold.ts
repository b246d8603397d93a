// Owns topic -> table for one topic: when to read, when to commit, when a finished snapshot may be swept.
// Knows neither the topic's nor the table's make. Offsets come from the table's own commit and from nowhere
// else.
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import type { Feed, FeedBatch } from '../topic/feed.ts';
import { readState, type SchemaRecord, type SnapshotRecord, STATE_KEYS } from '../topic/state.ts';
import type { CommitReport, FoldContext, TableSink, Upkeep } from './sink.ts';

const READ_BYTES = 8 << 20;
const WAIT_MS = 1000;

type FoldLimits = { intervalMs: number; rows: number; bytes: number };

type FoldOptions = {
  feed: Feed;
  table: TableSink;
  topic: string;
  limits: FoldLimits;
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
  readonly #next = new Map<number, bigint>();
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

  async #commit(state: ReadonlyMap<string, string>): Promise<void> {
    const { feed, table, topic, onCommit } = this.#options;
    const complete =
      this.#complete !== null && this.#reached(this.#complete.ends) ? this.#complete.record : null;
    const context: FoldContext = {
      schema: (id) => feed.schema(id),
      schemas: schemaRecords(state, topic),
      snapshot: complete,
      estimatedRows: readState<SnapshotRecord>(state, STATE_KEYS.snapshot(topic))?.estimatedRows ?? 0,
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
      await durably('table.release', () => feed.release(topic, partition, offset));
    }
  }

  #isDue(atEnd: boolean): boolean {
    const { limits, nowMs, finish } = this.#options;
    const { batches, rows, bytes, sinceMs } = this.#pending;
    const sweepIsDue = this.#complete !== null && this.#reached(this.#complete.ends);
    if (batches.length === 0) return sweepIsDue;
    if (rows >= BigInt(limits.rows) || bytes >= limits.bytes) return true;
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
      if (this.#isDue(atEnd)) {
        // A schema record rides with its first record: it is in any state read after the records were.
        await this.#commit(await feed.state());
        // One step a commit, because a busy topic leaves no other moment.
        do upkeep = await table.maintain();
        while (upkeep === 'behind' && !signal.aborted);
        continue;
      }
      if (finish.aborted && atEnd && this.#pending.batches.length === 0) return;
      if (found) continue;
      if (upkeep !== 'done' && this.#pending.batches.length === 0) {
        upkeep = await table.maintain();
        continue;
      }
      const age = this.#pending.batches.length === 0 ? 0 : nowMs() - this.#pending.sinceMs;
      await feed.changed(
        Math.max(1, Math.min(WAIT_MS, limits.intervalMs - age)),
        AbortSignal.any([signal, finish]),
      );
    }
  }
}

/** Folds until aborted (what was read and not committed is read again later) or until `finish` is reached. */
export const runFold = async (options: FoldOptions, signal: AbortSignal): Promise<void> =>
  new Fold(options).run(signal);
