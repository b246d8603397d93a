// Owns what is known about a run while it runs: counters for metrics, lag, the state that `status` and health
// show. Told by the halves; decides nothing.
import type { ResumePoint } from './change/event.ts';
import type { VarveError } from './errors.ts';
import type { CommitReport } from './sinks/sink.ts';
import type { SnapshotProgress } from './snapshot/snapshot.ts';
import type { Telemetry } from './telemetry.ts';
import type { OutboxNotice } from './topic/outbox-options.ts';
import type { Checkpoint } from './topic/state.ts';

export const RUN_STATES = ['starting', 'snapshot', 'streaming', 'retrying', 'stopped', 'failed'] as const;
type RunState = (typeof RUN_STATES)[number];

type TableProgress = {
  events: number;
  commits: number;
  dead: number;
  lastCommitMs: number;
  /** Next offset to read, by partition. */
  offsets: ReadonlyMap<number, bigint>;
};

/** What a half of the pipeline is told apart by: the capture, or a topic that is folded. */
export const CAPTURE = 'capture';
/** The third thing that may be in trouble: knowing which topics are this process's to fold. */
export const SHARING = 'sharing';
/** And the last: seeing which topics there are. */
export const FOLLOWING = 'following';

/** Where a run stands, for people and for the state records. */
export type Standing = { state: RunState; reason: string | null; sentence: string | null };

export type ProgressListener = {
  /** Told when a half begins to try again, and when none does any more. */
  onStanding?: (standing: Standing) => void;
  onStep?: (message: string) => void;
  onSnapshot?: (progress: SnapshotProgress) => void;
  onDurable?: (events: number) => void;
  onCommit?: (topic: string, report: CommitReport) => void;
};

export class Progress {
  readonly #telemetry: Telemetry;
  readonly #nowMs: () => number;
  readonly #listener: ProgressListener;
  #state: RunState = 'starting';
  #end: VarveError | null = null;
  /** What each half waits for that comes right by itself, oldest first. */
  readonly #troubles = new Map<string, VarveError>();
  readonly #paused = new Set<string>();
  resume: ResumePoint | null = null;
  /** Milliseconds between the newest durable change's commit and its becoming durable. */
  lagMs: number | null = null;
  events = 0;
  /** Rows of the tables that were read whole. */
  snapshotRows = 0;
  durableCheckpoints = 0;
  readonly tables = new Map<string, TableProgress>();

  constructor(telemetry: Telemetry, nowMs: () => number, listener: ProgressListener = {}) {
    this.#telemetry = telemetry;
    this.#nowMs = nowMs;
    this.#listener = listener;
  }

  get standing(): Standing {
    const [trouble] = this.#troubles.values();
    const isOver = this.#state === 'stopped' || this.#state === 'failed';
    const error = isOver ? this.#end : (trouble ?? null);
    const state = !isOver && error !== null ? 'retrying' : this.#state;
    return { state, reason: error?.kind ?? null, sentence: error?.message ?? null };
  }

  step(message: string): void {
    this.#state = message === 'streaming' ? 'streaming' : 'snapshot';
    this.recovered(CAPTURE);
    this.#telemetry.log.info(message);
    this.#listener.onStep?.(message);
  }

  snapshot(progress: SnapshotProgress): void {
    this.#telemetry.gauge('varve_snapshot_rows', progress.rows, { topic: progress.table });
    if (progress.tableDone) {
      this.snapshotRows += progress.rows;
      this.#telemetry.log.info({ topic: progress.table, rows: progress.rows }, 'table read');
    }
    this.#listener.onSnapshot?.(progress);
  }

