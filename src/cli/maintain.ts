// Owns `varve maintain`: a table's upkeep by hand, while the daemon runs or not, and telling of it.
import { tableText } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { asVarveError, VarveError } from '../errors.ts';
import type { UpkeepNews } from '../sinks/parquet/upkeep-news.ts';
import type { SchemaRecord } from '../topic/state.ts';
import { openTelemetry } from './assemble.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { openSink } from './open-table.ts';
import { openFeed } from './open-topic.ts';
import { knownTables, tableTopic } from './table-topic.ts';

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'];

const sizeText = (bytes: number): string => {
  const unit = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** unit;
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
};

const count = (many: number, noun: string): string => `${many} ${noun}${many === 1 ? '' : 's'}`;

const REASONS: Readonly<Record<Extract<UpkeepNews, { kind: 'rewritten' }>['reason'], string>> = {
  runs: 'many small files',
  deletes: 'many deleted rows',
  small: 'small files',
  moved: 'laid out otherwise by now',
};

/** A sentence; of a dry run, what would be. */
const newsText = (news: UpkeepNews, dryRun: boolean): string => {
  const verb = (done: string): string => (dryRun ? `would be ${done}` : done);
  const deleted = (files: number, what: string, bytes: number): string =>
    `${count(files, 'file')} ${what} ${verb('deleted')} (${sizeText(bytes)})`;
  switch (news.kind) {
    case 'rewritten': {
      const { reason, partition, files, deletes, rows, bytes, made } = news;
      const into = made === null ? '' : ` into ${count(made.files, 'file')} (${sizeText(made.bytes)})`;
      const where = partition === '' ? '' : ` of ${partition}`;
      return (
        `${count(files, 'file')}${where} with ${count(deletes, 'delete file')} (${count(rows, 'row')}, ` +
        `${sizeText(bytes)}) ${verb('merged')}${into}: ${REASONS[reason]}`
      );
    }
    case 'expired':
      return `${count(news.snapshots, 'snapshot')} ${verb('expired')}`;
    case 'retired':
      return deleted(news.files, 'of expired snapshots', news.bytes);
    case 'thinned':
      return deleted(news.files, 'of replaced metadata', news.bytes);
    case 'orphans': {
      const bytes = news.orphans.reduce((sum, orphan) => sum + orphan.bytes, 0);
      const lines = news.orphans.map((orphan) => `\n  ${orphan.uri}  ${sizeText(orphan.bytes)}`);
      return `${deleted(news.orphans.length, 'that nothing names', bytes)}${lines.join('')}`;
    }
  }
};

const chosenTables = async (context: Context, config: Config): Promise<Map<string, SchemaRecord>> => {
  const feed = await openFeed(context, config);
  try {
    const tables = await knownTables(feed);
    const named = context.arguments.slice(1);
    if (named.length === 0) return tables;
    const topics = new Set<string>();
    for (const name of named) topics.add(await tableTopic(feed, config, name));
    return new Map([...tables].filter(([topic]) => topics.has(topic)));
  } finally {
    await feed.close();
  }
};

type Sink = NonNullable<ReturnType<typeof openSink>>;

/** Tells every step as it is done. */
const maintainTable = async (
  { output, flags, arguments: named }: Context,
  sink: Sink,
  [topic, { table }]: [string, SchemaRecord],
): Promise<void> => {
  const dryRun = flags['dry-run'] === true;
  const [namespace, name] = table;
  const text = tableText(table);
  const opened = await sink.open(topic, { namespace, name });
  let steps = 0;
  try {
    for await (const news of opened.upkeep({ dryRun })) {
      steps++;
      output.result({ table: text, dryRun, ...news }, `${text}: ${newsText(news, dryRun)}`);
    }
    if (steps === 0) output.result({ table: text, dryRun, kind: 'nothing' }, `${text}: nothing to do`);
  } catch (thrown) {
    const error = asVarveError(thrown);
    // Whoever names it wants to know; of all tables, those that can be kept are.
    if (error.kind !== 'table_paused' || named.length > 1) throw error;
    output.result({ table: text, dryRun, kind: 'paused' }, `${text}: ${error.message}`);
  } finally {
    await opened.close();
  }
};

/** Nothing is folded here, so nothing can be unfit for it. */
const NO_BURIAL = {
  bury: (): Promise<never> =>
    Promise.reject(new VarveError('internal', 'The upkeep of a table had dead records.')),
  close: async () => undefined,
};

export const maintain: Command = {
  name: 'maintain',
  usage: 'maintain FILE [TABLE..] [--dry-run]',
  summary: 'merges files, lets old snapshots go, deletes what nobody needs; while the daemon runs or not',
  details:
    'The daemon does the same by itself, when it is due. Both at once is safe: one wins each commit.\n' +
    '--dry-run: says what would be done.\n',
  options: { 'dry-run': { type: 'boolean' } },
  async run(context) {
    const config = await readPipeline(context, argument(context, 0));
    const sink = openSink(config, NO_BURIAL, openTelemetry(context, config));
    if (sink === null) throw new VarveError('usage', `${config.file} has no table: nothing is to be kept.`);
    try {
      for (const table of await chosenTables(context, config)) await maintainTable(context, sink, table);
      return 0;
    } finally {
      await sink.close();
    }
  },
};
