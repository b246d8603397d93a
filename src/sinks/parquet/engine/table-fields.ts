// Owns the columns of a table as the engine addresses them: the user's, Varve's own, the key's. Knows no
// SQL statement.
import { isOwnColumn, type TableLayout } from '../columns-layout.ts';
import type { IcebergField } from '../iceberg-type.ts';
import { columnOf } from './sql.ts';

export class TableFields {
  /** In schema order: first the user's, then Varve's. */
  readonly all: readonly IcebergField[];
  readonly user: readonly IcebergField[];
  readonly own: readonly IcebergField[];
  readonly key: readonly IcebergField[];
  readonly #byName: ReadonlyMap<string, number>;

  constructor({ fields, key }: TableLayout) {
    this.all = fields;
    this.user = fields.filter(({ name }) => !isOwnColumn(name));
    this.own = fields.filter(({ name }) => isOwnColumn(name));
    this.key = key.map((id) => fields.find((field) => field.id === id) as IcebergField);
    this.#byName = new Map(this.own.map((field) => [field.name, fields.indexOf(field)]));
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
