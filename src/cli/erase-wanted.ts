// Owns what somebody asks to be erased, made a plan: whose rows, which columns, what the topic has of them.
import { VarveError } from '../errors.ts';
import { isOwnColumn } from '../sinks/parquet/columns-layout.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import { type ErasedTable, findKeys, loadErasable, planErasure } from '../sinks/parquet/erase-search.ts';
import { readKeyValues } from '../sinks/parquet/query-text.ts';
import { type Asking, flagText, type NamedTable } from './asked.ts';
import type { Context } from './command.ts';
import type { Planned } from './erase-plan.ts';
import { findInTopic, otherTopics } from './erase-topic.ts';
import { keyFields } from './row-text.ts';

export type Erasing = { context: Context; all: Asking; table: NamedTable; open: ErasedTable };

/** Field ids and names of the columns to be blanked; null: rows go. Throws `usage`. */
const readBlank = (
  context: Context,
  { layout, name }: NamedTable,
): { ids: number[]; names: string[] } | null => {
  const text = flagText(context, 'blank');
  if (text === null) return null;
  const names = text.split(',').map((one) => one.trim());
  const ids = names.map((wanted) => {
    const field = layout.fields.find((one) => one.name === wanted);
    if (field !== undefined && !layout.key.includes(field.id) && !isOwnColumn(wanted)) return field.id;
    const able = layout.fields.filter((one) => !layout.key.includes(one.id) && !isOwnColumn(one.name));
    const why =
      field === undefined ? `${name} has no such column` : 'a key, and what Varve adds, cannot be blanked';
    throw new VarveError(
      'usage',
      `--blank ${wanted}: ${why}. ` + `It can be ${able.map((one) => one.name).join(', ')}.`,
    );
  });
  return { ids, names };
};

/** What there is to erase. Throws `usage` for keys that are none, and for a table that lags behind. */
export const makePlan = async ({ context, all, table, open }: Erasing): Promise<Planned> => {
  const loaded = await loadErasable(open);
  const where = flagText(context, 'where');
  const texts = context.arguments.slice(2);
  if ((where === null) === (texts.length === 0))
    throw new VarveError('usage', 'Say the key of one row, or --where with a condition that finds keys.');
  if (loaded.layout.key.length === 0)
    throw new VarveError('usage', `${table.name} has no key: nobody can tell whose its rows are.`);
  const keys =
    where === null
      ? [readKeyValues(texts, keyFields(loaded.layout))]
      : await findKeys(open, loaded.state, where);
  const blank = readBlank(context, table);
  const erased = { keys, schemas: table.records, links: [], blank: blank?.ids ?? null };
  const plan = await planErasure(open, loaded, erased);
  const asked = { feed: all.feed, table, offsets: plan.offsets };
  const held = await findInTopic(asked, new Set(keys.map(keyTextOf)));
  if (held.waiting > 0)
    throw new VarveError(
      'usage',
      `The topic holds ${held.waiting} records of it that the table has not folded yet, and that would ` +
        'come back: varve run FILE --until-caught-up, then erase.',
      { facts: { waiting: held.waiting } },
    );
  const others = await otherTopics(all.feed, all.config);
  return { name: table.name, plan, held, others, blank: blank?.names ?? null };
};
