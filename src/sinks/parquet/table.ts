// Owns one table: what it is now, folding batches into it, keeping it readable. Rows, offsets and memory move together
// in one compare-and-set; until that, nothing that was written is visible. Knows neither SQL nor the rules of versions.
import type { Order } from '../../change/order.ts';
import type { Column } from '../../change/schema.ts';
import { durably } from '../../crash-point.ts';
import { VarveError } from '../../errors.ts';
import type { FeedBatch } from '../../topic/feed.ts';
import type { SchemaRecord } from '../../topic/state.ts';
import type { CommitReport, DeadRecord, FoldContext, TableSink, Upkeep } from '../sink.ts';
import {
  fieldOfColumn,
  layoutColumns,
  printColumnIds,
  readColumnIds,
  type TableLayout,
  type TableMode,
} from './columns-layout.ts';
import type { Engine } from './engine/engine.ts';
import type { MergeResult, TableFiles, WrittenFile } from './engine/protocol.ts';
import { canBucket } from './iceberg/bucket.ts';
import { commit, createTable } from './iceberg/commit.ts';
import {
  commitTimes,
  danglingDeletes,
  mostRuns,
  planRewrites,
  type RewritePlan,
} from './iceberg/maintenance.ts';
import { retireVersions, sweepOrphans } from './iceberg/sweep.ts';
import { liveFiles, loadTable, summaryValue, type TableIo, type TableState } from './iceberg/table-state.ts';
import type { LiveFile } from './iceberg-type.ts';
import {
  advanceClock,
  EMPTY_MEMORY,
  horizonOf,
  keptBarriers,
  printMemory,
  readMemory,
  type TableMemory,
} from './table-memory.ts';

const ROWS_A_BUCKET = 5_000_000;
const MAX_BUCKETS = 1024;
const RETIRE_EVERY_MS = 600_000;
const METADATA_AGE_MS = 24 * 3_600_000;
/** It lists everything that the table has. */
const SWEEP_EVERY_MS = 24 * 3_600_000;
const ORPHAN_AGE_MS = 3 * 24 * 3_600_000;
/** From so many small files in one partition on, intake waits. */
const MAX_RUNS = 8;
/** When orphans were looked for last, for the next process. */
const SWEPT = 'varve.swept-ms';

export type TableOptions = {
  io: TableIo;
  engine: Engine;
  /** URIs of the table and of its companion for what has no row. */
  location: string;
  stateLocation: string;
  /** For people and for dead letters. */
  topic: string;
  collapse: boolean;
  lateWindowMs: number;
  keepSnapshots: number;
  keepSnapshotsMs: number;
  snapshotId: () => bigint;
  /** Resolves when they are durable. */
  bury: (topic: string, dead: readonly DeadRecord[]) => Promise<void>;
};

const NOTHING: CommitReport = {
  snapshotId: null,
  events: 0,
  opened: 0,
  closed: 0,
  duplicates: 0,
  late: 0,
  dead: 0,
};

const bucketCount = (rows: number): number => {
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, rows / ROWS_A_BUCKET)));
  return Math.min(MAX_BUCKETS, wanted);
};

/** The table's layout as its metadata has it. */
export const storedLayout = (state: TableState): TableLayout => ({
  mode: (state.properties['varve.mode'] ?? 'scd2') as TableMode,
  fields: state.fields,
  columns: readColumnIds(state.properties['varve.columns'] ?? '{}'),
  key: JSON.parse(state.properties['varve.key'] ?? '[]') as number[],
  lastId: state.metadata['last-column-id'],
});

const layoutProperties = ({ mode, columns, key }: TableLayout): Record<string, string> => ({
  'varve.mode': mode,
  'varve.columns': printColumnIds(columns),
  'varve.key': JSON.stringify(key),
});

export const openTable = async (options: TableOptions): Promise<ParquetTable> => {
  const table = new ParquetTable(options);
  await table.load();
  return table;
};

export class ParquetTable implements TableSink {
  readonly #options: TableOptions;
  #state: TableState | null = null;
  #memory: TableMemory = EMPTY_MEMORY;
  #retiredMs = 0;
  #sweptMs = 0;

  constructor(options: TableOptions) {
    this.#options = options;
  }

