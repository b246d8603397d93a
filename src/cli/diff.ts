// Owns `varve diff`: which rows of a table came, went, or changed between two moments of it.
import { VarveError } from '../errors.ts';
import { isOwnColumn } from '../sinks/parquet/columns-layout.ts';
import type { CompareResult } from '../sinks/parquet/engine/protocol.ts';
import type { IcebergField } from '../sinks/parquet/iceberg-type.ts';
import type { ComparedMoment } from '../sinks/parquet/query.ts';
import { type Asking, asking, flagText, limitOf, type NamedTable } from './asked.ts';
import { argument, type Command, type Context } from './command.ts';
import { isSameValue } from './life.ts';
import { NOW, readAnyMoment, type SaidMoment } from './moment.ts';
import type { Output } from './output.ts';
import type { Printable } from './printable.ts';
import { keyFields, keyText, rowJson, valueText } from './row-text.ts';

type Differing = CompareResult['rows'][number];

const momentOf = async (all: Asking, table: NamedTable, said: SaidMoment): Promise<ComparedMoment> => ({
  table: said.snapshot === null ? table : await all.queries.openAt(table, said.snapshot),
  moment: said.moment,
});

/** The user's columns, each with its place in a row. */
const columnsOf = ({ layout }: NamedTable): { field: IcebergField; at: number }[] =>
  layout.fields.map((field, at) => ({ field, at })).filter(({ field }) => !isOwnColumn(field.name));

const isOfKey = ({ layout }: NamedTable, { id }: IcebergField): boolean => layout.key.includes(id);

/** Columns whose values differ; of a row that came or went, those that hold something. */
const differingColumns = (table: NamedTable, { kind, before, after }: Differing) =>
  columnsOf(table).filter(({ field, at }) => {
    if (isOfKey(table, field)) return false;
    const [old, now] = [before?.[at] ?? null, after?.[at] ?? null];
    if (kind !== 'changed') return old !== null || now !== null;
    return !isSameValue(old, now);
  });

const keyOf = (table: NamedTable, { before, after }: Differing): string => {
  const { layout } = table;
  const key = keyFields(layout);
  const row = after ?? before ?? [];
  return keyText(
    key.map((field) => row[layout.fields.indexOf(field)] ?? null),
    key,
  );
};

const SIGNS = { added: '+', removed: '-', changed: '~' } as const;

const rowLine = (output: Output, table: NamedTable, row: Differing): string => {
  const columns = differingColumns(table, row).map(({ field: { name, type }, at }) => {
    const [old, now] = [row.before, row.after].map((side) => valueText(side?.[at] ?? null, type, output.tty));
    if (row.kind === 'added') return `${name}=${now}`;
    if (row.kind === 'removed') return `${name}=${old}`;
    return `${name}: ${output.bad(old ?? '')} -> ${output.good(now ?? '')}`;
  });
  const line = [`${SIGNS[row.kind]} ${keyOf(table, row)}`, ...columns].join('  ');
  if (row.kind === 'added') return output.good(line);
  return row.kind === 'removed' ? output.bad(line) : line;
};

const rowObject = (table: NamedTable, row: Differing): object => {
  const { fields } = table.layout;
  const [before, after] = [row.before, row.after].map((side) => side && rowJson(side, fields));
  const side = after ?? before ?? {};
  const columns = Object.fromEntries(
    differingColumns(table, row).map(({ field: { name } }): [string, Printable] => [
      name,
      { from: before?.[name] ?? null, to: after?.[name] ?? null },
    ]),
  );
  const key = Object.fromEntries(keyFields(table.layout).map(({ name }) => [name, side[name] ?? null]));
  return { kind: row.kind, key, columns, before, after };
};

const countsText = ({ added, removed, changed }: CompareResult['counts']): string =>
  added + removed + changed === 0
    ? 'no difference'
    : `${added} added, ${removed} removed, ${changed} changed`;

const show = (
  { output }: Context,
  { counts, rows }: CompareResult,
  { table, from, to }: { table: NamedTable; from: SaidMoment; to: SaidMoment },
): number => {
  const { added, removed, changed } = counts;
  const total = added + removed + changed;
  output.result(
    { table: table.name, from: from.text, to: to.text, ...counts },
    `${table.name} from ${from.text} to ${to.text}: ${countsText(counts)}`,
  );
  for (const row of rows)
    output.result(rowObject(table, row), output.json ? '' : rowLine(output, table, row));
  if (rows.length < total) output.note(`only the first ${rows.length} of ${total} are shown: say --limit`);
  return total;
};

export const diff: Command = {
  name: 'diff',
  usage: 'diff FILE TABLE --from MOMENT [--to MOMENT] [--where SQL] [--limit N] [--exit-code] [--explain]',
  summary: 'shows which rows of a table came, went, or changed between two moments',
  details:
    'A MOMENT is a time, an ORDER, the number of a snapshot, or now; --to is now where it is not said.\n' +
    'SQL is a condition over one row, which counts where it holds before or after.\n' +
    'With --exit-code it ends with 1 where something differs.\n',
  options: {
    from: { type: 'string' },
    to: { type: 'string' },
    where: { type: 'string' },
    limit: { type: 'string' },
    'exit-code': { type: 'boolean' },
    explain: { type: 'boolean' },
  },
  run(context) {
    const said = flagText(context, 'from');
    if (said === null) throw new VarveError('usage', `--from is missing. Usage: varve ${context.usage}`);
    const from = readAnyMoment(said, '--from');
    const until = flagText(context, 'to');
    const to = until === null ? NOW : readAnyMoment(until, '--to');
    const asked = { where: flagText(context, 'where'), limit: limitOf(context) };
    return asking(context, async (all) => {
      const table = await all.find(argument(context, 1));
      const [one, other] = [await momentOf(all, table, from), await momentOf(all, table, to)];
      const question = { layout: table.layout, ...asked };
      const result = await all.queries.compare(one, other, question);
      const total = show(context, result, { table, from, to });
      return context.flags['exit-code'] === true && total > 0 ? 1 : 0;
    });
  },
};
