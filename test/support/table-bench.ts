// Owns one Iceberg table in process: a real merge engine, a local folder, a clock that the test moves, and
// record batches of a small made-up table. No topic, no source.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../../src/sinks/parquet/engine/engine.ts';
import { DEFAULT_FILES } from '../../src/sinks/parquet/file-layout.ts';
import { openLocalStore, toFileUri } from '../../src/sinks/parquet/store-local.ts';
import { openTable, type ParquetTable } from '../../src/sinks/parquet/table.ts';
import type { TableOptions, TableRules } from '../../src/sinks/parquet/table-options.ts';
import { type EventRecord, EventWriter, NUMBERS } from '../sinks/engine/event-batches.ts';
import { readTable, rowTexts } from './table-rows.ts';

type TableIo = TableOptions['io'];
type TableSchema = ConstructorParameters<typeof EventWriter>[0];
type FoldContext = Parameters<ParquetTable['commit']>[1];
type CommitReport = Awaited<ReturnType<ParquetTable['commit']>>;
type DeadRecord = Parameters<TableOptions['bury']>[1][number];

export const TOPIC_ID = 'topic';

const pad = (value: number, width: number): string => value.toString(16).padStart(width, '0');
/** The order of the `n`th transaction, one change each. */
export const orderAt = (n: number): string => `00000001.${pad(n, 24)}.1.${pad(0, 12)}`;

/** The `n`th change: key `id` gets the value `a`. Commit times are a second apart. */
export const upsert = (n: number, id: number, a: number): EventRecord => ({
  op: 'u',
  order: orderAt(n),
  ts: 1_700_000_000_000_000n + BigInt(n) * 1_000_000n,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: { int: a }, b: null },
});

const KEYS = 7;
/** The `n`th change: its key and its value follow from `n`. */
export const changeAt = (n: number): EventRecord => upsert(n, n % KEYS, n * 10);

/** Asserts what changes 1 to `count` leave: every value a version, the last of each key current. */
export const holdsChanges = async ({ location }: TableBench, count: number): Promise<void> => {
  const numbers = Array.from({ length: count }, (_, at) => at + 1);
  assert.deepEqual(
    rowTexts(await readTable(location, 't'), ['id', 'a', 'is_current']),
    numbers.map((n) => `${n % KEYS} ${n * 10} ${n + KEYS > count}`),
  );
};

/** A commit a change, and a step of upkeep after it, as the fold does it. */
export const changeMany = async (bench: TableBench, first: number, last: number): Promise<void> => {
  for (let n = first; n <= last; n++) {
    await bench.commit([changeAt(n)]);
    await bench.table.maintain();
  }
};

export const upkeep = async ({ table }: TableBench): Promise<void> => {
  while ((await table.maintain()) !== 'done');
};

/** What a table is opened with when nobody says otherwise. */
export const RULES: TableRules = {
  mode: 'scd2',
  write: 'merge_on_read',
  collapse: true,
  late: 'apply',
  keepNoops: false,
  markDeletes: false,
  truncates: 'close',
  onIncompatible: 'fail',
  poison: 'dlq',
  lateWindowMs: 3_600_000,
  keepSnapshots: 10,
  keepSnapshotsMs: 24 * 3_600_000,
  files: DEFAULT_FILES,
};

export class TableBench implements AsyncDisposable {
  readonly directory: string;
  /** Where `readTable` finds it, as public.t. */
  readonly location: string;
  readonly writer: EventWriter;
  /** Added to the real time, because files carry the real one. */
  shiftMs = 0;
  keepSnapshots = RULES.keepSnapshots;
  keepSnapshotsMs = RULES.keepSnapshotsMs;
  fileRules: Partial<TableRules['files']> = {};
  rules: Partial<TableRules> = {};
  /** Everything that was buried. */
  readonly dead: DeadRecord[] = [];
  mode: TableRules['mode'] = 'scd2';
  write: TableRules['write'] = 'merge_on_read';
  /** From the next `open` on. */
  wrap: (store: TableIo['store']) => TableIo['store'] = (store) => store;
  readonly #engine: Engine;
  #offset = 0;
  #table: ParquetTable | null = null;

  constructor(directory: string, schema: TableSchema, memoryLimit: string) {
    this.directory = directory;
    this.writer = new EventWriter({ ...schema, name: ['public', 't'] });
    this.location = join(directory, 'tables');
    const scratch = join(directory, 'scratch');
    this.#engine = new Engine({ memoryLimit, threads: 1, directory: scratch, idleMs: 10_000 });
  }

  static async make(schema: TableSchema = NUMBERS, memoryLimit = '512MB'): Promise<TableBench> {
    const directory = await mkdtemp(join(tmpdir(), 'varve-table-'));
    await mkdir(join(directory, 'scratch'));
    const bench = new TableBench(directory, schema, memoryLimit);
    await bench.open();
    return bench;
  }

  get table(): ParquetTable {
    if (this.#table === null) throw new Error('the table is not open');
    return this.#table;
  }

  get io(): TableIo {
    const store = this.wrap(openLocalStore(this.location, { uuid: randomUUID }));
    const now = (): number => Date.now() + this.shiftMs;
    return { store, now, uuid: randomUUID, onHintFailure: () => undefined };
  }

  get context(): FoldContext {
    return {
      schema: async (id) => this.writer.texts.get(id) ?? '',
      schemas: [this.writer.record],
      snapshot: null,
      estimatedRows: 0,
      cut: { limit: null, whole: null },
    };
  }

  /** As a process that starts: nothing is known but what the files say. */
  async open(): Promise<void> {
    const root = join(this.location, 'public', 't');
    this.#table = await openTable({
      io: this.io,
      engine: this.#engine,
      location: toFileUri(root),
      stateLocation: toFileUri(`${root}__varve_state`),
      topic: 'test.public.t',
      lineage: { 'varve.topic': 'test.public.t' },
      rules: {
        ...RULES,
        mode: this.mode,
        write: this.write,
        ...this.rules,
        keepSnapshots: this.keepSnapshots,
        keepSnapshotsMs: this.keepSnapshotsMs,
        files: { ...DEFAULT_FILES, ...this.fileRules },
      },
      snapshotId: () => BigInt.asUintN(52, BigInt(`0x${randomUUID().replaceAll('-', '')}`)) + 1n,
      bury: async (_topic, dead) => void this.dead.push(...dead),
    });
  }

  batch(events: readonly EventRecord[]) {
    const from = this.#offset;
    this.#offset += events.length;
    const batches = [this.writer.batch(events, from)];
    return { partition: 0, batches, nextOffset: BigInt(this.#offset) };
  }

  commit(events: readonly EventRecord[]): Promise<CommitReport> {
    return this.table.commit([this.batch(events)], this.context, TOPIC_ID);
  }

  /** Names of all files below the table's folder, or of its companion's. */
  async names(companion = ''): Promise<string[]> {
    const root = join(this.location, 'public', `t${companion}`);
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}
