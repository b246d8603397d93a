// Owns putting a pipeline together from its file: topic, table, source, progress. Shared by the commands that run one.
import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { Progress, type ProgressListener } from '../progress.ts';
import { openParquetSink } from '../sinks/parquet/sink.ts';
import type { DeadRecord, Sink } from '../sinks/sink.ts';
import { makeTelemetry, type Telemetry } from '../telemetry.ts';
import { COMPRESSIONS } from '../topic/compression.ts';
import { openEmbeddedFeed } from '../topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../topic/embedded/publisher.ts';
import type { Feed } from '../topic/feed.ts';
import type { Publisher } from '../topic/publisher.ts';
import { RecordBatchBuilder } from '../topic/record-batch.ts';
import { type Context, kindOf, nowUs, openSource } from './command.ts';

const HOUR_MS = 3_600_000;
const utf8 = new TextEncoder();
const REASON = utf8.encode('varve.reason');

export type Assembled = { parts: PipelineParts; telemetry: Telemetry; close(): Promise<void> };

/** Records that no table can hold, as they were, each with its place and the reason. */
const buryIn =
  (config: Config, publisher: Publisher) => async (topic: string, dead: readonly DeadRecord[]) => {
    const grave = `${config.name}.varve.dead`;
    await publisher.ensureTopic(grave, { partitions: 1 });
    const builder = new RecordBatchBuilder();
    for (const { partition, offset, value, reason } of dead) {
      builder.beginRecord(Date.now());
      builder.beginKey();
      builder.writer.raw(utf8.encode(`${topic}/${partition}/${offset}`));
      builder.endKey();
      if (value === null) builder.nullValue();
      else {
        builder.beginValue();
        builder.writer.raw(value);
        builder.endValue();
      }
      builder.beginHeaders(1);
      builder.header(REASON, utf8.encode(reason));
      builder.endRecord();
    }
    const batch = builder.finish(COMPRESSIONS.zstd);
    await publisher.write({
      slices: [{ topic: grave, partition: 0, batch, records: dead.length }],
      state: [],
    });
  };

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
    bury: buryIn(config, publisher),
    onTrouble: (what, cause) => telemetry.log.warn({ cause: String(cause) }, what),
  });
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
    hold: () => config.table !== undefined,
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
      source: () => openSource(context, config),
      publisher,
      feed,
      sink,
      progress: new Progress(telemetry, Date.now, listener),
      finishBatch: (builder) => builder.finish(COMPRESSIONS.zstd),
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
