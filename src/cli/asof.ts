// Owns `varve asof`: one table or several as they were, or as they are.
import { VarveError } from '../errors.ts';
import type { Answer } from '../sinks/parquet/query.ts';
import { type Asking, asking, flagText, limitOf, type NamedTable } from './asked.ts';
import { argument, type Command, type Context } from './command.ts';
import { commonMoment, type Together } from './cut.ts';
import { NOW, readMoment, readSnapshot, type SaidMoment } from './moment.ts';
import { cellOf, rowJson } from './row-text.ts';
import { shapeAt } from './shape.ts';

/** Columns that only say what was asked for. */
const HIDDEN: ReadonlySet<string> = new Set([
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
const RARE: ReadonlySet<string> = new Set(['_incomplete', 'valid_to']);

const saidMoment = (context: Context): SaidMoment => {
  const [at, snapshot] = [flagText(context, 'at'), flagText(context, 'snapshot')];
  if (at !== null && snapshot !== null)
    throw new VarveError('usage', 'Say --at or --snapshot: each of them is a moment.');
  if (snapshot !== null) return readSnapshot(snapshot, '--snapshot');
  return at === null ? NOW : readMoment(at, '--at');
};

const showRows = ({ output }: Context, { rows, layout, more }: Answer): void => {
  const shown = layout.fields
    .map((field, at) => ({ field, at }))
    .filter(
      ({ field: { name }, at }) =>
        !(HIDDEN.has(name) || (RARE.has(name) && rows.every((row) => row[at] === null))),
    );
  output.table(
    shown.map(({ field }) => field.name),
    rows.map((row) => shown.map(({ field, at }) => cellOf(row[at] ?? null, field.type, output.tty))),
  );
  if (more) output.note(`only the first ${rows.length} rows are shown: say --limit`);
};

/** What was said on the command line, once for all tables. */
type Said = { said: SaidMoment; where: string | null; limit: number };

/** The table as of the moment, asked. */
const askOne = async (all: Asking, table: NamedTable, { said, where, limit }: Said): Promise<Answer> => {
  const then =
    said.snapshot === null ? table : { ...table, ...(await all.queries.openAt(table, said.snapshot)) };
  const shape = await shapeAt(all, then, said);
  return all.queries.ask(then, { rows: said.moment, where, limit }, shape);
};

type Parts = { context: Context; all: Asking; question: Said };

const showOne = async ({ context, all, question }: Parts, named: string): Promise<void> => {
  const { output } = context;
  const table = await all.find(named);
  const answer = await askOne(all, table, question);
  if (!output.json) {
    if (question.said !== NOW) output.note(`${table.name} as of ${question.said.text}`);
    showRows(context, answer);
    return;
  }
  const { fields } = answer.layout;
  for (const row of answer.rows) output.result(rowJson(row, fields), '');
};

const sayTogether = ({ output }: Context, { said, doubt }: Together, tables: readonly NamedTable[]): void => {
  const names = tables.map(({ name }) => name);
  output.result(
    { tables: names, as_of: said.text, one_moment: doubt === null, doubt },
    output.dim(`as of ${said.text}`),
  );
  if (doubt !== null) output.note(doubt);
};

const showSeveral = async ({ context, all, question }: Parts, names: readonly string[]): Promise<void> => {
  const { output } = context;
  const tables: NamedTable[] = [];
  for (const name of names) tables.push(await all.find(name));
  const together = await commonMoment(all, tables, question.said);
  sayTogether(context, together, tables);
  for (const table of tables) {
    const answer = await askOne(all, table, { ...question, said: together.said });
    const { fields } = answer.layout;
    if (output.json) {
      for (const row of answer.rows) output.result({ table: table.name, row: rowJson(row, fields) }, '');
      continue;
    }
    output.result({}, `\n${table.name}`);
    showRows(context, answer);
  }
};

export const asof: Command = {
  name: 'asof',
  usage: 'asof FILE TABLE.. [--at TIME|ORDER | --snapshot ID] [--where SQL] [--limit N] [--explain]',
  summary: 'shows tables as they were, or as they are',
  details:
    'Several tables are shown as of one moment, where that can be had. A time without a zone is UTC.\n' +
    'SQL is a condition over one row: no subqueries.\n',
  options: {
    at: { type: 'string' },
    snapshot: { type: 'string' },
    where: { type: 'string' },
    limit: { type: 'string' },
    explain: { type: 'boolean' },
  },
  run(context) {
    const first = argument(context, 1);
    const names = context.arguments.slice(1);
    const said = saidMoment(context);
    const question = { said, where: flagText(context, 'where'), limit: limitOf(context) };
    if (said.snapshot !== null && names.length > 1)
      throw new VarveError('usage', "A snapshot is one table's own: ask for one table, or say --at.");
    return asking(context, async (all) => {
      const parts = { context, all, question };
      await (names.length === 1 ? showOne(parts, first) : showSeveral(parts, names));
      return 0;
    });
  },
};
