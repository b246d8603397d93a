// Owns `varve history`: one row's whole life, over changes of its key, with who changed what and when.

import { isOwnColumn } from '../sinks/parquet/columns-layout.ts';
import type { IcebergField } from '../sinks/parquet/iceberg-type.ts';
import { readKeyValues } from '../sinks/parquet/query-text.ts';
import { type Asking, asking, limitOf, type NamedTable } from './asked.ts';
import { argument, type Command, type Context, nowUs } from './command.ts';
import { type LifeStep, type LifeVersion, lifeSteps } from './life.ts';
import { LifeLinks, type Lives } from './life-links.ts';
import { alignTable, type Cell, type Output } from './output.ts';
import { cellOf, durationText, instantText, keyFields, keyText, rowJson } from './row-text.ts';

const ENDED: Readonly<Record<string, string>> = {
  d: 'deleted',
  t: 'truncated',
  s: 'gone when a snapshot looked',
  k: 'went on under another key',
};

const howText = (
  { version, changed, rekeyedFrom }: Extract<LifeStep, { kind: 'version' }>,
  key: readonly IcebergField[],
): string => {
  if (rekeyedFrom !== null) return `key was ${keyText(rekeyedFrom, key)}`;
  if (version.previousKey !== null) return `key was ${version.previousKey}`;
  if (changed !== null && changed.length > 0) return `changed ${changed.join(', ')}`;
  if (changed !== null) return 'written again as it was';
  return version.op === 'r' ? 'seen by a snapshot' : 'inserted';
};

const lasted = (from: bigint, to: bigint | null): string =>
  to === null ? `${durationText(nowUs() - from)} so far` : durationText(to - from);

type Shown = { table: NamedTable; key: readonly IcebergField[]; fields: readonly IcebergField[] };

/** Columns that say something in this life: dropped ones only where they had a value. */
const shownFields = (
  { records, layout: { fields, columns } }: NamedTable,
  versions: readonly LifeVersion[],
): IcebergField[] => {
  const live = new Set(records.at(-1)?.columns.flatMap(({ id }) => columns.get(id) ?? []));
  return fields.filter(
    ({ id, name }, at) =>
      (!isOwnColumn(name) && live.has(id)) ||
      (versions.some(({ values }) => (values[at] ?? null) !== null) &&
        (name === '_incomplete' || !isOwnColumn(name))),
  );
};

const stepLine = (step: LifeStep, { table, key, fields }: Shown, tty: boolean): Cell[] => {
  if (step.kind === 'gap') {
    const why = ENDED[step.closedBy] ?? `closed (${step.closedBy})`;
    return [instantText(step.from), lasted(step.from, step.to), `(${why})`];
  }
  const { version } = step;
  const all = table.layout.fields;
  return [
    instantText(version.from),
    lasted(version.from, version.to),
    howText(step, key),
    version.tx,
    ...fields.map((field) => cellOf(version.values[all.indexOf(field)] ?? null, field.type, tty)),
  ];
};

const printLife = (output: Output, versions: readonly LifeVersion[], table: NamedTable): void => {
  const steps = lifeSteps(versions, table.layout);
  const shown: Shown = { table, key: keyFields(table.layout), fields: shownFields(table, versions) };
  const head = ['valid_from', 'for', 'what', 'tx', ...shown.fields.map(({ name }) => name)];
  const [header = '', ...lines] = alignTable(
    head,
    steps.map((step) => stepLine(step, shown, output.tty)),
  );
  output.result({}, output.dim(header));
  for (const [at, line] of lines.entries())
    output.result({}, steps[at]?.kind === 'gap' ? output.dim(line) : line);
};

const count = (many: number, one: string): string => `${many} ${one}${many === 1 ? '' : 's'}`;

const headLine = (name: string, key: string, lives: Lives['lives']): string => {
  const keys = lives.length > 1 ? `, of ${count(lives.length, 'row')} that had this key` : '';
  return `${name} ${key}: ${count(lives.flat().length, 'version')}${keys}`;
};

const stepJson = (step: LifeStep, { name, layout }: NamedTable, life: number): object => {
  if (step.kind === 'gap') {
    const { from, to, closedBy } = step;
    const duration = to === null ? null : to - from;
    return {
      table: name,
      life,
      kind: 'gap',
      closed_by: closedBy,
      from: instantText(from),
      to: to === null ? null : instantText(to),
      lasted_us: duration,
    };
  }
  const { version, changed, rekeyedFrom } = step;
  return {
    table: name,
    life,
    kind: 'version',
    row: rowJson(version.values, layout.fields),
    changed,
    previous_key: rekeyedFrom === null ? null : rowJson(rekeyedFrom, keyFields(layout)),
    lasted_us: version.to === null ? null : version.to - version.from,
    file: version.file,
  };
};

/** A table without versions: what it has of the key, as it is. */
const showPlain = async ({ output }: Context, all: Asking, asked: Plain): Promise<void> => {
  const { table, key, limit } = asked;
  const { rows, layout, more } = await all.queries.ask(table, {
    rows: { kind: 'history', key },
    where: null,
    limit,
  });
  output.note(
    layout.mode === 'append'
      ? `${table.name} is a list of events: these are the row's.`
      : `${table.name} keeps each row as it is: what it was before is not kept.`,
  );
  const { fields } = layout;
  if (output.json)
    for (const row of rows) output.result({ table: table.name, kind: 'row', row: rowJson(row, fields) }, '');
  else
    output.table(
      fields.map(({ name }) => name),
      rows.map((row) => fields.map(({ type }, at) => cellOf(row[at] ?? null, type, output.tty))),
    );
  if (more) output.note(`only the first ${rows.length} are shown: say --limit`);
};

type Plain = { table: NamedTable; key: ReturnType<typeof readKeyValues>; limit: number };

const showLives = async (context: Context, all: Asking, { table, key, limit }: Plain): Promise<void> => {
  const { output } = context;
  const { lives, lost, more } = await new LifeLinks(all, table, limit).follow(key);
  if (output.json) {
    for (const [at, versions] of lives.entries())
      for (const step of lifeSteps(versions, table.layout)) output.result(stepJson(step, table, at + 1), '');
    for (const sentence of lost) output.result({ table: table.name, kind: 'lost', sentence }, '');
    return;
  }
  output.note(headLine(table.name, keyText(key, keyFields(table.layout)), lives));
  for (const [at, versions] of lives.entries()) {
    if (at > 0) output.result({}, '');
    printLife(output, versions, table);
  }
  for (const sentence of lost) output.note(sentence);
  if (more) output.note(`only the first ${limit} versions of a key are shown: say --limit`);
};

export const history: Command = {
  name: 'history',
  usage: 'history FILE TABLE KEY.. [--limit N] [--explain]',
  summary: "shows one row's whole life; KEY is its key columns in their order",
  details: 'A value that begins with a dash comes after --: history FILE TABLE -- -7\n',
  options: { limit: { type: 'string' }, explain: { type: 'boolean' } },
  run(context) {
    argument(context, 2);
    const limit = limitOf(context);
    return asking(context, async (all) => {
      const table = await all.find(argument(context, 1));
      const key = readKeyValues(context.arguments.slice(2), keyFields(table.layout));
      const asked = { table, key, limit };
      const hasLives = table.layout.fields.some(({ name }) => name === 'valid_to');
      await (hasLives ? showLives : showPlain)(context, all, asked);
      return 0;
    });
  },
};
