// Owns a table's columns: the user's, then Varve's own; which source column fills which, over renames,
// drops and changed types. A field id is never used again. Pure; knows no metadata file.
import type { Column } from '../../change/schema.ts';
import { tableText } from '../../change/schema.ts';
import { VarveError } from '../../errors.ts';
import type { SchemaRecord } from '../../topic/state.ts';
import { tableType } from './columns.ts';
import type { IcebergField, IcebergPrimitive, IcebergType } from './iceberg-type.ts';

/**
 * scd2: every version of every row; latest: each row as it is; append: one row an event, and what a table
 * without a key always is.
 */
export type TableMode = 'scd2' | 'latest' | 'append';

export type TableLayout = {
  mode: TableMode;
  /** In the order of the schema: the user's columns, then Varve's. */
  fields: readonly IcebergField[];
  /**
   * Source column id -> ids of the fields that it fills or ever filled, oldest first: one for each type that
   * the others cannot hold. Events from before a column was dropped or changed may still come.
   */
  columns: ReadonlyMap<number, readonly number[]>;
  /** Field ids of the key, in key order; empty where there is none. */
  key: readonly number[];
  /** Highest id ever given. */
  lastId: number;
};

type OwnColumn = { name: string; type: IcebergPrimitive | 'list'; required: boolean };

const own = (name: string, type: OwnColumn['type'], required = false): OwnColumn => ({
  name,
  type,
  required,
});

const OWN_COLUMNS: Readonly<Record<TableMode, readonly OwnColumn[]>> = {
  scd2: [
    own('valid_from', 'timestamptz', true),
    own('valid_to', 'timestamptz'),
    own('is_current', 'boolean', true),
    own('_op', 'string', true),
    own('_order', 'string', true),
    own('_order_end', 'string'),
    own('_commit_ts', 'timestamptz', true),
    own('_tx', 'string'),
    own('_closed_by', 'string'),
    own('_previous_key', 'string'),
    own('_incomplete', 'list'),
  ],
  // What a version has of its own, without what says where it ended: nothing here has ended.
  latest: [
    own('valid_from', 'timestamptz', true),
    own('_op', 'string', true),
    own('_order', 'string', true),
    own('_commit_ts', 'timestamptz', true),
    own('_tx', 'string'),
    own('_incomplete', 'list'),
  ],
  append: [
    own('_op', 'string', true),
    own('_order', 'string', true),
    own('_commit_ts', 'timestamptz', true),
    own('_tx', 'string'),
    own('_incomplete', 'list'),
  ],
};

const OWN_NAMES: ReadonlySet<string> = new Set(
  Object.values(OWN_COLUMNS).flatMap((columns) => columns.map(({ name }) => name)),
);

/** True for the columns that Varve adds, by name: a user's column never has such a name. */
export const isOwnColumn = (name: string): boolean => OWN_NAMES.has(name);

const decimalOf = (type: IcebergType): [precision: number, scale: number] | null => {
  const found = typeof type === 'string' ? /^decimal\(([0-9]+), ([0-9]+)\)$/.exec(type) : null;
  return found === null ? null : [Number(found[1]), Number(found[2])];
};

/** Iceberg's type promotions, and nothing else. */
const holds = (wide: IcebergType, narrow: IcebergType): boolean => {
  if (typeof wide !== 'string' || typeof narrow !== 'string')
    return typeof wide !== 'string' && typeof narrow !== 'string' && holds(wide.element, narrow.element);
  if (wide === narrow || (wide === 'long' && narrow === 'int')) return true;
  if (wide === 'double' && narrow === 'float') return true;
  const [one, other] = [decimalOf(wide), decimalOf(narrow)];
  return one !== null && other !== null && one[1] === other[1] && one[0] >= other[0];
};

class LayoutBuilder {
  readonly #record: SchemaRecord;
  readonly #previous: TableLayout | null;
  readonly #mode: TableMode;
  readonly #columns: Map<number, readonly number[]>;
  #lastId: number;

  constructor(record: SchemaRecord, previous: TableLayout | null, mode: TableMode) {
    this.#record = record;
    this.#previous = previous;
    this.#mode = record.key.length === 0 ? 'append' : mode;
    this.#columns = new Map(previous?.columns);
    this.#lastId = previous?.lastId ?? 0;
  }

