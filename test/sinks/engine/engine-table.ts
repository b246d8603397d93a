// Owns a table of plain local files for engine tests: it merges, keeps what a commit would keep, and reads
// the rows back with a DuckDB of its own.
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import {
  layoutColumns,
  type TableLayout,
  type TableMode,
} from '../../../src/sinks/parquet/columns-layout.ts';
import { Engine, type EngineAnswers } from '../../../src/sinks/parquet/engine/engine.ts';
import type {
  High,
  MergeRequest,
  MergeResult,
  MergeRules,
  WriteWay,
} from '../../../src/sinks/parquet/engine/protocol.ts';
import type { DataFile, PartitionSpec } from '../../../src/sinks/parquet/iceberg-type.ts';
import type { Barrier } from '../../../src/sinks/parquet/scd2-version.ts';
import { type EventRecord, EventWriter, NUMBERS } from './event-batches.ts';

type ReadRow = Record<string, unknown>;

const number = (value: unknown): number => Number(value as string);

/** An engine for all tables of a test file: a process takes longer to start than to merge. */
export class SharedEngine implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'varve-engine-'));
  readonly engine: Engine;

  constructor(memoryLimit = '512MB') {
    const { directory } = this;
    this.engine = new Engine({ memoryLimit, threads: 1, directory, idleMs: 10_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true });
  }
}

const RULES: MergeRules = {
  collapse: true,
  late: 'apply',
  keepNoops: false,
  markDeletes: false,
  truncates: 'close',
  poison: 'dlq',
};

type TableOptions = {
  engine: Engine;
  buckets?: number;
  writers?: EventWriter[];
  mode?: TableMode;
  write?: WriteWay;
  rules?: Partial<MergeRules>;
};

