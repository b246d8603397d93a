// Owns `varve pause`, and letting a paused table go on.
import { VarveError } from '../errors.ts';
import { setPause } from '../sinks/parquet/table-pause.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';
import { knownTables, tableTopic } from './table-topic.ts';

/** Sets or lifts the pause of the table that the command names. */
const change = async (context: Context, since: string | null) => {
  const config = await readPipeline(context, argument(context, 0));
  const named = argument(context, 1);
  if (config.table === undefined)
    throw new VarveError('usage', `${config.file} has no table: there is nothing to pause.`);
  const feed = await openFeed(context, config);
  try {
    const record = (await knownTables(feed)).get(await tableTopic(feed, config, named));
    const [namespace = '', name = ''] = record?.table ?? [];
    const paused = await setPause(config.table, { namespace, name }, since);
    return { config, table: `${namespace}.${name}`, ...paused };
  } finally {
    await feed.close();
  }
};

/** Lifts the pause of a table; its sink goes on from the offsets that the table has. */
export const resumeTable = async (context: Context): Promise<void> => {
  const { config, table, offsets } = await change(context, null);
  const from = [...offsets].map(([partition, offset]) => `${partition}: ${offset}`).join(', ');
  context.output.result(
    { name: config.name, table, state: 'resumed', offsets: Object.fromEntries(offsets) },
    `${table} goes on from the offsets that it has (${from === '' ? 'the beginning' : from})`,
  );
};

export const pause: Command = {
  name: 'pause',
  usage: 'pause FILE TABLE',
  summary: "stops one table's commits, for other engines to rewrite it; the others go on",
  details:
    'The pause is kept with the table and outlives restarts. Its changes wait in the topic, which is not\n' +
    'deleted from meanwhile: varve resume FILE TABLE before the topic is full.\n',
  async run(context) {
    const { config, table, since } = await change(context, new Date().toISOString());
    context.output.result(
      { name: config.name, table, state: 'paused', since },
      `${table} is paused since ${since}: nothing is committed to it until ` +
        `varve resume ${config.file} ${table}`,
    );
    return 0;
  },
};
