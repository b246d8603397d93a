// Owns what the main process and the engine's process say to each other. Everything here survives a
// structured clone.
import type { Order } from '../../../change/order.ts';
import type { ErrorKind, Facts } from '../../../errors.ts';
import type { SchemaRecord } from '../../../topic/state.ts';
import type { DeadRecord } from '../../sink.ts';
import type { TableLayout } from '../columns-layout.ts';
import type { EngineValue } from '../columns-value.ts';
import type { DataFile, IcebergType, PartitionSpec } from '../iceberg-type.ts';
import type { Barrier, FoldCounts, VersionRules } from '../scd2-version.ts';

export type EngineSettings = {
  /** As DuckDB reads it: `512MB`. */
  memoryLimit: string;
  threads: number;
  /** Spill files and finished files until they are adopted; must exist. One engine a directory. */
  directory: string;
};

/** A live data file; `path` is its URI as in the manifest, byte for byte. */
export type SourceFile = Pick<DataFile, 'path' | 'specId' | 'partition' | 'records' | 'bytes'>;
export type DeleteFile = Pick<DataFile, 'path' | 'referencedDataFile' | 'bytes'>;

/** The newest event of a partition that is in the table. */
export type High = { order: Order; ts: bigint };

/**
 * What becomes of a row that goes: a delete file names its position, or its file is written again without it.
 */
export type WriteWay = 'merge_on_read' | 'copy_on_write';

/** How new data files are packed, and which of the table's sort orders they have. */
export type FileFormat = {
  compression: 'zstd' | 'snappy' | 'lz4' | 'gzip' | 'none';
  sortOrderId: number;
};

/** What people decide about the changes of one table. */
export type MergeRules = VersionRules & {
  /** close: a truncate ends every row; ignore: it is passed over; fail: the table stops there. */
  truncates: 'close' | 'ignore' | 'fail';
  /** A record that cannot be folded goes to the dead letters, or the table stops there. */
  poison: 'dlq' | 'stop';
};

export type TableFiles = {
  location: string;
  layout: TableLayout;
  /**
   * Of new files: identity(is_current) for scd2, then bucket[N] of a key column, or none; then what people
   * chose.
   */
  spec: PartitionSpec;
  /** All that files may have. */
  specs: readonly PartitionSpec[];
  format: FileFormat;
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
  rules: MergeRules;
  write: WriteWay;
};

/** A finished file on local disk and what the manifest says of it. */
export type WrittenFile = { local: string; file: DataFile };
export type StateFile = { local: string; path: string; rows: number; bytes: number };

type MergeCounts = FoldCounts & { events: number };

