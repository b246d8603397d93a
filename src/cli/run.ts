// Owns `varve run`: one process, one or more pipelines, signals, progress for people, the HTTP listener.
import type { Config } from '../config.ts';
import { asVarveError, VarveError } from '../errors.ts';
import { runPipeline } from '../pipeline.ts';
import type { ProgressListener } from '../progress.ts';
import { printState, STATE_KEYS, type StatusRecord } from '../topic/state.ts';
import { type Assembled, assemble } from './assemble.ts';
import { type Command, type Context, readPipeline } from './command.ts';
import { rateMeter } from './rate.ts';

/** After the first signal, what was read is made durable and folded; after this long it is left for the next start. */
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

const recordStatus = async ({ parts }: Assembled, status: Omit<StatusRecord, 'atMs'>): Promise<void> => {
  const value = printState({ ...status, atMs: parts.nowMs() } satisfies StatusRecord);
  await parts.publisher.write({ slices: [], state: [{ key: STATE_KEYS.status, value }] });
};

const runOne = async (context: Context, config: Config, stop: AbortSignal): Promise<void> => {
  const untilCaughtUp = context.flags['until-caught-up'] === true;
  const assembled = await assemble(context, config, people(context, config));
  const { parts, telemetry } = assembled;
  const server =
    config.http && (await context.listen(config.http.listen, { parts, telemetry, version: context.version }));
  try {
    await recordStatus(assembled, { state: 'running', reason: null, sentence: null });
    await runPipeline(parts, { untilCaughtUp }, stop);
    parts.progress.ended(null);
    await recordStatus(assembled, { state: 'stopped', reason: null, sentence: null });
  } catch (thrown) {
    const error = asVarveError(thrown);
    parts.progress.ended(error);
    const clean = config.secrets.reduce((text, secret) => text.replaceAll(secret, '***'), error.message);
    // The topic itself may be what failed; the error that is thrown says so.
    await recordStatus(assembled, { state: 'failed', reason: error.kind, sentence: clean }).catch(
      () => undefined,
    );
    throw error;
  } finally {
    await server?.close();
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
      const results = await Promise.allSettled(configs.map((config) => runOne(context, config, stop)));
      const wrong = results.find((result) => result.status === 'rejected');
      if (wrong) throw wrong.reason;
      return 0;
    } finally {
      dispose();
    }
  },
};
