// Owns what can be known of a pipeline from what is durable, whether its daemon runs or not: state,
// positions, lag.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config.ts';
import { readTableSummary, type TableSummary } from './sinks/parquet/summary.ts';
import type { Feed } from './topic/feed.ts';
import { blockedBy } from './topic/parked.ts';
import {
  type Checkpoint,
  readState,
  type SchemaRecord,
  type SnapshotRecord,
  STATE_KEYS,
  type StatusRecord,
} from './topic/state.ts';

type TableStatus = {
  topic: string;
  table: string;
  /** none: not asked for; running: rows are still being read. */
  snapshot: 'none' | 'running' | 'done';
  /**
   * Offsets ever given away, and those that the table's last commit does not cover yet (null without a
   * table): records, and in Kafka the ends of transactions as well.
   */
  end: number;
  waiting: number | null;
  /** Why its changes wait beside its topic; null: they do not. */
  blocked: string | null;
  summary: Omit<TableSummary, 'offsets'> | null;
};

type PipelineStatus = {
  name: string;
  state: string;
  reason: string | null;
  sentence: string | null;
  resume: string | null;
  epoch: number | null;
  /** Milliseconds since the newest captured change was committed at the source. */
  newestChangeAgeMs: number | null;
  /** Size of the topic on this machine's disk; null: it is elsewhere. */
  topicBytes: number | null;
  tables: TableStatus[];
};

const withoutOffsets = ({ offsets: _, ...shown }: TableSummary): TableStatus['summary'] => shown;

/** Sums over a topic's partitions; `folded`: next offset to read, by partition. */
export const measureTopic = async (
  feed: Feed,
  topic: string,
  folded: ReadonlyMap<number, bigint>,
): Promise<{ end: number; waiting: number }> => {
  const sums = { end: 0, waiting: 0 };
  for (let partition = 0; partition < (await feed.partitions(topic)); partition++) {
    const { start, end } = await feed.ends(topic, partition);
    sums.end += Number(end);
    sums.waiting += Number(end - (folded.get(partition) ?? start));
  }
  return sums;
};

const tableStatus = async (
  config: Config,
  feed: Feed,
  { topic, record, state }: { topic: string; record: SchemaRecord; state: ReadonlyMap<string, string> },
): Promise<TableStatus> => {
  const snapshot = readState<SnapshotRecord>(state, STATE_KEYS.snapshot(topic));
  const [namespace, name] = record.table;
  const summary = config.table ? await readTableSummary(config.table, { namespace, name }) : null;
  const { end, waiting } = await measureTopic(feed, topic, summary?.offsets ?? new Map());
  return {
    topic,
    table: `${namespace}.${name}`,
    snapshot: snapshot === null ? 'none' : snapshot.done ? 'done' : 'running',
    end,
    blocked: blockedBy(state, topic),
    waiting: config.table ? waiting : null,
    summary: summary === null ? null : withoutOffsets(summary),
  };
};

/** Size of the topic on disk. */
export const topicBytes = async (path: string): Promise<number> => {
  let bytes = 0;
  for (const name of await readdir(path)) {
    // Retention may take one in between.
    bytes += (await stat(join(path, name)).catch(() => null))?.size ?? 0;
  }
  return bytes;
};

/** Reads state, topics and tables; needs no source. Plain values, as JSON has them. */
export const pipelineStatus = async (config: Config, feed: Feed, nowMs: number): Promise<PipelineStatus> => {
  const state = await feed.state();
  const checkpoint = readState<Checkpoint>(state, STATE_KEYS.checkpoint);
  const status = readState<StatusRecord>(state, STATE_KEYS.status);
  const tables: TableStatus[] = [];
  for (const topic of [...(await feed.topics())].sort()) {
    const record = readState<SchemaRecord>(state, STATE_KEYS.schema(topic, 1));
    if (record !== null) tables.push(await tableStatus(config, feed, { topic, record, state }));
  }
  const commitMs = checkpoint === null ? 0 : Number(BigInt(checkpoint.commitTs) / 1000n);
  return {
    name: config.name,
    state: status?.state ?? 'new',
    reason: status?.reason ?? null,
    sentence: status?.sentence ?? null,
    resume: checkpoint?.resume ?? null,
    epoch: readState<{ epoch: number }>(state, STATE_KEYS.epoch)?.epoch ?? null,
    topicBytes: config.topic.kind === 'embedded' ? await topicBytes(config.topic.path) : null,
    newestChangeAgeMs: commitMs === 0 ? null : Math.max(0, nowMs - commitMs),
    tables,
  };
};