  captured(checkpoint: Checkpoint, events: number): void {
    this.resume = checkpoint.resume;
    this.durableCheckpoints++;
    this.events += events;
    this.#telemetry.count('varve_captured_events_total', events);
    this.#telemetry.count('varve_checkpoints_total', 1);
    this.#telemetry.gauge('varve_last_checkpoint_timestamp_seconds', this.#nowMs() / 1000);
    if (events > 0) {
      this.lagMs = Math.max(0, this.#nowMs() - Number(BigInt(checkpoint.commitTs) / 1000n));
      this.#telemetry.gauge('varve_capture_lag_seconds', this.lagMs / 1000);
    }
    this.#listener.onDurable?.(events);
  }

  /** Nothing is wrong, but somebody may want to know. */
  noticed(notice: OutboxNotice): void {
    const { topic } = notice;
    if (notice.kind === 'oversized') {
      const { policy, bytes, limit } = notice;
      this.#telemetry.count('varve_oversized_records_total', 1, { topic, policy });
      this.#telemetry.log.warn({ topic, policy, bytes, limit }, 'a record was too large for its topic');
      return;
    }
    if (notice.kind === 'blocked') {
      const { parked, reason } = notice;
      this.#telemetry.count('varve_blocked_tables_total', 1, { topic });
      this.#telemetry.log.error({ topic, parked, reason }, 'the changes of a table wait for its schema');
      return;
    }
    const { before, now } = notice;
    this.#telemetry.count('varve_key_schema_changes_total', 1, { topic });
    this.#telemetry.log.warn({ topic, before, now }, 'keys are framed with another schema id from here on');
  }

  /** `bytes`: how much of the source's log is not durable here yet. */
  behind(bytes: number): void {
    this.#telemetry.gauge('varve_source_behind_bytes', bytes);
  }

  folded(topic: string, report: CommitReport, offsets: ReadonlyMap<number, bigint>): void {
    const known = this.tables.get(topic) ?? { events: 0, commits: 0, dead: 0, lastCommitMs: 0, offsets };
    known.offsets = offsets;
    known.events += report.events;
    known.commits++;
    known.dead += report.dead;
    known.lastCommitMs = this.#nowMs();
    this.tables.set(topic, known);
    const labels = { topic };
    this.#telemetry.count('varve_folded_events_total', report.events, labels);
    this.#telemetry.count('varve_table_commits_total', 1, labels);
    this.#telemetry.gauge('varve_table_last_commit_timestamp_seconds', known.lastCommitMs / 1000, labels);
    this.#telemetry.count('varve_dead_records_total', report.dead, labels);
    this.#telemetry.count('varve_late_events_total', report.late, labels);
    this.#telemetry.count('varve_duplicate_events_total', report.duplicates, labels);
    this.#telemetry.count('varve_conflicting_events_total', report.conflicts, labels);
    this.#telemetry.count('varve_incomplete_versions_total', report.incomplete, labels);
    if (report.dead > 0)
      this.#telemetry.log.warn({ topic, dead: report.dead }, 'records went to the dead letters');
    this.#listener.onCommit?.(topic, report);
  }

  /** Nothing tells one row of it from another, so that it can have no versions. */
  keyless(topic: string): void {
    this.#telemetry.gauge('varve_table_without_key', 1, { topic });
    this.#telemetry.log.warn(
      { topic },
      'the source table has no key, so its table is a list of events, one row each: there are no versions ' +
        'and no rows as of a time; give the source table a primary key',
    );
  }

  /** Somebody told the table of a topic to wait, or to go on. */
  paused(topic: string, isPaused: boolean): void {
    const wasPaused = this.#paused.has(topic);
    this.#telemetry.gauge('varve_table_paused', isPaused ? 1 : 0, { topic });
    if (isPaused === wasPaused) return;
    if (isPaused) this.#paused.add(topic);
    else this.#paused.delete(topic);
    this.#telemetry.log.warn({ topic }, isPaused ? 'the table is paused' : 'the table goes on');
  }

  /** So many topics are folded here now. */
  sharing(tables: number): void {
    this.#telemetry.gauge('varve_worker_tables', tables);
  }

  /** Another process folds it from here on, and tells how it goes. */
  handedOver(topic: string): void {
    this.recovered(topic);
    if (this.tables.delete(topic)) this.#telemetry.gauge('varve_table_waiting_records', 0, { topic });
  }

  /** `half`: CAPTURE, SHARING or a topic. */
  retrying(half: string, error: VarveError, pauseMs: number): void {
    this.#troubles.delete(half);
    this.#troubles.set(half, error);
    this.#telemetry.count('varve_retries_total', 1, { kind: error.kind });
    this.#telemetry.log.warn({ half, kind: error.kind, pauseMs: Math.round(pauseMs) }, error.message);
    this.#listener.onStanding?.(this.standing);
  }

  /** A half works again. */
  recovered(half: string): void {
    if (this.#troubles.delete(half) && this.#troubles.size === 0) this.#listener.onStanding?.(this.standing);
  }

  ended(error: VarveError | null): void {
    this.#state = error === null ? 'stopped' : 'failed';
    this.#end = error;
    if (error !== null) this.#telemetry.log.error({ kind: error.kind }, error.message);
  }
}
