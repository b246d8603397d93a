// Owns the words that a log reader speaks: flat events in commit order. Imports only other words of this
// room.
import type { Cells } from './row.ts';
import type { TableName, TableSchema } from './schema.ts';

/** Opaque to all but its connector; the only thing that is confirmed to a source and resumed from. */
export type ResumePoint = string;

type Op = 'c' | 'u' | 'd' | 'r' | 't';

export type Begin = {
  kind: 'begin';
  /**
   * Commit position of this transaction, known at its begin; strictly rising from one transaction to the
   * next.
   */
  position: bigint;
  /** Microseconds since 1970-01-01 UTC, the source's commit clock. */
  commitTs: bigint;
  /** The source's transaction id, for people. */
  txId: string;
};

/** A flyweight: valid until the next event is pulled. */
export type RowChange<Table> = {
  kind: 'row';
  op: Exclude<Op, 't'>;
  table: Table;
  /** Counts every row and truncate of the transaction from 0, before any filter. */
  ordinal: number;
  /**
   * Old image, or null where the source sent none. `beforeIsKey`: only key columns are real, the rest not
   * sent.
   */
  before: Cells | null;
  beforeIsKey: boolean;
  after: Cells | null;
  /** An update that changed the key: `before` holds the old key. Published as delete + create. */
  keyChanged: boolean;
};

export type Truncate<Table> = { kind: 'truncate'; tables: readonly Table[]; ordinal: number };

/**
 * `resume` covers this transaction and all before it. It may be printed only when it is read, and can be read
 * at any time: most commits share a checkpoint with later ones.
 */
export type Commit = { readonly kind: 'commit'; readonly resume: ResumePoint };

/**
 * The stream is idle and everything before `resume` has been delivered; never inside a transaction.
 * `isAsked`: the source waits for the confirmation, as one does that shuts down.
 */
export type Idle = { kind: 'idle'; resume: ResumePoint; isAsked: boolean };

/** Rows of this table were changed without events; the history has a hole until it is snapshotted again. */
export type Stale = { kind: 'stale'; table: TableName; reason: string };

export type LogEvent<Table> = Begin | RowChange<Table> | Truncate<Table> | Commit | Idle | Stale;

/**
 * A table as the log speaks of it: the schema in force, what the connector needs to encode it, and nothing
 * that changes: a new schema is a new object, so identity (`===`) tells whether a prepared encoder still
 * fits.
 */
export type LogTable = { readonly schema: TableSchema };
