// Owns what the tests of the table room stand on: a world with its own clock and ids, a small table, made-up
// files.

import { type Change, commit, createTable } from '../../../src/sinks/parquet/iceberg/commit.ts';
import type { TableIo, TableState } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { liveFiles } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import type { DataFile, IcebergField, LiveFile } from '../../../src/sinks/parquet/iceberg-type.ts';
import type { Store } from '../../../src/sinks/parquet/store.ts';
import { MemoryStore } from './memory-store.ts';

export const LOCATION = 's3://bucket/lake/public/orders';

export type World = TableIo & { clock: { nowMs: number }; hintFailures: unknown[] };

/** Ids count up, so that a failure can be read; the clock stands until somebody moves it. */
export const makeWorld = (store?: Store): World => {
  const clock = { nowMs: 1_700_000_000_000 };
  const now = () => clock.nowMs;
  let ids = 0;
  const hintFailures: unknown[] = [];
  return {
    store: store ?? new MemoryStore(now),
    clock,
    now,
    uuid: () => `00000000-0000-4000-8000-${(++ids).toString(16).padStart(12, '0')}`,
    hintFailures,
    onHintFailure: (thrown) => hintFailures.push(thrown),
  };
};

export const COLUMNS: readonly IcebergField[] = [
  { id: 1, name: 'id', required: true, type: 'long' },
  { id: 2, name: 'name', required: false, type: 'string' },
  { id: 3, name: 'amount', required: false, type: 'decimal(12, 2)' },
  { id: 4, name: 'is_current', required: true, type: 'boolean' },
];

export const PARTITION = [
  { sourceId: 4, transform: 'identity' },
  { sourceId: 1, transform: 'bucket[4]' },
];

export const newTable = (io: TableIo, location = LOCATION): Promise<TableState> =>
  createTable(io, location, {
    columns: COLUMNS,
    partition: PARTITION,
    sort: [],
    properties: { 'varve.layout': '1' },
  });

let files = 0;

export const dataFile = (more: Partial<DataFile> = {}): DataFile => ({
  content: 'data',
  path: `${LOCATION}/data/made-${++files}.parquet`,
  specId: 0,
  partition: [true, 1],
  records: 100,
  bytes: 1000,
  stats: new Map([
    [
      1,
      {
        bytes: 400,
        values: 100,
        nulls: 0,
        lower: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0),
        upper: Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0),
      },
    ],
    [2, { bytes: 500, values: 100, nulls: 7 }],
  ]),
  referencedDataFile: null,
  ...more,
});

export const deletesOf = (target: DataFile, records = 5, more: Partial<DataFile> = {}): DataFile => ({
  content: 'position_deletes',
  path: `${LOCATION}/data/made-${++files}-deletes.parquet`,
  specId: target.specId,
  partition: target.partition,
  records,
  bytes: 500,
  stats: new Map(),
  referencedDataFile: target.path,
  ...more,
});

let snapshots = 1000n;
export const nextSnapshotId = (): bigint => ++snapshots;

export const append = (add: readonly DataFile[], summary: Record<string, string> = {}): Change => ({
  snapshot: { id: nextSnapshotId(), operation: 'append', add, remove: [], summary },
});

export const overwrite = (
  add: readonly DataFile[],
  remove: readonly LiveFile[] = [],
  summary: Record<string, string> = {},
): Change => ({ snapshot: { id: nextSnapshotId(), operation: 'overwrite', add, remove, summary } });

export const replace = (
  add: readonly DataFile[],
  remove: readonly LiveFile[],
  baseSequence: number,
): Change => ({
  snapshot: { id: nextSnapshotId(), operation: 'replace', add, remove, summary: {}, baseSequence },
});

/** Paths alive, sorted. */
export const livePaths = async (io: TableIo, state: TableState): Promise<string[]> =>
  [...(await liveFiles(io.store, state)).keys()].sort();

export const liveFile = async (io: TableIo, state: TableState, path: string): Promise<LiveFile> => {
  const found = (await liveFiles(io.store, state)).get(path);
  if (!found) throw new Error(`${path} is not alive`);
  return found;
};

export const commitAll = async (
  io: TableIo,
  base: TableState,
  changes: readonly Change[],
): Promise<TableState> => {
  let state = base;
  for (const change of changes) state = await commit(io, state, change);
  return state;
};
