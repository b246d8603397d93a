// Owns one table: what it is now, and folding batches into it. Rows, offsets and memory move together in one
// compare-and-set; until that, nothing that was written is visible. Knows neither SQL nor the rules of
// versions.
import { durably } from '../../crash-point.ts';
import { asVarveError, VarveError } from '../../errors.ts';
import type { FeedBatch } from '../../topic/feed.ts';
import type { CommitReport, DeadRecord, FoldContext, OpenedTable, Upkeep } from '../sink.ts';
import { type Change, commit, createTable } from './iceberg/commit.ts';
import { catalogOf, loadTable, summaryValue, type TableState } from './iceberg/table-state.ts';
import { addReports, foldChange, halveBatches, isSweepPast, mergeRequest } from './table-fold.ts';
import { EMPTY_MEMORY, printMemory, readMemory, type TableMemory } from './table-memory.ts';
import type { TableOptions } from './table-options.ts';
import { pausedSince, refusePaused } from './table-pause.ts';
import { newShape, refuseOtherShape, type Shaped, shapeChange, wantedColumns } from './table-shape.ts';
import { TableUpkeep } from './table-upkeep.ts';

/** Merges of one batch while others commit. */
const FOLD_TRIES = 5;

const NOTHING: CommitReport = {
  snapshotId: null,
  events: 0,
  opened: 0,
  closed: 0,
  duplicates: 0,
  late: 0,
  dead: 0,
  conflicts: 0,
  incomplete: 0,
};

export const openTable = async (options: TableOptions): Promise<ParquetTable> => {
  const table = new ParquetTable(options);
  await table.load();
  return table;
};

export class ParquetTable implements OpenedTable {
  readonly #options: TableOptions;
  #state: TableState | null = null;
  #memory: TableMemory = EMPTY_MEMORY;
  readonly #upkeep: TableUpkeep;

  constructor(options: TableOptions) {
    this.#options = options;
    this.#upkeep = new TableUpkeep({ ...options, commit: (...change) => this.#commitChange(...change) });
  }

