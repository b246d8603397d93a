// Owns `varve run`: one process, one or more pipelines, signals, progress for people, the HTTP listener.
import type { Config } from '../config.ts';
import { asVarveError, VarveError } from '../errors.ts';
import { runPipeline } from '../pipeline.ts';
import type { ProgressListener, Standing } from '../progress.ts';
import { retrying, TRIES_TO_END } from '../retry.ts';
import { type Assembled, assemble, openTelemetry } from './assemble.ts';
import { type Command, type Context, type ListenOptions, readPipeline } from './command.ts';
import { rateMeter } from './rate.ts';
import { recordLastStatus, recordStatus } from './status-record.ts';

/**
 * After the first signal, what was read is made durable and folded; after this long it is left for the next
 * start.
 */
const DRAIN_MS = 20_000;

const people = (context: Context, config: Config): ProgressListener => {
  const { output } = context;
  // Elsewhere the log lines say it all.
  if (!output.tty) return {};
  const meter = rateMeter(Date.now);
  return {
    onStep: (message) => output.note(`${config.name}: ${message}`),
    onSnapshot: ({ table, rows, estimatedRows, tableDone }) => {
      const eta = meter.eta(table, rows, estimatedRows);
      if (tableDone) output.note(`${config.name}: ${table} read, ${rows.toLocaleString('en')} rows`);
      else output.progress(`${table}  ${rows.toLocaleString('en')} rows  ${eta}`);
    },
    onDurable: (events) => output.progress(`${config.name}: ${meter.rate('events', events)} changes/s`),
  };
};

type Start = { config: Config; listener: ProgressListener; tries: number };

/** The source is free before the last word is written: whoever takes over then says how things stand. */
const unlessReplaced = (thrown: unknown): void => {
  if (asVarveError(thrown).kind !== 'fenced') throw thrown;
};

/** A topic that is away is waited for, as a source is. Null when `stop` comes first. */
const assembleWhenThere = async (
  context: Context,
  { config, listener, tries }: Start,
  stop: AbortSignal,
): Promise<Assembled | null> => {
  const { log } = openTelemetry(context, config);
  const onRetry = ({ kind, message }: VarveError, pauseMs: number): void =>
    log.warn({ half: 'topic', kind, pauseMs: Math.round(pauseMs) }, message);
  let assembled: Assembled | null = null;
  const once = async (): Promise<void> => {
    assembled = await assemble(context, config, listener);
  };
  await retrying(once, { tries, progress: () => 0, onRetry, random: Math.random }, stop);
  return assembled;
};

const runOne = async (context: Context, config: Config, stop: AbortSignal): Promise<void> => {
  const untilCaughtUp = context.flags['until-caught-up'] === true;
  const listener = people(context, config);
  const tries = untilCaughtUp ? TRIES_TO_END : Number.POSITIVE_INFINITY;
  const assembled = await assembleWhenThere(context, { config, listener, tries }, stop);
  if (assembled === null) return;
  const { parts, telemetry } = assembled;
  const { progress } = parts;
  // Who has opened a topic of this machine holds its lock; elsewhere a writer must first become one.
  const isAlwaysWriter = config.topic.kind === 'embedded';
  let isWriter = isAlwaysWriter;
  let isTold = false;
  const record = async (standing: Standing): Promise<void> => {
    if (isWriter) await recordStatus(parts, standing);
  };
  const onWriter = async (): Promise<void> => {
    isWriter = true;
    if (isTold) return;
    isTold = true;
    await record(progress.standing);
  };
  const onStandBy = (): void => {
    isWriter = isAlwaysWriter;
    isTold = false;
  };
  // What cannot be written down is said by the write that matters, and by the log.
  listener.onStanding = (standing) => void record(standing).catch(() => undefined);
  try {
    await using _ = await openListener(context, config, { parts, telemetry, version: context.version });
    await runPipeline({ ...parts, onWriter, onStandBy }, { untilCaughtUp }, stop);
    progress.ended(null);
    if (isWriter) await recordLastStatus(parts, progress.standing).catch(unlessReplaced);
  } catch (thrown) {
    const error = asVarveError(thrown);
    progress.ended(error);
    // The topic itself may be what failed; the error that is thrown says so. Who was replaced says no more.
    if (isWriter && error.kind !== 'fenced')
      await recordLastStatus(parts, progress.standing).catch(() => undefined);
    throw error;
  } finally {
    await assembled.close();
  }
  if (!untilCaughtUp) return;
  const { events, snapshotRows, tables } = parts.progress;
  const folded = [...tables.values()].reduce((sum, table) => sum + table.events, 0);
  const counted = [
    `${snapshotRows.toLocaleString('en')} rows read`,
    `${events.toLocaleString('en')} changes`,
  ];
  if (parts.sink !== null) counted.push(`${folded.toLocaleString('en')} events folded`);
  context.output.result(
    { name: config.name, state: 'caught_up', rows: snapshotRows, changes: events, folded },
    `${config.name}: caught up, ${counted.join(', ')}`,
  );
};

/** Null without `http:` in the file. */
const openListener = async (
  context: Context,
  { http }: Config,
  options: ListenOptions,
): Promise<AsyncDisposable | null> => {
  if (http === undefined) return null;
  const listener = await context.listen(http.listen, options);
  return { [Symbol.asyncDispose]: () => listener.close() };
};

const onSignals = (): { stop: AbortSignal; dispose(): void } => {
  const stop = new AbortController();
  const onSignal = (): void => {
    // The second signal ends at once: everything durable stays durable, the rest comes again.
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
    setTimeout(() => process.exit(0), DRAIN_MS).unref();
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  const dispose = (): void => {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  };
  return { stop: stop.signal, dispose };
};

export const run: Command = {
  name: 'run',
  usage: 'run FILE.. [--until-caught-up]',
  summary: 'captures and folds: for ever, or up to where the source ends now',
  options: { 'until-caught-up': { type: 'boolean' } },
  async run(context) {
    if (context.arguments.length === 0)
      throw new VarveError('usage', `Name a file. Usage: varve ${context.usage}`);
    const configs: Config[] = [];
    for (const file of context.arguments) configs.push(await readPipeline(context, file));
    const twice = configs.find(({ name }, at) => configs.findIndex((other) => other.name === name) !== at);
    if (twice)
      throw new VarveError(
        'config_invalid',
        `${twice.file}: another file names the pipeline ${twice.name} too.`,
      );
    const { stop, dispose } = onSignals();
    try {
      const runs = configs.map((config) => runOne(context, config, stop));
      // The others go on, for days perhaps: what ended is told now, and decides the exit code in the end.
      if (runs.length > 1) {
        for (const [at, one] of runs.entries())
          one.catch((thrown) => context.output.note(`${configs[at]?.name}: ${asVarveError(thrown).message}`));
      }
      const results = await Promise.allSettled(runs);
      const wrong = results.find((result) => result.status === 'rejected');
      if (wrong) throw wrong.reason;
      return 0;
    } finally {
      dispose();
    }
  },
};
