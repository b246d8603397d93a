// A program that folds into a table of many current rows, as a running sink does. `build` makes the table;
// `change` commits the cases again and again, onto the history that it grows itself, and prints what each
// commit and its upkeep took.
import { randomUUID } from 'node:crypto';
import { DEFAULT_FILES } from '../src/sinks/parquet/file-layout.ts';
import { openParquetSink } from '../src/sinks/parquet/sink.ts';
import type { FoldContext, TableSink } from '../src/sinks/sink.ts';
import { TABLE, TOPIC } from './database.ts';
import { answer, measureProcess, readRequest } from './measure.ts';
import { type IdChange, makeFeedBatch, SCHEMA_RECORD, SCHEMAS, type TopicEnd } from './order-batches.ts';

/** `keys`: the newest 2 % of the keys, or all alike. */
export type MergeCase = { name: string; changes: number; keys: 'newest' | 'uniform' };
export type MergeRequest = {
  directory: string;
  rows: number;
  /** None: the table is built. */
  cases: readonly MergeCase[];
  reps: number;
};
export type MergeTimes = { name: string; seconds: number; upkeepSeconds: number; cpuSeconds: number };

const BUILD_ROWS = 200_000;
const NEWEST_SHARE = 0.02;
const LATE_WINDOW_MS = 86_400_000;
const TOPIC_ID = 'bench';

const { directory, rows, cases, reps } = readRequest<MergeRequest>();
const context: FoldContext = {
  schema: async (id) => SCHEMAS.get(id) ?? '',
  schemas: [SCHEMA_RECORD],
  snapshot: null,
  estimatedRows: rows,
  cut: { limit: null, whole: null },
};

/** Of ten changes seven are updates, two new rows and one a delete. */
const makeChanges = ({ changes, keys }: MergeCase, nextId: { value: number }, rep: number): IdChange[] => {
  const [from, range] = keys === 'uniform' ? [0, rows] : [rows * (1 - NEWEST_SHARE), rows * NEWEST_SHARE];
  const step = Math.max(1, Math.floor(range / changes));
  return Array.from({ length: changes }, (_, at): IdChange => {
    const kind = at % 10;
    if (kind >= 8) return { op: 'c', id: nextId.value++ };
    return { op: kind === 7 ? 'd' : 'u', id: Math.floor(from + ((at * step + rep) % range)) + 1 };
  });
};

/** Files merged and old ones dropped, until nothing is due. */
const keepUp = async (table: TableSink): Promise<void> => {
  while ((await table.maintain()) !== 'done');
};

const commit = async (table: TableSink, changes: readonly IdChange[], end: TopicEnd): Promise<number> => {
  const batch = makeFeedBatch(changes, end);
  const startedMs = performance.now();
  const { events, dead, late } = await table.commit([batch], context, TOPIC_ID);
  if (events !== changes.length || dead + late > 0)
    throw new Error(`${events} of ${changes.length} changes were folded, ${dead} dead, ${late} late.`);
  return (performance.now() - startedMs) / 1000;
};

const build = async (table: TableSink): Promise<TopicEnd> => {
  const end: TopicEnd = { offset: 0n, transaction: 0n };
  for (let id = 1; id <= rows; id += BUILD_ROWS) {
    const length = Math.min(BUILD_ROWS, rows - id + 1);
    const changes = Array.from({ length }, (_, at): IdChange => ({ op: 'c', id: id + at }));
    await commit(table, changes, end);
  }
  await keepUp(table);
  return end;
};

const change = async (table: TableSink): Promise<MergeTimes[]> => {
  const offset = table.offsets().get(0) ?? 0n;
  const end: TopicEnd = { offset, transaction: offset };
  const nextId = { value: rows + 1 };
  const times: MergeTimes[] = [];
  // The engine's process starts and reads the table's metadata once.
  await commit(table, [{ op: 'c', id: nextId.value++ }], end);
  for (let rep = 0; rep < reps; rep++) {
    for (const merge of cases) {
      const cost = measureProcess(process.pid);
      const seconds = await commit(table, makeChanges(merge, nextId, rep), end);
      const cpuSeconds = cost();
      const startedMs = performance.now();
      await keepUp(table);
      times.push({
        name: merge.name,
        seconds,
        upkeepSeconds: (performance.now() - startedMs) / 1000,
        cpuSeconds,
      });
    }
  }
  return times;
};

const sink = openParquetSink({
  pipeline: 'bench',
  source: 'bench',
  place: { location: directory },
  workDirectory: directory,
  memoryBytes: 1 << 30,
  rules: () => ({
    mode: 'scd2',
    write: 'merge_on_read',
    collapse: true,
    late: 'apply',
    keepNoops: false,
    markDeletes: false,
    truncates: 'close',
    onIncompatible: 'fail',
    poison: 'dlq',
    lateWindowMs: LATE_WINDOW_MS,
    keepSnapshots: 50,
    keepSnapshotsMs: LATE_WINDOW_MS,
    files: DEFAULT_FILES,
  }),
  nowMs: Date.now,
  randomId: randomUUID,
  bury: async () => undefined,
  onTrouble: (what, cause) => console.error(what, cause),
});
const table = await sink.open(TOPIC, { namespace: 'public', name: TABLE });
if (cases.length === 0) {
  const startedMs = performance.now();
  await build(table);
  await answer({ seconds: (performance.now() - startedMs) / 1000 });
} else await answer(await change(table));
await sink.close();
