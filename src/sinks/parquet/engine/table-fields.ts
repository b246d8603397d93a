// Owns the columns of a table as the engine addresses them: the user's, Varve's own, the key's. Knows no
// SQL statement.
import { isOwnColumn, type TableLayout } from '../columns-layout.ts';
import type { IcebergField } from '../iceberg-type.ts';
import { columnOf } from './sql.ts';

/** Above the ids of any table's columns, below those of the companion's own. */
const UNSTORED_ID = 1_900_000_000;
/**
 * What a version has and a row of a table in latest mode has not: the rules work on versions in both. No file
 * has columns of these ids, so a row that is read has NULL there.
 */
export const UNSTORED: readonly IcebergField[] = (
  [
    ['valid_to', 'timestamptz'],
    ['is_current', 'boolean'],
    ['_order_end', 'string'],
    ['_closed_by', 'string'],
    ['_previous_key', 'string'],
  ] as const
).map(([name, type], at) => ({ id: UNSTORED_ID + at, name, required: false, type }));

export class TableFields {
  /** What the table's files have, in schema order: first the user's, then Varve's. */
  readonly stored: readonly IcebergField[];
  /** The same, and behind them those that no file has. */
  readonly all: readonly IcebergField[];
  readonly user: readonly IcebergField[];
  readonly own: readonly IcebergField[];
  readonly key: readonly IcebergField[];
  readonly #byName: ReadonlyMap<string, number>;

  constructor({ fields, key }: TableLayout, unstored: readonly IcebergField[] = []) {
    this.stored = fields;
    this.all = [...fields, ...unstored];
    this.user = fields.filter(({ name }) => !isOwnColumn(name));
    this.own = this.all.filter(({ name }) => isOwnColumn(name));
    this.key = key.map((id) => fields.find((field) => field.id === id) as IcebergField);
    this.#byName = new Map(this.own.map((field) => [field.name, this.all.indexOf(field)]));
  }

  /** Position of one of Varve's own columns. */
  indexOf(name: string): number {
    return this.#byName.get(name) ?? -1;
  }

  /** The name under which the engine has one of Varve's own columns. */
  column(name: string): string {
    return columnOf(this.all[this.indexOf(name)] as IcebergField);
  }
}