export type MergeResult = {
  added: readonly WrittenFile[];
  /** Paths of data files of which no row is left, and of the delete files that belong to them. */
  removed: readonly string[];
  stateAdded: StateFile | null;
  stateRemoved: readonly string[];
  /** Applied now: to be kept with the table, above the horizon. */
  barriers: readonly Barrier[];
  /** Next offset to read, by partition, of the partitions in the request of which anything was taken. */
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

/** A time is the source's, microseconds; an order is what everything up to it left. */
export type Moment = { kind: 'current' } | { kind: 'asOf'; at: { ts: bigint } | { order: Order } };

export type QueryRequest = Omit<TableFiles, 'spec' | 'specs' | 'format' | 'location'> & {
  /**
   * A moment: the rows that stood then. history: every version of one key. rekeyed: versions that a change of
   * key made, of orders from `from` to below `to`.
   */
  rows:
    | Moment
    | { kind: 'history'; key: readonly Exclude<EngineValue, null>[] }
    | { kind: 'rekeyed'; from: string; to: string };
  /** A condition of the user's in SQL, over this table's columns. */
  where: string | null;
  limit: number;
  /** Sorted by order, falling, instead of by key. */
  newestFirst?: boolean;
};
/** Values by Iceberg type as EngineValue has them; sorted by key and order. */
export type QueryResult = {
  columns: readonly string[];
  rows: readonly (readonly EngineValue[])[];
  /** URI of each row's file. */
  files: readonly string[];
  more: boolean;
};

/** `except`: rows of these files that stood then, too, are in both states as they are. */
export type ComparedState = Pick<TableFiles, 'data' | 'deletes'> & { moment: Moment; except: Moment | null };
export type CompareRequest = Pick<TableFiles, 'layout'> & {
  from: ComparedState;
  to: ComparedState;
  /** Rows count for which it holds before or after. */
  where: string | null;
  /** Of the rows that are listed; all are counted. */
  limit: number;
};
export type CompareResult = {
  columns: readonly string[];
  counts: { added: number; removed: number; changed: number };
  /** Sorted by key. */
  rows: readonly {
    kind: 'added' | 'removed' | 'changed';
    before: readonly EngineValue[] | null;
    after: readonly EngineValue[] | null;
  }[];
};

/** A folder of an export is named `name=value`: of a column's value, or of the day or hour that it is in. */
export type ExportPart = { fieldId: number; transform: 'identity' | 'day' | 'hour'; name: string };
export type ExportRequest = Pick<TableFiles, 'layout' | 'data' | 'deletes'> & {
  /** versions: all that there are. */
  rows: Moment | { kind: 'versions' };
  parts: readonly ExportPart[];
  compression: FileFormat['compression'];
  /** About so large are files. */
  fileBytes: number;
  /** Local folder that is there; all files go below it. */
  into: string;
};
/** `path` is relative; `values`: of the parts. */
export type ExportedFile = { path: string; rows: number; bytes: number; values: readonly (string | null)[] };
export type ExportResult = { files: readonly ExportedFile[] };

/** Whose rows go, or lose values. */
export type Erased = {
  /** In the order of the key's columns. */
  keys: readonly (readonly EngineValue[])[];
  /** All shapes of the source, in which rows may name a key as the one before. */
  schemas: readonly SchemaRecord[];
  /** Such texts, as a scan has found them. */
  links: readonly string[];
  /** Field ids of columns that become NULL; null: whole rows go. */
  blank: readonly number[] | null;
};
export type EraseKeysRequest = Pick<TableFiles, 'layout' | 'data' | 'deletes'> & {
  /** A condition of the user's over any version. */
  where: string;
};
export type EraseKeysResult = { keys: readonly (readonly EngineValue[])[]; more: boolean };

export type EraseScanRequest = Pick<TableFiles, 'layout'> & {
  /** URIs of files. */
  data: readonly string[];
  state: readonly string[];
  erased: Erased;
  /** Whether the values at both ends of all columns are looked for. */
  withTruth: boolean;
};
/** `rows`: of erased keys, with something to erase; `named`: of others, that name such a key. */
type FoundInFile = { path: string; rows: number; named: number };
/** Bounds as the rows have them; null: there can be none. `isEmpty`: no row has a value. */
export type FileTruth = {
  path: string;
  columns: readonly {
    id: number;
    type: IcebergType;
    isEmpty: boolean;
    lower: Uint8Array | null;
    upper: Uint8Array | null;
  }[];
};
export type EraseScanResult = {
  data: FoundInFile[];
  state: FoundInFile[];
  links: string[];
  truths: FileTruth[];
};
export type EraseRowsRequest = RewriteRequest & { erased: Erased };
/** One file of the companion, written anew; null: no row was left. */
export type EraseStateRequest = Pick<TableFiles, 'layout'> & {
  erased: Erased;
  path: string;
  commit: string;
  stateLocation: string;
};
export type EraseStateResult = { added: StateFile | null };

export type Operations = {
  merge: { request: MergeRequest; result: MergeResult };
  rewrite: { request: RewriteRequest; result: RewriteResult };
  query: { request: QueryRequest; result: QueryResult };
  compare: { request: CompareRequest; result: CompareResult };
  export: { request: ExportRequest; result: ExportResult };
  eraseKeys: { request: EraseKeysRequest; result: EraseKeysResult };
  eraseScan: { request: EraseScanRequest; result: EraseScanResult };
  eraseRows: { request: EraseRowsRequest; result: RewriteResult };
  eraseState: { request: EraseStateRequest; result: EraseStateResult };
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
