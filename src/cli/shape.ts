// Owns which columns a table shows of a moment, and under which names: those that its source had then.
import type { Order } from '../change/order.ts';
import { fieldOfColumn, isOwnColumn, type TableLayout } from '../sinks/parquet/columns-layout.ts';
import type { IcebergField } from '../sinks/parquet/iceberg-type.ts';
import type { SchemaRecord } from '../topic/state.ts';
import type { Asking, NamedTable } from './asked.ts';
import type { SaidMoment } from './moment.ts';

/** The table's columns as the source had and named them at a schema record; null: as the table has them. */
const shapeOf = (layout: TableLayout, record: SchemaRecord | null): TableLayout => {
  if (record === null) return layout;
  const seen = new Set<string>();
  const had = record.columns.flatMap((column): IcebergField[] => {
    const field = fieldOfColumn(layout, column);
    if (field === null) return [];
    const name = column.name.toLowerCase();
    // A name that is Varve's own, or differs from another's by case alone, stays what the table calls it.
    const isTaken = isOwnColumn(name) || seen.has(name);
    seen.add(name);
    return [isTaken ? field : { ...field, name: column.name }];
  });
  const ids = new Set(had.map(({ id }) => id));
  const key = layout.fields.filter(({ id }) => layout.key.includes(id) && !ids.has(id));
  const own = layout.fields.filter(({ name }) => isOwnColumn(name));
  return { ...layout, fields: [...key, ...had, ...own] };
};

const recordAt = ({ records }: NamedTable, order: Order): SchemaRecord | null =>
  records.findLast(({ first }) => first <= order) ?? records[0] ?? null;

/** The newest order among the rows that stood at a time; null where none did. */
const newestOrder = async (
  { queries }: Asking,
  table: NamedTable,
  { moment }: SaidMoment,
): Promise<Order | null> => {
  const { layout } = table;
  const fields = layout.fields.filter(({ id, name }) => layout.key.includes(id) || isOwnColumn(name));
  const question = { rows: moment, where: null, limit: 1, newestFirst: true } as const;
  const { columns, rows } = await queries.ask(table, question, { ...layout, fields });
  const order = rows[0]?.[columns.indexOf('_order')] ?? null;
  return typeof order === 'string' ? order : null;
};

/**
 * A table's columns as of a moment: of a snapshot, what it was folded with; of an order, what was in force;
 * of a time, what the rows that stood then were written with.
 */
export const shapeAt = async (asking: Asking, table: NamedTable, said: SaidMoment): Promise<TableLayout> => {
  const { layout, records, state } = table;
  const { moment } = said;
  if (said.snapshot !== null) {
    const n = Number(state.snapshot?.summary['varve.schema'] ?? Number.NaN);
    return shapeOf(layout, records.find((record) => record.n === n) ?? null);
  }
  if (moment.kind === 'current' || records.length < 2) return shapeOf(layout, records.at(-1) ?? null);
  if ('order' in moment.at) return shapeOf(layout, recordAt(table, moment.at.order));
  const order = await newestOrder(asking, table, said);
  return shapeOf(layout, order === null ? (records[0] ?? null) : recordAt(table, order));
};
