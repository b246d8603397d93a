// Owns the images of a merge, column by column: an image is a row number. Knows no key, no version, no file.
import type { Order } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { Images } from '../scd2-version.ts';

const isEqual = (one: EngineValue, other: EngineValue): boolean => {
  // NaN is NaN; -0 is not 0.
  if (Object.is(one, other)) return true;
  if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object') return false;
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++)
    if (!isEqual(one[at] as EngineValue, other[at] as EngineValue)) return false;
  return true;
};

/** Ids of the fields that the source had, from an order on. */
export type Shape = { first: Order; fields: ReadonlySet<number | undefined> };

/** The shapes that events from an order on may have had. */
export const shapesFrom = (shapes: readonly Shape[], oldest: Order): readonly Shape[] =>
  shapes.filter((_, at) => shapes[at + 1] === undefined || shapes[at + 1]!.first > oldest);

const NOTHING: readonly string[] = [];

/** Which of the columns the source had; `isAll`: it had each of them. */
type Had = { columns: readonly number[]; names: ReadonlySet<string>; isAll: boolean };
const NO_COLUMNS: Had = { columns: [], names: new Set(), isAll: false };

export class RowStore implements Images<number> {
  /** `columns[c][row]`, one a field. */
  readonly columns: EngineValue[][];
  readonly incomplete: (readonly string[])[] = [];
  readonly #fields: readonly IcebergField[];
  readonly #at: ReadonlyMap<number, number>;
  readonly #shapes: readonly { first: Order; had: Had }[];
  readonly #present: ReadonlyMap<string, string>;

  /**
   * `shapes`, oldest first: columns that the source did not have make no difference. `present`: what columns
   * are called now that an older row may name otherwise.
   */
  constructor(
    fields: readonly IcebergField[],
    shapes: readonly Shape[],
    present: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#fields = fields;
    this.#present = present;
    this.columns = fields.map(() => []);
    this.#at = new Map(fields.map(({ id }, at) => [id, at]));
    this.#shapes = shapes.map(({ first, fields: ids }) => {
      const columns = fields.flatMap(({ id }, at) => (ids.has(id) ? [at] : []));
      const names = new Set(columns.map((at) => fields[at]!.name));
      return { first, had: { columns, names, isAll: columns.length === fields.length } };
    });
  }

  /** The column of a field. */
  indexOf(fieldId: number): number {
    return this.#at.get(fieldId) ?? -1;
  }

  add(values: readonly EngineValue[], incomplete: readonly string[] | null): number {
    for (let at = 0; at < this.columns.length; at++) this.columns[at]!.push(values[at] ?? null);
    return this.incomplete.push(this.#named(incomplete)) - 1;
  }

  #named(incomplete: readonly string[] | null): readonly string[] {
    const present = this.#present;
    if (incomplete === null || present.size === 0) return incomplete ?? NOTHING;
    return incomplete.map((name) => present.get(name) ?? name).sort();
  }

  /** Adds many rows at once; returns the first one's number. */
  addColumns(
    columns: readonly (readonly EngineValue[])[],
    incomplete: readonly (readonly string[] | null)[],
  ): number {
    const first = this.incomplete.length;
    for (const names of incomplete) this.incomplete.push(this.#named(names));
    for (let at = 0; at < this.columns.length; at++) {
      const column = this.columns[at]!;
      for (const value of columns[at]!) column.push(value);
    }
    return first;
  }

  readonly same = (one: number, other: number, order: Order): boolean => {
    if (one === other) return true;
    const had = this.#hadAt(order);
    const [mine, theirs] = [one, other].map((image) => {
      const names = this.incomplete[image]!;
      return names.length === 0 || had.isAll ? names : names.filter((name) => had.names.has(name));
    }) as [readonly string[], readonly string[]];
    if (mine.length !== theirs.length || mine.some((name, at) => name !== theirs[at])) return false;
    for (const at of had.columns) {
      const column = this.columns[at]!;
      if (!isEqual(column[one] ?? null, column[other] ?? null)) return false;
    }
    return true;
  };

  readonly seenAt = (image: number, order: Order): number => {
    const { isAll, columns, names } = this.#hadAt(order);
    if (isAll) return image;
    const values = this.columns.map(() => null as EngineValue);
    for (const at of columns) values[at] = this.columns[at]![image] ?? null;
    return this.add(
      values,
      this.incomplete[image]!.filter((name) => names.has(name)),
    );
  };

  #hadAt(order: Order): Had {
    return (this.#shapes.findLast(({ first }) => first <= order) ?? this.#shapes[0])?.had ?? NO_COLUMNS;
  }

  readonly isWhole = (image: number): boolean => this.incomplete[image]!.length === 0;

  readonly carry = (previous: number | null, partial: number, fieldIds: readonly number[]): number => {
    const values = this.columns.map((column) => column[partial] ?? null);
    const incomplete = new Set(this.incomplete[partial]);
    for (const id of fieldIds) {
      const at = this.indexOf(id);
      const field = this.#fields[at];
      if (field === undefined) continue;
      values[at] = previous === null ? null : (this.columns[at]![previous] ?? null);
      if (previous === null || this.incomplete[previous]!.includes(field.name)) incomplete.add(field.name);
      else incomplete.delete(field.name);
    }
    return this.add(values, [...incomplete].sort());
  };
}
