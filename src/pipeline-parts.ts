// Owns what a pipeline is put together from, and how it may be run. Words only.
import type { TableName } from './change/schema.ts';
import type { Config } from './config.ts';
import type { Source } from './connector.ts';
import type { Progress } from './progress.ts';
import type { Sink } from './sinks/sink.ts';
import type { ClaimStore } from './topic/envelope-oversized.ts';
import type { Feed } from './topic/feed.ts';
import type { Publisher } from './topic/publisher.ts';
import type { TakenRecords } from './topic/record-batch.ts';
import type { JoinWorkers } from './workers.ts';

export type PipelineParts = {
  config: Config;
  kind: string;
  source: () => Promise<Source>;
  publisher: Publisher;
  /** Called each time the publisher has become the one writer of its topic. */
  onWriter?: () => Promise<void>;
  /** Called when somebody else is, and this process waits. */
  onStandBy?: () => void;
  /** Null: no place was named for values that no topic takes. */
  claims: ClaimStore | null;
  feed: Feed;
  /** Null: topic only. */
  sink: Sink | null;
  /** Null: nobody shares the tables with this process. */
  joinWorkers: JoinWorkers | null;
  progress: Progress;
  packRecords: (taken: TakenRecords) => Promise<Uint8Array>;
  /** What people call the time; it may jump either way, so no duration is taken from it. */
  nowMs: () => number;
  /** For durations: never goes back. */
  steadyMs: () => number;
  nowUs: () => bigint;
  random: () => number;
};

export type RunOptions = {
  untilCaughtUp: boolean;
  /** Read these again although their snapshot is complete. */
  tables?: readonly TableName[];
  /** Return when everything is ready to stream. */
  beginOnly?: boolean;
};
