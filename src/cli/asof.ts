// Owns `varve asof` and `varve history`: the table as it was, and one row's whole life.
import { isOrder } from '../change/order.ts';
import { VarveError } from '../errors.ts';
import { type Answer, askTable, type Question } from '../sinks/parquet/query.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';
import type { Cell } from './output.ts';
import { printableCell } from './printable.ts';
import { knownTables, tableTopic } from './table-topic.ts';

const DEFAULT_LIMIT = 1000;

/** Columns that only say what was asked for. */
const ASOF_HIDES: ReadonlySet<string> = new Set([
  'is_current',
  '_order_end',
  '_closed_by',
  '_previous_key',
  '_commit_ts',
  '_tx',
  '_order',
  '_op',
]);

/** Left out where they say nothing. */
const RARE: ReadonlySet<string> = new Set(['_incomplete', '_previous_key']);

const HISTORY_HIDES: ReadonlySet<string> = new Set([
  'is_current',
  '_order_end',
  '_commit_ts',
  '_order',
  '_incomplete',
]);

const ask = async (context: Context, question: Question): Promise<Answer> => {
  const config = await readPipeline(context, argument(context, 0));
  if (config.table === undefined)
    throw new VarveError('usage', `${config.file} has no table: there is nothing to ask.`);
  const feed = await openFeed(context, config);
  try {
    const topic = await tableTopic(feed, config, argument(context, 1));
    const record = (await knownTables(feed)).get(topic);
    const [namespace = '', name = ''] = record?.table ?? [];
    return await askTable(config.table.location, { namespace, name }, question);
  } finally {
    await feed.close();
  }
};

const show = (
  { output }: Context,
  { columns, rows, fields, more }: Answer,
  hidden: ReadonlySet<string>,
): void => {
  const types = columns.map((name) => fields.find((field) => field.name === name)?.type ?? 'string');
  const shown = columns
    .map((name, at) => ({ name, at }))
    .filter(
      ({ name, at }) =>
        output.json || !(hidden.has(name) || (RARE.has(name) && rows.every((row) => row[at] === null))),
    );
  const printed = rows.map((row) =>
    shown.map(({ at }) => printableCell(row[at] ?? null, types[at] ?? 'string')),
  );
  const cells = output.json
    ? printed
    : printed.map((row) =>
        row.map((cell) => (typeof cell === 'object' && cell !== null ? JSON.stringify(cell) : cell)),
      );
  output.table(
    shown.map(({ name }) => name),
    cells as Cell[][],
  );
  if (more) output.note(`only the first ${rows.length} rows are shown: say --limit`);
};

const limitOf = ({ flags }: Context): number => {
  const limit = Number(flags.limit ?? DEFAULT_LIMIT);
  if (Number.isInteger(limit) && limit > 0) return limit;
  throw new VarveError('usage', `--limit is a whole number above 0, not ${flags.limit}.`);
};

const instantOf = (text: string): Question['rows'] => {
  if (isOrder(text)) return { kind: 'asOf', at: { order: text } };
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new VarveError('usage', `--at is a time such as 2026-01-31T12:00:00Z, or an ORDER, not ${text}.`);
  // Date holds milliseconds; what is finer stays in the text.
  const finer = /\.\d{3}(\d{1,3})/.exec(text)?.[1]?.padEnd(3, '0') ?? '0';
  return { kind: 'asOf', at: { ts: BigInt(ms) * 1000n + BigInt(finer) } };
};

export const asof: Command = {
  name: 'asof',
  usage: 'asof FILE TABLE [--at TIME|ORDER] [--where SQL] [--limit N]',
  summary: 'shows the table as it was, or as it is',
  options: { at: { type: 'string' }, where: { type: 'string' }, limit: { type: 'string' } },
  async run(context) {
    const { at, where } = context.flags;
    const rows: Question['rows'] = typeof at === 'string' ? instantOf(at) : { kind: 'current' };
    const answer = await ask(context, {
      rows,
      where: typeof where === 'string' ? where : null,
      limit: limitOf(context),
    });
    show(context, answer, ASOF_HIDES);
    return 0;
  },
};

export const history: Command = {
  name: 'history',
  usage: 'history FILE TABLE KEY.. [--limit N]',
  summary: "shows one row's whole life; KEY is its key columns in their order",
  options: { limit: { type: 'string' } },
  async run(context) {
    argument(context, 2);
    const key = context.arguments.slice(2);
    show(
      context,
      await ask(context, { rows: { kind: 'history', key }, where: null, limit: limitOf(context) }),
      HISTORY_HIDES,
    );
    return 0;
  },
};