  /** Reads what the newest version says; everything held so far is forgotten. */
  async load(): Promise<void> {
    const { io, location } = this.#options;
    const state = await loadTable(io, location, this.#state ?? undefined);
    if (state !== null) refuseOtherShape(state, this.#options);
    this.#use(state);
    if (state !== null) this.#upkeep.recall(state);
  }

  #use(state: TableState | null): void {
    this.#state = state;
    this.#memory = state === null ? EMPTY_MEMORY : readMemory((key) => summaryValue(state, key));
  }

  offsets(): ReadonlyMap<number, bigint> {
    return this.#memory.offsets;
  }

  topicId(): string | null {
    return this.#memory.topicId;
  }

  /** What the engine has no memory for at once is folded in parts, unless it must become visible at once. */
  async commit(batches: readonly FeedBatch[], context: FoldContext, topicId: string): Promise<CommitReport> {
    try {
      return await this.#foldSurely(batches, context, topicId);
    } catch (thrown) {
      const parts = context.cut.limit === null ? halveBatches(batches) : null;
      if (parts === null || asVarveError(thrown).kind !== 'engine_memory') throw thrown;
      const partly = { ...context, snapshot: null, cut: { limit: null, whole: null } };
      const first = await this.commit(parts[0], partly, topicId);
      return addReports(first, await this.commit(parts[1], context, topicId));
    }
  }

  /**
   * Another writer that left the offsets alone (a rewrite by hand, another engine's) costs the work of a
   * merge, not the fold.
   */
  async #foldSurely(
    batches: readonly FeedBatch[],
    context: FoldContext,
    topicId: string,
  ): Promise<CommitReport> {
    for (let tries = 1; ; tries++) {
      const before = printMemory(this.#memory);
      try {
        return await this.#fold(batches, context, topicId);
      } catch (thrown) {
        const isLost = asVarveError(thrown).kind !== 'commit_conflict' || this.#state === null;
        const isMoved = JSON.stringify(printMemory(this.#memory)) !== JSON.stringify(before);
        if (isLost || isMoved || tries === FOLD_TRIES) throw thrown;
      }
    }
  }

  async #fold(batches: readonly FeedBatch[], context: FoldContext, topicId: string): Promise<CommitReport> {
    const { snapshot, schemas } = context;
    const options = this.#options;
    const isSwept = snapshot === null || isSweepPast(this.#memory, snapshot, options);
    if (batches.length === 0 && (isSwept || snapshot?.sweep !== true)) return NOTHING;
    const shaped = await this.#shape(context);
    const request = await mergeRequest(shaped, { batches, context, memory: this.#memory }, options);
    const result = await this.#merge(request, context);
    if (result.dead.length > 0) await this.#bury(result.dead);
    const folded = { result, topicId, schema: schemas.at(-1)?.n ?? 0, whole: context.cut.whole };
    const change = await foldChange(shaped, { folded, memory: this.#memory }, options);
    const { expire, properties } = this.#upkeep;
    await this.#commitChange(shaped.state, {
      ...change,
      properties: { ...change.properties, ...properties },
      expire,
    });
    const { noops: _noops, ...counts } = result.counts;
    return { snapshotId: change.snapshot.id, ...counts, dead: result.dead.length };
  }

  /** Throws `record_corrupt` where a record that cannot be folded stops the table. */
  async #bury(dead: readonly DeadRecord[]): Promise<void> {
    const { topic, rules, bury } = this.#options;
    const poison = rules.poison === 'stop' ? dead.find(({ isLate }) => !isLate) : undefined;
    if (poison === undefined) return bury(topic, dead);
    const { partition, offset, reason } = poison;
    throw new VarveError(
      'record_corrupt',
      `The record at offset ${offset} of partition ${partition} of ${topic} cannot be folded: ${reason} ` +
        'on_poison: stop holds the table before it. Set on_poison to dlq, which keeps such records in the ' +
        'dead letters, and start again.',
      { facts: { topic, partition, offset, dead: dead.length } },
    );
  }

  /** The table with the columns and the layout that are asked for; made when it is not there. */
  async #shape({ schemas, estimatedRows }: FoldContext): Promise<Shaped> {
    const options = this.#options;
    const layout = wantedColumns(this.#state, { schemas, known: this.#memory.schema }, options);
    if (this.#state === null) {
      this.#use(await createTable(options.io, options.location, newShape(layout, estimatedRows, options)));
    } else {
      const change = await shapeChange(this.#state, layout, options);
      if (change !== null) await this.#commitChange(this.#state, change);
    }
    if (this.#state === null) throw new VarveError('internal', 'A table that was just made is not there.');
    return { state: this.#state, layout };
  }

  async #merge(request: Awaited<ReturnType<typeof mergeRequest>>, { schema }: FoldContext) {
    const { engine, io } = this.#options;
    using copies = io.store.lease();
    const answers = { localCopy: copies.localCopy, schema };
    return await durably('table.merge', () => engine.merge(request, answers));
  }

  /** After a failure nobody knows the outcome: the table is read again before anything else happens. */
  async #commitChange(state: TableState, change: Change): Promise<TableState> {
    refusePaused(state);
    try {
      const next = await durably('table.commit', () => commit(this.#options.io, state, change));
      this.#use(next);
      return next;
    } catch (thrown) {
      await this.load();
      refusePaused(this.#state);
      throw thrown;
    }
  }

  async maintain(): Promise<Upkeep> {
    if (this.#state === null) return 'done';
    try {
      return await this.#upkeep.step(this.#state, this.#memory.stateFiles);
    } catch (thrown) {
      // Somebody else was at work: what is left to do is seen with the next step.
      if (asVarveError(thrown).kind === 'commit_conflict') return 'more';
      throw thrown;
    }
  }

  /**
   * All the upkeep that there is to do, told step by step; with `dryRun` nothing is done. Throws
   * `table_paused`.
   */
  upkeep({ dryRun }: { dryRun: boolean }) {
    refusePaused(this.#state);
    const current = () => this.#state && { state: this.#state, stateFiles: this.#memory.stateFiles };
    return this.#upkeep.all(current, { dryRun });
  }

  async isPaused(): Promise<boolean> {
    const { io, location } = this.#options;
    const state = this.#state;
    const isNewest = state !== null && (await catalogOf(io).isNewest(state));
    const newest = isNewest ? state : await loadTable(io, location, state ?? undefined);
    return newest !== null && pausedSince(newest) !== null;
  }

  async close(): Promise<void> {
    this.#state = null;
  }
}