export class EngineTable implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'varve-table-'));
  readonly location = `file://${this.directory}/table`;
  readonly engine: Engine;
  readonly writers: EventWriter[];
  layout: TableLayout;
  files = new Map<string, DataFile>();
  state: string[] = [];
  barriers: Barrier[] = [];
  highs: ReadonlyMap<number, High> = new Map();
  horizon: string | null = null;
  results: MergeResult[] = [];
  readonly #spec: PartitionSpec;
  /** May be another one at any time. */
  write: WriteWay;
  readonly #rules: MergeRules;
  #commits = 0;
  #offset = 0;

  constructor({
    engine,
    buckets = 1,
    writers = [new EventWriter(NUMBERS)],
    mode = 'scd2',
    write = 'merge_on_read',
    rules = {},
  }: TableOptions) {
    for (const name of ['table/data', 'state']) mkdirSync(join(this.directory, name), { recursive: true });
    this.engine = engine;
    this.write = write;
    this.writers = writers;
    this.#rules = { ...RULES, ...rules };
    this.layout = layoutColumns((writers[0] as EventWriter).record, null, { mode });
    const [current, key] = [this.layout.fields.find(({ name }) => name === 'is_current'), this.layout.key[0]];
    const identity = { fieldId: 1000, sourceId: current?.id ?? 0, name: 'is_current', transform: 'identity' };
    const bucket = { fieldId: 1001, sourceId: key ?? 0, name: 'key_bucket', transform: `bucket[${buckets}]` };
    this.#spec = {
      specId: 0,
      fields: [
        ...(current === undefined ? [] : [identity]),
        ...(buckets > 1 && this.layout.mode !== 'append' ? [bucket] : []),
      ],
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }

  local(uri: string): string {
    return uri.replace(/^file:\/\//, '');
  }

  get answers(): EngineAnswers {
    return {
      localCopy: async (uri) => this.local(uri),
      schema: async (id) =>
        this.writers.map(({ texts }) => texts.get(id)).find((text) => text !== undefined) ?? '',
    };
  }

  tableFiles() {
    const all = [...this.files.values()];
    return {
      location: this.location,
      layout: this.layout,
      spec: this.#spec,
      specs: [this.#spec],
      format: { compression: 'zstd' as const, sortOrderId: 0 },
      data: all.filter(({ content }) => content === 'data'),
      deletes: all.filter(({ content }) => content !== 'data'),
    };
  }

  request(
    events: readonly (EventRecord & { partition?: number })[],
    sweep: Barrier | null = null,
  ): MergeRequest {
    const byPartition = Map.groupBy(events, ({ partition = 0 }) => partition);
    const first = this.#offset;
    this.#offset += events.length;
    return {
      ...this.tableFiles(),
      commit: `commit${this.#commits++}`,
      stateLocation: `file://${this.directory}/state`,
      state: this.state,
      batches: [...byPartition].map(([partition, list]) => ({
        partition,
        from: BigInt(first),
        batches: [(this.writers.at(-1) as EventWriter).batch(list, first)],
      })),
      schemas: this.writers.map(({ record }) => record),
      barriers: this.barriers,
      sweep,
      highs: this.highs,
      horizon: this.horizon,
      cut: null,
      write: this.write,
      rules: this.#rules,
    };
  }

  async merge(events: readonly (EventRecord & { partition?: number })[], sweep: Barrier | null = null) {
    return await this.apply(await this.engine.merge(this.request(events, sweep), this.answers));
  }

  /** Rewrites all files of the rows that stand, of one bucket; gives how many there are then. */
  async rewrite(fileRows = 1_000_000): Promise<number> {
    const inputs = this.tableFiles().data.filter(({ partition }) => partition[0] !== false);
    const request = { ...this.tableFiles(), commit: `rewrite${this.#commits++}`, inputs, fileRows };
    const { added } = await this.engine.rewrite(request, this.answers);
    const gone = new Set(inputs.map(({ path }) => path));
    const removed = [...this.files.values()].filter(({ path, referencedDataFile }) =>
      gone.has(referencedDataFile ?? path),
    );
    const none = { events: 0, opened: 0, closed: 0, duplicates: 0, late: 0, noops: 0 };
    const counts = { ...none, conflicts: 0, incomplete: 0 };
    await this.apply({
      offsets: new Map(),
      highs: this.highs,
      barriers: [],
      dead: [],
      stateAdded: null,
      stateRemoved: [],
      counts,
      added,
      removed: removed.map(({ path }) => path),
    });
    return added.length;
  }

  async apply(result: MergeResult): Promise<MergeResult> {
    for (const path of result.removed) {
      this.files.delete(path);
      rmSync(this.local(path));
    }
    for (const { local, file } of result.added) {
      renameSync(local, this.local(file.path));
      this.files.set(file.path, file);
    }
    this.state = this.state.filter((path) => !result.stateRemoved.includes(path));
    if (result.stateAdded !== null) {
      renameSync(result.stateAdded.local, this.local(result.stateAdded.path));
      this.state.push(result.stateAdded.path);
    }
    this.barriers.push(...result.barriers);
    this.highs = result.highs;
    this.results.push(result);
    return result;
  }

  /** Live rows with their real column names; numbers of 64 bits as JavaScript numbers. */
  async rows(order = 'ALL'): Promise<ReadRow[]> {
    const { data, deletes } = this.tableFiles();
    if (data.length === 0) return [];
    const list = (files: readonly DataFile[]) => files.map(({ path }) => `'${this.local(path)}'`).join(', ');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    const gone =
      deletes.length === 0
        ? ''
        : `ANTI JOIN (SELECT DISTINCT file_path, pos FROM read_parquet([${list(deletes)}])) d ` +
          "ON d.file_path = 'file://' || s.filename AND d.pos = s.file_row_number";
    const sql =
      `SELECT * EXCLUDE (filename, file_row_number) FROM read_parquet([${list(data)}], filename = true, ` +
      `file_row_number = true, union_by_name = true, hive_partitioning = false) s ${gone} ORDER BY ${order}`;
    const rows = await (await connection.run(sql)).getRowObjectsJson();
    connection.closeSync();
    instance.closeSync();
    return rows as ReadRow[];
  }
}

const micros = (text: unknown): bigint | null =>
  text === null
    ? null
    : BigInt(Date.parse(`${String(text).replace(' ', 'T').slice(0, 19)}Z`)) * 1000n +
      BigInt((/\.([0-9]+)/.exec(String(text))?.[1] ?? '').padEnd(6, '0').slice(0, 6));

/** The same of a table in latest mode: no more than its columns tell. */
export const latestRow = (row: ReadRow) => {
  const { key, order, from, op, ts, tx, image } = modelRow({ ...row, valid_to: null, _previous_key: null });
  return { key, order, from, op, ts, tx, image };
};

/** A read row of the numbers table, as the model of the laws has it. */
export const modelRow = (row: ReadRow) => ({
  key: String(row.id),
  order: row._order,
  orderEnd: row._order_end,
  from: micros(row.valid_from),
  to: micros(row.valid_to),
  op: row._op,
  ts: micros(row._commit_ts),
  tx: row._tx,
  image: {
    values: [row.a, row.b].map((value) => (value === null ? null : number(value))),
    incomplete: ((row._incomplete ?? []) as string[]).map((name) => ['a', 'b'].indexOf(name)),
  },
  previousKey:
    row._previous_key === null
      ? null
      : String((JSON.parse(row._previous_key as string) as { id: number }).id),
  closedBy: row._closed_by,
});
