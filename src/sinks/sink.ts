// Port: a table that folds one topic. Consumed by the fold loop; implemented by parquet/.

import type { Order } from '../change/order.ts';
import type { FeedBatch } from '../topic/feed.ts';
import type { SchemaRecord, SnapshotRecord } from '../topic/state.ts';

/** Where in the order of everything these batches end. */
export type FoldCut = {
  /** Events above it stay in the topic; null: all are taken. */
  limit: Order | null;
  /** Every event up to it is in these batches or was before; null: that is not known of any. */
  whole: Order | null;
};

/** What stands beside the records: how to read them, and which snapshots are complete. */
export type FoldContext = {
  /** Avro schema text by id. */
  schema(id: number): Promise<string>;
  /** All schema records of the topic, by rising `n`, as of now. */
  schemas: readonly SchemaRecord[];
  /**
   * The topic's newest complete snapshot, once every row of it is folded with these batches or before; else
   * null.
   */
  snapshot: SnapshotRecord | null;
  /** Rows that the topic's newest snapshot is expected to have; 0 when unknown. */
  estimatedRows: number;
  cut: FoldCut;
};

export type CommitReport = {
  snapshotId: bigint | null;
  events: number;
  opened: number;
  closed: number;
  duplicates: number;
  late: number;
  dead: number;
  /** Events of an order that the table has with another payload. */
  conflicts: number;
  /** Versions opened with a column whose value could not be had. */
  incomplete: number;
};

export type DeadRecord = {
  partition: number;
  offset: bigint;
  key: Uint8Array | null;
  value: Uint8Array | null;
  reason: string;
  /** Nothing is wrong with it but when it came. */
  isLate: boolean;
};

/** What is left to do: nothing, something, or so much that the next commit had better wait. */
export type Upkeep = 'done' | 'more' | 'behind';

export type TableSink = {
  /** Next offset to read, by partition, as of the last commit; empty for a table that is not there yet. */
  offsets(): ReadonlyMap<number, bigint>;
  /** The topic's id that `offsets` belong to; null before the first commit. */
  topicId(): string | null;
  /**
   * Folds these batches and commits rows and offsets in one compare-and-set. All or nothing; records below
   * `offsets()` are skipped. With no batches it commits what has become due (a finished snapshot's sweep).
   */
  commit(batches: readonly FeedBatch[], context: FoldContext, topicId: string): Promise<CommitReport>;
  /** A small step that keeps the table readable: merge files, or delete what nobody can need any more. */
  maintain(): Promise<Upkeep>;
  close(): Promise<void>;
};

export type OpenedTable = TableSink & {
  /** Whether somebody has told it to wait: then a commit throws `table_paused`. Looks at the store. */
  isPaused(): Promise<boolean>;
};

export type Sink = {
  open(topic: string, table: { namespace: string; name: string }): Promise<OpenedTable>;
  /** Records that can not be folded are handed over here, durably, before the commit that skips them. */
  close(): Promise<void>;
};
