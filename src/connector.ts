// Port: what a database must supply to be a source: log, chunks, checks, its configuration, its `source`
// block.
import type { z } from 'zod';
import type { LogReader } from './capture/log-reader.ts';
import type { ResumePoint } from './change/event.ts';
import type { TableName, TableSchema } from './change/schema.ts';
import type { SnapshotSession } from './snapshot/chunk-reader.ts';
import type { ColumnRules, Formats } from './topic/format.ts';
import type { PreparedTable, SourceBlock } from './topic/prepared-table.ts';

export type Finding = { level: 'error' | 'warning' | 'ok'; what: string; fix: string | null };

/**
 * Says who the source is, so that another one in its place is noticed. Plain text facts, such as a system id.
 */
export type Identity = Readonly<Record<string, string>>;

type SnapshotRequest = { tables: readonly TableName[]; parallel: number };

export type Source = {
  readonly block: SourceBlock;
  /**
   * Also what the tables look like, so that rewrites without events are noticed later. To be stored again
   * when a resume was verified, after each snapshot, and now and then while the log is read: a later start
   * compares with it.
   */
  identity(): Promise<Identity>;
  /** Throws `source_changed` or `source_rewound` when `stored` cannot be continued here. */
  verifyIdentity(stored: Identity): Promise<void>;
  /** Tables that match the configured patterns, sorted; a hint for snapshots and checks, the log decides. */
  tables(): Promise<readonly TableSchema[]>;
  check(): Promise<readonly Finding[]>;
  /** Makes ready what must exist before the log is opened (a publication), tables added later included. */
  prepare(tables: readonly TableName[]): Promise<void>;
  /** Drops what a crashed start of our own left behind. */
  dropUnused(): Promise<void>;
  /**
   * Says to other processes of this pipeline that this one is at work, until its log is read, or it closes.
   * Throws `log_busy`, naming who, while another one is.
   */
  claim(): Promise<void>;
  /** True when nothing of this pipeline exists in the source yet. */
  isFresh(): Promise<boolean>;
  /** Opens the log at a new point and fixes one state of the tables at the very same point. */
  beginSnapshot(request: SnapshotRequest): Promise<SnapshotSession<PreparedTable>>;
  /** The same for more tables, beside a log that is already open elsewhere. */
  snapshotMore(request: SnapshotRequest): Promise<SnapshotSession<PreparedTable>>;
  /** Opens the log without a snapshot (`snapshot.mode: never`). */
  beginLog(): Promise<ResumePoint>;
  /** Throws `log_missing`, `log_lost`, `history_gap`, `log_busy`: both positions are named. */
  verifyResume(after: ResumePoint): Promise<void>;
  log(): LogReader<PreparedTable>;
  /** Where the source ends now, and whether a resume point covers that. */
  end(): Promise<ResumePoint>;
  covers(point: ResumePoint, end: ResumePoint): boolean;
  /** How far the source may be behind, for people: bytes between two points. */
  distance(from: ResumePoint, to: ResumePoint): number;
  /** Drops everything this pipeline made in the source. */
  reset(): Promise<void>;
  close(): Promise<void>;
};

export type SourceContext = {
  pipeline: string;
  log: (level: 'info' | 'warn', message: string) => void;
  /** Microseconds since 1970-01-01 UTC. */
  now: () => bigint;
  /**
   * The schema last in force under this name, from the state, so that a catalog that is ahead of the log is
   * noticed.
   */
  knownSchema?: (name: TableName) => TableSchema | null;
  /** How values are published; Debezium's defaults if absent. */
  formats?: Formats;
  /** What is hidden of columns before anything is stored. */
  columns?: ColumnRules;
};

export type Connector<Options> = {
  readonly kind: string;
  /** The `source:` part of the configuration; unknown keys are refused. */
  readonly options: z.ZodType<Options>;
  open(options: Options, context: SourceContext): Promise<Source>;
};
