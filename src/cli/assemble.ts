// Owns putting a pipeline together from its file: topic, table, source, progress. Shared by the commands that run one.
import { randomUUID } from 'node:crypto';
import type { TableSchema } from '../change/schema.ts';
import type { Config } from '../config.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { Progress, type ProgressListener } from '../progress.ts';
import { schemaRecords } from '../sinks/fold.ts';
import { openParquetSink } from '../sinks/parquet/sink.ts';
import type { Sink } from '../sinks/sink.ts';
import { makeTelemetry, type Telemetry } from '../telemetry.ts';
import { COMPRESSIONS } from '../topic/compression.ts';
import { writeDeadLetters } from '../topic/dead-letters.ts';
import { openEmbeddedFeed } from '../topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../topic/embedded/publisher.ts';
import type { Feed } from '../topic/feed.ts';
import { topicName } from '../topic/naming.ts';
import type { Publisher } from '../topic/publisher.ts';
import { type Context, kindOf, nowUs, openSource } from './command.ts';

const HOUR_MS = 3_600_000;
/** Below this a compression context costs more than it saves. */
const COMPRESS_FROM_BYTES = 4096;

export type Assembled = { parts: PipelineParts; telemetry: Telemetry; close(): Promise<void> };

const openSink = (config: Config, publisher: Publisher, telemetry: Telemetry): Sink | null => {
  const { table } = config;
  if (table === undefined) return null;
  return openParquetSink({
    directory: table.location,
    memoryMb: table.memory_mb,
    collapse: table.same_transaction === 'collapse',
    lateWindowMs: table.late_window_hours * HOUR_MS,
    keepSnapshots: table.keep_snapshots,
    keepSnapshotsMs: table.keep_snapshots_hours * HOUR_MS,
    nowMs: Date.now,
    randomId: randomUUID,
    bury: (topic, dead) => writeDeadLetters({ publisher, prefix: config.name, nowMs: Date.now }, topic, dead),
    onTrouble: (what, cause) => telemetry.log.warn({ cause: String(cause) }, what),
  });
};

/** The shape of a table as it was last published: what a log that lags behind its catalog may still speak of. */
const newestSchema = (publisher: Publisher, topic: string): TableSchema | null => {
  const record = schemaRecords(publisher.state(), topic).at(-1);
  return record === undefined ? null : { name: record.table, columns: record.columns, key: record.key };
};

/** The reading side alone: for commands that look at a pipeline which may be running elsewhere. */
export const openFeed = (config: Config): Promise<Feed> => openEmbeddedFeed({ path: config.topic.path });

/** Opens the topic (refused while another process has it) and the table; the source is opened by the pipeline. */
export const assemble = async (
  context: Context,
  config: Config,
  listener: ProgressListener,
): Promise<Assembled> => {
  const { output } = context;
  const level = output.tty && config.log.level === 'info' ? 'warn' : config.log.level;
  const telemetry = makeTelemetry({ level });
  const { retention_hours, retention_gb, path } = config.topic;
  const publisher = await openEmbeddedPublisher({
    path,
    retention: { ageMs: retention_hours * HOUR_MS, bytes: retention_gb * 2 ** 30 },
    hold: (topic) => config.table !== undefined && !topic.startsWith(`${config.name}.varve.`),
    now: Date.now,
    randomId: randomUUID,
    onFull: () => telemetry.log.warn({ path }, 'the topic is full: waiting for the table to catch up'),
  });
  try {
    const feed = await openFeed(config);
    const sink = openSink(config, publisher, telemetry);
    const parts: PipelineParts = {
      config,
      kind: kindOf(config),
      source: () =>
        openSource(context, config, (table) => newestSchema(publisher, topicName(config.name, table))),
      publisher,
      feed,
      sink,
      progress: new Progress(telemetry, Date.now, listener),
      finishBatch: (builder) => builder.finish(builder.size < COMPRESS_FROM_BYTES ? null : COMPRESSIONS.zstd),
      nowMs: Date.now,
      nowUs,
      random: Math.random,
    };
    const close = async (): Promise<void> => {
      await sink?.close();
      await feed.close();
      await publisher.close();
    };
    return { parts, telemetry, close };
  } catch (thrown) {
    await publisher.close();
    throw thrown;
  }
};
