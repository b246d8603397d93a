// Owns what differs between two states of a table: rows that came, went, or have other values. Each state is
// some files and a moment; rows that are in both as they are were left out before. Knows no snapshot.
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import { checkCondition, conditionError } from './condition.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import type { ComparedState, CompareRequest, CompareResult, EngineSettings } from './protocol.ts';
import { makeRowsView, stoodAt } from './scan.ts';
import { columnOf, quoteName } from './sql.ts';
import { TableFields } from './table-fields.ts';

type Kind = 'added' | 'removed' | 'changed';

const filterOf = ({ moment, except }: ComparedState, fields: TableFields): string => {
  const stood = stoodAt(moment, fields);
  return except === null ? stood : `${stood} AND NOT ${stoodAt(except, fields)}`;
};

/** SQL: whether a column differs; what is compared as text tells -0 from 0. */
const differs = ({ id, type }: IcebergField): string => {
  const isFloating = /^(float|double)$/.test(typeof type === 'string' ? type : type.element);
  const [one, other] = ['a', 'b'].map((side) => {
    const column = `${side}.${columnOf({ id })}`;
    return isFloating ? `CAST(${column} AS VARCHAR)` : column;
  });
  return `${one} IS DISTINCT FROM ${other}`;
};

/** SQL for the rows of a view by field id, with `hit`: whether the condition holds. */
const sideOf = (view: string, fields: readonly IcebergField[], where: string | null): string => {
  const columns = fields.map((field) => `${quoteName(field.name)} AS ${columnOf(field)}`).join(', ');
  // The line break ends a comment that the condition may end with.
  return `SELECT ${columns}, ${where === null ? 'true' : `(${where}\n)`} AS hit, true AS here FROM ${view}`;
};

const joined = (fields: TableFields, where: string | null): string => {
  const keys = fields.key.map((field) => `a.${columnOf(field)} = b.${columnOf(field)}`).join(' AND ');
  const values = fields.user.filter((field) => !fields.key.includes(field));
  const changed = ['a.here IS NULL', 'b.here IS NULL', ...values.map(differs)].join(' OR ');
  return (
    `FROM (${sideOf('from_rows', fields.all, where)}) a ` +
    `FULL JOIN (${sideOf('to_rows', fields.all, where)}) b ` +
    `ON ${keys} WHERE (${changed}) AND (coalesce(a.hit, false) OR coalesce(b.hit, false))`
  );
};

const KIND = "if(a.here IS NULL, 'added', if(b.here IS NULL, 'removed', 'changed'))";

/**
 * Rows count where the condition holds before or after. Throws `usage` for a condition that does not fit.
 */
export const runComparison = async (
  { layout, from, to, where, limit }: CompareRequest,
  { askLocal }: Pick<EngineContext, 'askLocal'>,
  settings: EngineSettings,
): Promise<CompareResult> => {
  const fields = new TableFields(layout);
  await using database = await Database.open(settings);
  if (where !== null) await checkCondition(database, where);
  const locals = new Set<string>();
  for (const [name, side] of [['from_rows', from] as const, ['to_rows', to] as const]) {
    const view = { files: side, fields, filter: filterOf(side, fields) };
    for (const local of await makeRowsView({ database, askLocal }, name, view)) locals.add(local);
  }
  await database.lock([...locals]);
  const counts = { added: 0, removed: 0, changed: 0 };
  const rows: CompareResult['rows'][number][] = [];
  const types = fields.all.map(({ type }) => type);
  const columns = (side: string): string =>
    fields.all.map((field) => `${side}.${columnOf(field)}`).join(', ');
  const keys = fields.key.map((field) => `coalesce(a.${columnOf(field)}, b.${columnOf(field)})`).join(', ');
  const source = joined(fields, where);
  try {
    const counted = `SELECT ${KIND}, count(*) ${source} GROUP BY 1`;
    await database.readOne(counted, ['string', 'long'], ([kinds = [], numbers = []], count) => {
      for (let at = 0; at < count; at++) counts[kinds[at] as Kind] = Number(numbers[at]);
    });
    const both = `${columns('a')}, ${columns('b')}`;
    const listed = `SELECT ${KIND}, ${both} ${source} ORDER BY ${keys} LIMIT ${limit}`;
    await database.readOne(listed, ['string', ...types, ...types], ([kinds = [], ...values], count) => {
      for (let at = 0; at < count; at++) {
        const row = values.map((column) => column[at] as EngineValue);
        const kind = kinds[at] as Kind;
        const before = kind === 'added' ? null : row.slice(0, types.length);
        rows.push({ kind, before, after: kind === 'removed' ? null : row.slice(types.length) });
      }
    });
  } catch (thrown) {
    throw conditionError(thrown, where);
  }
  return { columns: fields.all.map(({ name }) => name), counts, rows };
};
