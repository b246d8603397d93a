// Owns `varve attach`: which table, by catalog or by path, and what every engine is told to read it. The
// texts are attach-snippets.ts's.
import { tableText } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { VarveError } from '../errors.ts';
import { directoryName } from '../sinks/parquet/layout.ts';
import type { TablePlace } from '../sinks/parquet/open-store.ts';
import { isS3 } from '../sinks/parquet/s3-place.ts';
import { findTable } from '../sinks/parquet/summary.ts';
import { type Attachment, ENGINES, type ObjectStore } from './attach-snippets.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';
import { knownTables, tableTopic } from './table-topic.ts';

const ANSWER_MS = 2000;
const SERVED = "what that catalog wants of who asks (a token, ..) is each engine's own to give";

/** Null: by path. */
const restOf = ({ flags }: Context, { file, http, table }: Config): string | null => {
  const { by } = flags;
  if (by !== undefined && by !== 'rest' && by !== 'path')
    throw new VarveError('usage', `--by is rest or path, not ${by}.`);
  const served = table?.catalog?.uri;
  if (served !== undefined && by === 'path')
    throw new VarveError(
      'usage',
      `${file} commits its tables through the catalog at ${served}: no path tells which version is the ` +
        'newest. Leave --by path out.',
    );
  if (served !== undefined) return served;
  if (by === 'path' || (by === undefined && http === undefined)) return null;
  if (http !== undefined) return `http://${http.listen}`;
  throw new VarveError(
    'usage',
    `${file} has no http: part, so its daemon serves no catalog. Add one, or say --by path.`,
  );
};

const enginesOf = ({ flags }: Context): string[] => {
  const { engine } = flags;
  if (engine === undefined) return Object.keys(ENGINES);
  if (typeof engine === 'string' && Object.hasOwn(ENGINES, engine)) return [engine];
  throw new VarveError('usage', `--engine is one of ${Object.keys(ENGINES).join(', ')}, not ${engine}.`);
};

type Chosen = { table: string; others: string[]; attachment: Omit<Attachment, 'rest'> };

/** Null for a directory of this machine. */
const storeOf = ({ location, s3 = {} }: TablePlace): ObjectStore | null => {
  if (!isS3(location)) return null;
  const { endpoint, region, path_style: pathStyle = endpoint !== undefined } = s3;
  return { endpoint: endpoint?.replace(/\/$/, '') ?? null, region: region ?? null, pathStyle };
};

const chooseTable = async (context: Context, config: Config): Promise<Chosen> => {
  const { table: tables } = config;
  if (tables === undefined)
    throw new VarveError('usage', `${config.file} has no table: there is nothing to attach.`);
  const named = context.arguments[1];
  const feed = await openFeed(context, config);
  try {
    const known = await knownTables(feed);
    const wanted = named === undefined ? null : await tableTopic(feed, config, named);
    const all = [...known].sort(([, one], [, two]) => (tableText(one.table) < tableText(two.table) ? -1 : 1));
    for (const [topic, { table }] of all) {
      if (wanted !== null && topic !== wanted) continue;
      const [schema, source] = table;
      const found = await findTable(tables, { namespace: schema, name: source });
      if (found === null) continue;
      const { location, version, fields } = found.state;
      const [namespace, name] = [directoryName(schema), directoryName(source)];
      return {
        table: tableText(table),
        others: all.filter(([other]) => other !== topic).map(([, other]) => tableText(other.table)),
        attachment: {
          catalog: config.name,
          warehouse: tables.catalog === undefined ? config.name : (tables.catalog.warehouse ?? ''),
          isServed: tables.catalog !== undefined,
          root: location.slice(0, -`/${namespace}/${name}`.length),
          store: storeOf(tables),
          namespace,
          name,
          version,
          hasHistory: fields.some((field) => field.name === 'is_current'),
        },
      };
    }
    throw new VarveError(
      'usage',
      `${named ?? config.name} has no table yet: varve run ${config.file} makes it.`,
    );
  } finally {
    await feed.close();
  }
};

/** Whether this pipeline's daemon is there to be asked. */
const answers = async (rest: string, warehouse: string): Promise<boolean> => {
  try {
    const asked = `${rest}/v1/config?warehouse=${warehouse}`;
    return (await fetch(asked, { signal: AbortSignal.timeout(ANSWER_MS) })).ok;
  } catch {
    return false;
  }
};

export const attach: Command = {
  name: 'attach',
  usage: 'attach FILE [TABLE] [--engine NAME] [--by rest|path]',
  summary: 'prints what Spark, Trino, Flink, DuckDB, PyIceberg, Snowflake and ClickHouse take to read it',
  details: `
--engine NAME  one of ${Object.keys(ENGINES).join(', ')}; its text alone goes to standard output
--by rest      by the catalog of the running daemon (http: in FILE); the default where there is one
--by path      by the files alone: no daemon is needed
`,
  options: { engine: { type: 'string' }, by: { type: 'string' } },
  async run(context) {
    const { output } = context;
    const config = await readPipeline(context, argument(context, 0));
    const rest = restOf(context, config);
    const engines = enginesOf(context);
    const { table, others, attachment } = await chooseTable(context, config);
    for (const name of engines) {
      const engine = ENGINES[name];
      if (engine === undefined) continue;
      const text = engine.print({ ...attachment, rest });
      // Some engines cannot take a table of this place by catalog.
      const by = rest !== null && text.includes(rest) ? 'rest' : 'path';
      const head = `── ${engine.title} (${engine.reads}) ──`;
      const printed = engines.length === 1 ? text : `${output.dim(head)}\n${text}\n`;
      output.result({ engine: name, reads: engine.reads, by, table, text }, printed);
    }
    if (others.length > 0) output.note(`the same with TABLE: ${others.join(', ')}`);
    if (rest === null) output.note('by path: what is committed later is seen by who opens the table again');
    else if (attachment.isServed) output.note(SERVED);
    else if (!(await answers(rest, config.name)))
      output.note(`nobody answers at ${rest}: varve run ${config.file} does; without it, say --by path`);
    return 0;
  },
};
