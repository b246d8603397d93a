// Owns one table: what it is now, and folding batches into it. Rows, offsets and memory move together in one
// compare-and-set; until that, nothing that was written is visible. Knows neither SQL nor the rules of
// versions.
import { durably } from '../../crash-point.ts';
import { VarveError } from '../../errors.ts';
import type { FeedBatch } from '../../topic/feed.ts';
import type { CommitReport, FoldContext, TableSink, Upkeep } from '../sink.ts';
import { layoutColumns, type TableLayout } from './columns-layout.ts';
import type { MergeResult } from './engine/protocol.ts';
import { type Change, commit, createTable } from './iceberg/commit.ts';
import { liveFiles, loadTable, summaryValue, type TableState } from './iceberg/table-state.ts';
import { adoptFiles, choosePartition, layoutProperties, storedFiles, storedLayout } from './stored-table.ts';
import {
  advanceClock,
  EMPTY_MEMORY,
  horizonOf,
  keptBarriers,
  printMemory,
  readMemory,
  type TableMemory,
} from './table-memory.ts';
import type { TableOptions } from './table-options.ts';
import { TableUpkeep } from './table-upkeep.ts';

const NOTHING: CommitReport = {
  snapshotId: null,
  events: 0,
  opened: 0,
  closed: 0,
  duplicates: 0,
  late: 0,
  dead: 0,
};

export const openTable = async (options: TableOptions): Promise<ParquetTable> => {
  const table = new ParquetTable(options);
  await table.load();
  return table;
};

export class ParquetTable implements TableSink {
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

  async commit(batches: readonly FeedBatch[], context: FoldContext, topicId: string): Promise<CommitReport> {
    const { snapshot, schemas } = context;
    const isSwept = snapshot === null || this.#isPast(snapshot);
    if (batches.length === 0 && (isSwept || snapshot?.sweep !== true)) return NOTHING;
    const { state, layout } = await this.#prepare(schemas, context);
    const result = await this.#merge(state, layout, { batches, context });
    if (result.dead.length > 0) await this.#options.bury(this.#options.topic, result.dead);
    const snapshotId = await this.#commitMerge(state, layout, {
      result,
      topicId,
      schema: schemas.at(-1)?.n ?? 0,
    });
    const { events, opened, closed, duplicates, late } = result.counts;
    return { snapshotId, events, opened, closed, duplicates, late, dead: result.dead.length };
  }

  /** A sweep that was done, or that lies so far back that nothing it could close is left. */
  #isPast({ order: sweep }: NonNullable<FoldContext['snapshot']>): boolean {
    const horizon = horizonOf(this.#memory, BigInt(this.#options.rules.lateWindowMs) * 1000n);
    return (
      this.#memory.barriers.some(({ order }) => order === sweep) || (horizon !== null && sweep <= horizon)
    );
  }

  /** The table with the columns that the newest schema asks for; made when it is not there. */
  async #prepare(
    schemas: FoldContext['schemas'],
    context: FoldContext,
  ): Promise<{ state: TableState; layout: TableLayout }> {
    const { io, location } = this.#options;
    let layout = this.#state === null ? null : storedLayout(this.#state);
    for (const record of schemas) if (record.n > this.#memory.schema) layout = layoutColumns(record, layout);
    const newest = schemas.at(-1);
    if (layout === null || newest === undefined) {
      throw new VarveError(
        'schema_unknown',
        `${this.#options.topic} has records, but no schema record names its columns.`,
      );
    }
    if (this.#state === null) {
      const made = await createTable(io, location, {
        columns: layout.fields,
        partition: choosePartition(newest, layout, context.estimatedRows),
        properties: layoutProperties(layout),
      });
      this.#use(made);
    }
    if (this.#state === null) throw new VarveError('internal', 'A table that was just made is not there.');
    return { state: this.#state, layout };
  }

  async #merge(
    state: TableState,
    layout: TableLayout,
    { batches, context }: { batches: readonly FeedBatch[]; context: FoldContext },
  ): Promise<MergeResult> {
    const { engine, io, stateLocation, rules } = this.#options;
    const { collapse, lateWindowMs } = rules;
    const { snapshot, schemas } = context;
    const { offsets, barriers, highs, stateFiles } = this.#memory;
    const request = {
      ...(await storedFiles(io.store, state, layout)),
      commit: io.uuid(),
      stateLocation,
      state: stateFiles,
      batches: batches.map(({ partition, batches: bytes }) => ({
        partition,
        from: offsets.get(partition) ?? 0n,
        batches: bytes,
      })),
      schemas,
      barriers,
      sweep:
        snapshot?.sweep === true
          ? { order: snapshot.order, ts: BigInt(snapshot.ts), kind: 's' as const }
          : null,
      highs,
      horizon: horizonOf(this.#memory, BigInt(lateWindowMs) * 1000n),
      cut: null,
      collapse,
    };
    const localCopy = (uri: string): Promise<string> => io.store.localCopy(uri);
    return durably('table.merge', () => engine.merge(request, { localCopy, schema: context.schema }));
  }

  async #commitMerge(
    state: TableState,
    layout: TableLayout,
    { result, topicId, schema }: { result: MergeResult; topicId: string; schema: number },
  ): Promise<bigint> {
    const { io, rules, snapshotId } = this.#options;
    const { lateWindowMs, keepSnapshots, keepSnapshotsMs } = rules;
    await adoptFiles(io.store, result.added);
    if (result.stateAdded !== null) await io.store.adopt(result.stateAdded.local, result.stateAdded.path);
    const before = this.#memory;
    const windowUs = BigInt(lateWindowMs) * 1000n;
    const gone = new Set(result.stateRemoved);
    const stateFiles = before.stateFiles.filter((path) => !gone.has(path));
    if (result.stateAdded !== null) stateFiles.push(result.stateAdded.path);
    const highs = new Map([...before.highs, ...result.highs]);
    const memory: TableMemory = {
      topicId,
      offsets: new Map([...before.offsets, ...result.offsets]),
      highs,
      barriers: keptBarriers([...before.barriers, ...result.barriers], horizonOf(before, windowUs)),
      stateFiles,
      clock: advanceClock(before.clock, highs, windowUs),
      schema,
    };
    const live = await liveFiles(io.store, state);
    const remove = result.removed.map((path) => live.get(path)).filter((file) => file !== undefined);
    const add = result.added.map(({ file }) => file);
    const isAppend = remove.length === 0 && add.every(({ content }) => content === 'data');
    const id = snapshotId();
    await this.#commitChange(state, {
      snapshot: {
        id,
        operation: isAppend ? 'append' : 'overwrite',
        add,
        remove,
        summary: printMemory(memory),
      },
      columns: layout.fields,
      properties: { ...layoutProperties(layout), ...this.#upkeep.properties },
      expire: { maxAgeMs: keepSnapshotsMs, minKeep: 1, maxKeep: keepSnapshots },
    });
    return id;
  }

  /** After a failure nobody knows the outcome: the table is read again before anything else happens. */
  async #commitChange(state: TableState, change: Change): Promise<TableState> {
    try {
      const next = await durably('table.commit', () => commit(this.#options.io, state, change));
      this.#use(next);
      return next;
    } catch (thrown) {
      await this.load();
      throw thrown;
    }
  }

  async maintain(): Promise<Upkeep> {
    return this.#state === null ? 'done' : this.#upkeep.step(this.#state, this.#memory.stateFiles);
  }

  async close(): Promise<void> {
    this.#state = null;
  }
}
