// Owns what the main process and the engine's process say to each other. Everything here survives a
// structured clone.
import type { Order } from '../../../change/order.ts';
import type { ErrorKind, Facts } from '../../../errors.ts';
import type { SchemaRecord } from '../../../topic/state.ts';
import type { DeadRecord } from '../../sink.ts';
import type { TableLayout } from '../columns-layout.ts';
import type { EngineValue } from '../columns-value.ts';
import type { DataFile, PartitionSpec } from '../iceberg-type.ts';
import type { Barrier } from '../scd2-version.ts';

export type EngineSettings = {
  /** As DuckDB reads it: `512MB`. */
  memoryLimit: string;
  threads: number;
  /** Spill files and finished files until they are adopted; must exist. One engine a directory. */
  directory: string;
};

/** A live data file; `path` is its URI as in the manifest, byte for byte. */
export type SourceFile = Pick<DataFile, 'path' | 'specId' | 'partition' | 'records'>;
export type DeleteFile = Pick<DataFile, 'path' | 'referencedDataFile'>;

/** The newest event of a partition that is in the table. */
export type High = { order: Order; ts: bigint };

export type TableFiles = {
  location: string;
  layout: TableLayout;
  /** Fields: identity(is_current), then bucket[N] of a key column, or none; empty in append mode. */
  spec: PartitionSpec;
  data: readonly SourceFile[];
  deletes: readonly DeleteFile[];
};

export type MergeRequest = TableFiles & {
  /** Names every file that this merge writes. Fresh and random. */
  commit: string;
  stateLocation: string;
  /** State files, oldest first. */
  state: readonly string[];
  /** Whole record batches a partition; records below `from` are skipped. */
  batches: readonly { partition: number; from: bigint; batches: readonly Uint8Array[] }[];
  schemas: readonly SchemaRecord[];
  /** Barriers that the table has applied; those at or below the horizon may be left out. */
  barriers: readonly Barrier[];
  /** A complete snapshot's sweep, to be applied now. */
  sweep: Barrier | null;
  /** By partition, as the last commit left them. */
  highs: ReadonlyMap<number, High>;
  /** Events at or below it are too late unless they are duplicates. */
  horizon: Order | null;
  /** Events above it stay in the topic; null: no limit. */
  cut: Order | null;
  /** One version a key and transaction. */
  collapse: boolean;
};

/** A finished file on local disk and what the manifest says of it. */
export type WrittenFile = { local: string; file: DataFile };
export type StateFile = { local: string; path: string; rows: number; bytes: number };

type MergeCounts = {
  events: number;
  opened: number;
  closed: number;
  duplicates: number;
  late: number;
  noops: number;
};

export type MergeResult = {
  added: readonly WrittenFile[];
  /** Paths of data files of which no row is left, and of the delete files that belong to them. */
  removed: readonly string[];
  stateAdded: StateFile | null;
  stateRemoved: readonly string[];
  /** Applied now: to be kept with the table, above the horizon. */
  barriers: readonly Barrier[];
  /** Next offset to read, by partition, of the partitions in the request. */
  offsets: ReadonlyMap<number, bigint>;
  highs: ReadonlyMap<number, High>;
  dead: readonly DeadRecord[];
  counts: MergeCounts;
};

/** Merges files of one partition tuple into one sorted file without the deleted rows. */
export type RewriteRequest = TableFiles & {
  commit: string;
  inputs: readonly SourceFile[];
  /** About so many rows go into a file, fewer where they are too wide to be sorted in memory. */
  fileRows: number;
};
/** Empty when no row was left. */
export type RewriteResult = { added: readonly WrittenFile[] };

export type QueryRequest = Omit<TableFiles, 'spec' | 'location'> & {
  /** asOf: the rows that stood then. history: every version of one key. current: rows that stand now. */
  rows:
    | { kind: 'current' }
    | { kind: 'asOf'; at: { ts: bigint } | { order: Order } }
    | { kind: 'history'; key: readonly string[] };
  /** A condition of the user's in SQL, over this table's columns. */
  where: string | null;
  limit: number;
};
/** Values by Iceberg type as EngineValue has them; sorted by key and order. */
export type QueryResult = {
  columns: readonly string[];
  rows: readonly (readonly EngineValue[])[];
  more: boolean;
};

export type Operations = {
  merge: { request: MergeRequest; result: MergeResult };
  rewrite: { request: RewriteRequest; result: RewriteResult };
  query: { request: QueryRequest; result: QueryResult };
};
export type OperationName = keyof Operations;

/** What the engine asks of the main process while it works. */
export type Question = { kind: 'local'; uri: string } | { kind: 'schema'; id: number };

export type ToEngine =
  | { kind: 'run'; id: number; operation: OperationName; request: Operations[OperationName]['request'] }
  | { kind: 'answer'; question: number; text: string }
  | { kind: 'refusal'; question: number; error: WireError };

export type WireError = { kind: ErrorKind; message: string; facts: Facts };

export type FromEngine =
  | { kind: 'question'; question: number; ask: Question }
  | { kind: 'done'; id: number; result: Operations[OperationName]['result'] }
  | { kind: 'failed'; id: number; error: WireError };