  /** Reads what the newest version says; everything held so far is forgotten. */
  async load(): Promise<void> {
    const { io, location } = this.#options;
    const state = await loadTable(io, location, this.#state ?? undefined);
    this.#use(state);
    this.#sweptMs = Math.max(this.#sweptMs, Number(state?.properties[SWEPT] ?? 0));
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
    const isSwept = snapshot === null || this.#isPast(snapshot.order);
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
  #isPast(sweep: Order): boolean {
    const horizon = horizonOf(this.#memory, BigInt(this.#options.lateWindowMs) * 1000n);
    return (
      this.#memory.barriers.some(({ order }) => order === sweep) || (horizon !== null && sweep <= horizon)
    );
  }

  /** The table with the columns that the newest schema asks for; made when it is not there. */
  async #prepare(
    schemas: readonly SchemaRecord[],
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
        partition: this.#partition(newest, layout, context),
        properties: layoutProperties(layout),
      });
      this.#use(made);
    }
    if (this.#state === null) throw new VarveError('internal', 'A table that was just made is not there.');
    return { state: this.#state, layout };
  }

  #partition({ columns, key }: SchemaRecord, layout: TableLayout, { estimatedRows }: FoldContext) {
    if (layout.mode === 'append') return [];
    const current = layout.fields.find(({ name }) => name === 'is_current');
    const bucketable = key
      .map((at) => fieldOfColumn(layout, columns[at] as Column))
      .find((field) => field !== null && canBucket(field.type))?.id;
    const partition = [{ sourceId: current?.id ?? 0, transform: 'identity' }];
    if (bucketable !== undefined)
      partition.push({ sourceId: bucketable, transform: `bucket[${bucketCount(estimatedRows)}]` });
    return partition;
  }

  async #files(state: TableState, layout: TableLayout): Promise<TableFiles> {
    const live = [...(await liveFiles(this.#options.io.store, state)).values()];
    return {
      location: state.location,
      layout,
      spec: state.spec,
      data: live.filter(({ content }) => content === 'data'),
      deletes: live.filter(({ content }) => content === 'position_deletes'),
    };
  }

  async #merge(
    state: TableState,
    layout: TableLayout,
    { batches, context }: { batches: readonly FeedBatch[]; context: FoldContext },
  ): Promise<MergeResult> {
    const { engine, io, stateLocation, collapse, lateWindowMs } = this.#options;
    const { snapshot, schemas } = context;
    const { offsets, barriers, highs, stateFiles } = this.#memory;
    const request = {
      ...(await this.#files(state, layout)),
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

  async #adopt(files: readonly WrittenFile[]): Promise<void> {
    for (const { local, file } of files) await this.#options.io.store.adopt(local, file.path);
  }

  async #commitMerge(
    state: TableState,
    layout: TableLayout,
    { result, topicId, schema }: { result: MergeResult; topicId: string; schema: number },
  ): Promise<bigint> {
    const { io, lateWindowMs, snapshotId, keepSnapshots, keepSnapshotsMs } = this.#options;
    await this.#adopt(result.added);
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
      properties: { ...layoutProperties(layout), [SWEPT]: String(this.#sweptMs) },
      expire: { maxAgeMs: keepSnapshotsMs, minKeep: 1, maxKeep: keepSnapshots },
    });
    return id;
  }

  /** After a failure nobody knows the outcome: the table is read again before anything else happens. */
  async #commitChange(state: TableState, change: Parameters<typeof commit>[2]): Promise<TableState> {
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
    const state = this.#state;
    if (state === null) return 'done';
    const { io } = this.#options;
    const files = [...(await liveFiles(io.store, state)).values()];
    const baseSequence = Number(state.metadata['last-sequence-number']);
    const committedAtMs = commitTimes(state.metadata);
    const [plan] = planRewrites({ files, baseSequence, nowMs: io.now(), committedAtMs });
    if (plan === undefined) return (await this.#clean(state)) ? 'more' : 'done';
    const after = await this.#rewrite(state, {
      ...plan,
      deletes: [...plan.deletes, ...danglingDeletes(files)],
    });
    return mostRuns((await liveFiles(io.store, after)).values()) >= MAX_RUNS ? 'behind' : 'more';
  }

  async #rewrite(state: TableState, { data, deletes, baseSequence }: RewritePlan): Promise<TableState> {
    const { io, engine, snapshotId } = this.#options;
    const request = { ...(await this.#files(state, storedLayout(state))), commit: io.uuid(), inputs: data };
    const refuse = (): never => {
      throw new VarveError('internal', 'A rewrite asked for a schema of the topic.');
    };
    const localCopy = (uri: string): Promise<string> => io.store.localCopy(uri);
    const { added } = await engine.rewrite(request, { localCopy, schema: refuse });
    await this.#adopt(added);
    const remove: LiveFile[] = [...data, ...deletes];
    const add = added.map(({ file }) => file);
    return this.#commitChange(state, {
      snapshot: { id: snapshotId(), operation: 'replace', add, remove, summary: {}, baseSequence },
    });
  }

  /** Deletes files that nobody can need any more, some at a time. True: there are more. */
  async #clean(state: TableState): Promise<boolean> {
    const { io, stateLocation } = this.#options;
    const nowMs = io.now();
    if (nowMs - this.#retiredMs < RETIRE_EVERY_MS) return false;
    const retired = await retireVersions(io, state, { minAgeMs: METADATA_AGE_MS, dryRun: false });
    if (retired.length > 0) return true;
    this.#retiredMs = nowMs;
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return false;
    this.#sweptMs = nowMs;
    await sweepOrphans(io, state, { minAgeMs: ORPHAN_AGE_MS, dryRun: false });
    const before = nowMs - ORPHAN_AGE_MS;
    const named = new Set(this.#memory.stateFiles);
    for await (const { uri, modifiedMs } of io.store.list(`${stateLocation}/`))
      if (modifiedMs < before && !named.has(uri)) await io.store.remove(uri);
    await io.store.sweepLeftovers(`${stateLocation}/`, before);
    return false;
  }

  async close(): Promise<void> {
    this.#state = null;
  }
}
