// Owns putting a pipeline together from its file: topic, table, source, progress. Shared by the commands that
// run one.
import type { Config } from '../config.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { Progress, type ProgressListener } from '../progress.ts';
import { makeScrub } from '../secrets.ts';
import { makeTelemetry, type Telemetry } from '../telemetry.ts';
import { COMPRESSIONS } from '../topic/compression.ts';
import type { Graveyard } from '../topic/dead-letters.ts';
import { sealRecords, type TakenRecords } from '../topic/record-batch.ts';
import { openBurial } from './burial.ts';
import { type Context, kindOf, nowUs, openSource, steadyMs } from './command.ts';
import { openSink } from './open-table.ts';
import { newestSchema, openFeed } from './open-topic.ts';

/** Below this a compression context costs more than it saves. */
const COMPRESS_FROM_BYTES = 4096;

/** As the file says; the embedded topic is always compressed by what is fastest and smallest. */
const packWith = ({ topic }: Config): ((taken: TakenRecords) => Promise<Uint8Array>) => {
  const codec = COMPRESSIONS[topic.kind === 'kafka' ? topic.compression : 'zstd'];
  return (taken) => sealRecords(taken, taken.writer.pos < COMPRESS_FROM_BYTES ? null : codec);
};

/** Log lines, with every secret of the file taken out. */
export const openTelemetry = ({ output }: Context, config: Config): Telemetry => {
  const level = output.tty && config.log.level === 'info' ? 'warn' : config.log.level;
  const scrub = makeScrub(config.secrets);
  return makeTelemetry({ level, stream: { write: (line: string) => process.stderr.write(scrub(line)) } });
};

export type Assembled = { parts: PipelineParts; telemetry: Telemetry; close(): Promise<void> };

/**
 * Opens the topic (refused while another process has it) and the table; the source is opened by the pipeline.
 */
export const assemble = async (
  context: Context,
  config: Config,
  listener: ProgressListener,
): Promise<Assembled> => {
  const telemetry = openTelemetry(context, config);
  const onFull = (): void =>
    telemetry.log.warn(
      { topic: config.topic.prefix },
      'the topic is full: waiting for the table to catch up',
    );
  const topics = await context.topics(config.topic.kind);
  const publisher = await topics.openPublisher(config, onFull);
  try {
    const feed = await openFeed(context, config);
    const claims = (await topics.openClaims?.(config)) ?? null;
    const ours: Graveyard = {
      ensureTopic: (name, settings) => publisher.ensureTopic(name, settings),
      write: (write) => publisher.write(write),
      // With the run.
      close: async () => undefined,
    };
    const burial = openBurial(config.topic.prefix, async () => topics.openGraveyard?.(config) ?? ours);
    const sink = openSink(config, burial, telemetry);
    const parts: PipelineParts = {
      config,
      kind: kindOf(config),
      source: () => openSource(context, config, (table) => newestSchema(config, publisher, table)),
      publisher,
      claims,
      feed,
      sink,
      joinWorkers: topics.joinWorkers?.(config) ?? null,
      progress: new Progress(telemetry, Date.now, listener),
      packRecords: packWith(config),
      nowMs: Date.now,
      steadyMs,
      nowUs,
      random: Math.random,
    };
    const close = async (): Promise<void> => {
      await sink?.close();
      await burial.close();
      claims?.close();
      await feed.close();
      await publisher.close();
    };
    return { parts, telemetry, close };
  } catch (thrown) {
    await publisher.close();
    throw thrown;
  }
};