  build(): TableLayout {
    const record = this.#record;
    const mode = this.#mode;
    const kept = this.#previous?.fields.filter(({ name }) => !isOwnColumn(name)) ?? [];
    const live = record.columns.map((column, at) => this.#field(column, record.key.includes(at)));
    const liveIds = new Set(live.map(({ id }) => id));
    const byId = new Map([...kept, ...live].map((field) => [field.id, field]));
    const names = new Set<string>(OWN_NAMES);
    // Living columns take their names first; a dropped one of the same name steps aside.
    const ordered = [...byId.values()].sort((a, b) => Number(liveIds.has(b.id)) - Number(liveIds.has(a.id)));
    const named = new Map(ordered.map((field) => [field.id, this.#named(field, names)]));
    const user = [...byId.keys()].map((id) => named.get(id) as IcebergField);
    const key = record.key.map((at) => (live[at] as IcebergField).id);
    this.#refuseNewKey(mode, key);
    return { mode, fields: [...user, ...this.#own(mode)], columns: this.#columns, key, lastId: this.#lastId };
  }

  #refuseNewKey(mode: TableMode, key: readonly number[]): void {
    const previous = this.#previous;
    // A list of events goes on whatever identifies a row.
    const isSame = previous?.mode === mode && (mode === 'append' || previous.key.join() === key.join());
    if (previous === null || isSame) return;
    const table = tableText(this.#record.table);
    throw new VarveError(
      'key_changed',
      `The key of ${table} is not the one its table was built with, so its versions cannot be continued. ` +
        'Run varve reset FILE --yes, move the table away and start again.',
      { facts: { table, schema: this.#record.n } },
    );
  }

  #field({ id, name, type }: Column, isKey: boolean): IcebergField {
    const wanted = tableType(type);
    const filled = this.#columns.get(id) ?? [];
    const known = this.#previous?.fields.find(
      (field) => filled.includes(field.id) && (holds(field.type, wanted) || holds(wanted, field.type)),
    );
    if (known !== undefined) {
      const wider = holds(known.type, wanted) ? known.type : this.#keepElement(wanted, known.type);
      return { id: known.id, name, required: known.required, type: wider };
    }
    // A truncate is a row of a list of events, and has no key.
    const required = isKey && this.#mode !== 'append';
    const field = { id: this.#newId(), name, required, type: this.#withElement(wanted) };
    this.#columns.set(id, [...filled, field.id]);
    return field;
  }

  #keepElement(wanted: IcebergType, known: IcebergType): IcebergType {
    if (typeof wanted === 'string' || typeof known === 'string') return wanted;
    return { ...wanted, 'element-id': known['element-id'] };
  }

  #named(field: IcebergField, names: Set<string>): IcebergField {
    let { name } = field;
    if (isOwnColumn(name.toLowerCase())) name = `${name}__src`;
    // Engines that fold case would take two columns for one.
    if (names.has(name.toLowerCase())) name = `${name}__${field.id}`;
    names.add(name.toLowerCase());
    return { ...field, name };
  }

  #own(mode: TableMode): IcebergField[] {
    return OWN_COLUMNS[mode].map(({ name, type, required }) => {
      const known = this.#previous?.fields.find((field) => field.name === name);
      if (known !== undefined) return known;
      const id = this.#newId();
      const list = { type: 'list', 'element-id': 0, element: 'string', 'element-required': false } as const;
      return { id, name, required, type: type === 'list' ? this.#withElement(list) : type };
    });
  }

  #withElement(type: IcebergType): IcebergType {
    return typeof type === 'string' ? type : { ...type, 'element-id': this.#newId() };
  }

  #newId(): number {
    this.#lastId++;
    return this.#lastId;
  }
}

/**
 * Columns of a table after `record`, the newest schema of its source; `previous` is what the table has,
 * null before its first commit. A rename keeps the field, a dropped column stays and is NULL from then on,
 * a type that widens is promoted, any other change of type is a new field, or an old one where the type comes
 * back. `mode` is that of a table with a key. Throws `key_changed`.
 */
export const layoutColumns = (
  record: SchemaRecord,
  previous: TableLayout | null,
  mode: TableMode = 'scd2',
): TableLayout => new LayoutBuilder(record, previous, mode).build();

/**
 * The field that holds this column's values, as it was when an event told of it; null: the table has none.
 */
export const fieldOfColumn = (
  { fields, columns }: TableLayout,
  { id, type }: Column,
): IcebergField | null => {
  const wanted = tableType(type);
  const filled = columns.get(id) ?? [];
  return fields.find((field) => filled.includes(field.id) && holds(field.type, wanted)) ?? null;
};

/** The property `varve.columns`: {"source column id": field ids}. */
export const printColumnIds = (columns: TableLayout['columns']): string =>
  JSON.stringify(Object.fromEntries(columns));

export const readColumnIds = (text: string): TableLayout['columns'] =>
  new Map(
    Object.entries(JSON.parse(text) as Record<string, number[]>).map(([id, fields]) => [Number(id), fields]),
  );
