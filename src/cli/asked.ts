// Owns what every question to tables begins with: the pipeline's file, its topic, the tables by the names
// that people give them, and what --explain tells at the end.
import type { Config } from '../config.ts';
import { VarveError } from '../errors.ts';
import { schemaRecords } from '../sinks/fold.ts';
import { type AskedTable, TableQueries } from '../sinks/parquet/query.ts';
import type { Feed } from '../topic/feed.ts';
import type { SchemaRecord } from '../topic/state.ts';
import { argument, type Context, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';
import { knownTables, tableTopic } from './table-topic.ts';

export type NamedTable = AskedTable & {
  /** `schema.table`. */
  name: string;
  topic: string;
  /** All shapes that its source ever had, oldest first. */
  records: readonly SchemaRecord[];
};

export type Asking = {
  config: Config;
  feed: Feed;
  queries: TableQueries;
  /** Throws `usage` for a table that is not there. */
  find(named: string): Promise<NamedTable>;
};

const DEFAULT_LIMIT = 1000;

export const limitOf = ({ flags }: Context): number => {
  const limit = Number(flags.limit ?? DEFAULT_LIMIT);
  if (Number.isInteger(limit) && limit > 0) return limit;
  throw new VarveError('usage', `--limit is a whole number above 0, not ${flags.limit}.`);
};

/** The text of a flag, or null. */
export const flagText = ({ flags }: Context, name: string): string | null => {
  const value = flags[name];
  return typeof value === 'string' ? value : null;
};

const findTable = async (
  { config, feed, queries }: Omit<Asking, 'find'>,
  named: string,
): Promise<NamedTable> => {
  const topic = await tableTopic(feed, config, named);
  const record = (await knownTables(feed)).get(topic);
  const [namespace = '', name = ''] = record?.table ?? [];
  const table = await queries.open({ namespace, name });
  const records = schemaRecords(await feed.state(), topic);
  return { ...table, name: `${namespace}.${name}`, topic, records };
};

const count = (many: number, one: string): string => `${many} ${one}${many === 1 ? '' : 's'}`;

const explain = ({ output }: Context, { engine: { effort } }: TableQueries): void => {
  const { files, candidates, opened, deletesOpened, manifests, manifestsRead } = effort;
  const text =
    `read ${count(opened, 'data file')} of ${files} (${candidates} could hold a row) and ` +
    `${count(deletesOpened, 'delete file')}; ${count(manifestsRead, 'manifest')} of ${manifests}`;
  if (output.json) output.result({ explain: effort }, '');
  else output.note(text);
};

/** Opens what a question needs, asks, and closes it again. */
export const asking = async (context: Context, ask: (asking: Asking) => Promise<number>): Promise<number> => {
  const config = await readPipeline(context, argument(context, 0));
  if (config.table === undefined)
    throw new VarveError('usage', `${config.file} has no table: there is nothing to ask.`);
  const feed = await openFeed(context, config);
  try {
    await using queries = new TableQueries(config.table);
    const parts = { config, feed, queries };
    const code = await ask({ ...parts, find: (named) => findTable(parts, named) });
    if (context.flags.explain === true) explain(context, queries);
    return code;
  } finally {
    await feed.close();
  }
};
