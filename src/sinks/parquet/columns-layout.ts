// Owns a table's columns: the user's, then Varve's own; which source column fills which, over renames,
// drops and changed types. A field id is never used again. Pure; knows no metadata file.
import type { Column } from '../../change/schema.ts';
import { tableText } from '../../change/schema.ts';
import { VarveError } from '../../errors.ts';
import type { SchemaRecord } from '../../topic/state.ts';
import { tableType } from './columns.ts';
import { nameFields, type Reserved } from './columns-names.ts';
import { canPromote } from './iceberg/schema.ts';
import type { IcebergField, IcebergPrimitive, IcebergType } from './iceberg-type.ts';

/**
 * scd2: every version of every row; latest: each row as it is; append: one row an event, and what a table
 * without a key always is.
 */
export type TableMode = 'scd2' | 'latest' | 'append';

/** fail: the table stops; new_column: the values of the new type have a column of their own. */
export type IncompatiblePolicy = 'fail' | 'new_column';

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
  /** Names that columns had before and none has now, by field id: rows that say `_incomplete` keep them. */
  former: ReadonlyMap<string, number>;
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

/** What people and the table's files have decided already. */
type LayoutRules = {
  /** Of a table with a key. */
  mode?: TableMode;
  /** A type that the column of before cannot hold: stop, or go on in a column of its own. */
  onIncompatible?: IncompatiblePolicy;
  /** Names of partition fields that the table has or had. */
  partitions?: Reserved['partitions'];
};

/** Of names that columns have had, oldest first: those that none has now. */
export const formerNames = (
  names: Iterable<readonly [name: string, fieldId: number]>,
  fields: readonly IcebergField[],
): TableLayout['former'] => {
  const former = new Map(names);
  for (const { name } of fields) former.delete(name);
  return former;
};

/** What columns are called now, by each name that they had before. */
export const presentNames = ({ former, fields }: TableLayout): ReadonlyMap<string, string> =>
  new Map(
    [...former].flatMap(([name, fieldId]) => {
      const field = fields.find(({ id }) => id === fieldId);
      return field === undefined ? [] : [[name, field.name]];
    }),
  );

const typeText = (type: IcebergType): string => (typeof type === 'string' ? type : `list of ${type.element}`);

class LayoutBuilder {
  readonly #record: SchemaRecord;
  readonly #previous: TableLayout | null;
  readonly #mode: TableMode;
  readonly #rules: LayoutRules;
  readonly #columns: Map<number, readonly number[]>;
  #lastId: number;

  constructor(record: SchemaRecord, previous: TableLayout | null, rules: LayoutRules) {
    this.#record = record;
    this.#previous = previous;
    this.#rules = rules;
    this.#mode = record.key.length === 0 ? 'append' : (rules.mode ?? 'scd2');
    this.#columns = new Map(previous?.columns);
    this.#lastId = previous?.lastId ?? 0;
  }

  build(): TableLayout {
    const record = this.#record;
    const mode = this.#mode;
    const kept = this.#previous?.fields.filter(({ name }) => !isOwnColumn(name)) ?? [];
    const live = record.columns.map((column, at) => this.#field(column, record.key.includes(at)));
    const byId = new Map([...kept, ...live].map((field) => [field.id, field]));
    const user = this.#named([...byId.values()]);
    const key = record.key.map((at) => (live[at] as IcebergField).id);
    this.#refuseNewKey(mode, key);
    const fields = [...user, ...this.#own(mode)];
    const names = [...(this.#previous?.former ?? []), ...kept.map(({ id, name }) => [name, id] as const)];
    const former = formerNames(names, fields);
    return { mode, fields, columns: this.#columns, key, former, lastId: this.#lastId };
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
    const stored = this.#previous?.fields.filter((field) => filled.includes(field.id)) ?? [];
    const known = stored.find((field) => canPromote(wanted, field.type) || canPromote(field.type, wanted));
    if (known !== undefined) {
      // A narrower type loses nothing here, and events of the wider one may still come.
      const isHeld = canPromote(wanted, known.type);
      return { ...known, type: isHeld ? known.type : this.#keepElement(wanted, known.type) };
    }
    if (stored.length > 0) this.#refuseOtherType(name, stored, { wanted, isKey });
    // A truncate is a row of a list of events, and has no key.
    const required = isKey && this.#mode !== 'append';
    const field = { id: this.#newId(), name, required, type: this.#withElement(wanted) };
    this.#columns.set(id, [...filled, field.id]);
    return field;
  }

  /** The key's own columns are left to `key_changed`: for those there is no choice. */
  #refuseOtherType(
    name: string,
    stored: readonly IcebergField[],
    { wanted, isKey }: { wanted: IcebergType; isKey: boolean },
  ): void {
    if (this.#rules.onIncompatible !== 'fail' || (isKey && this.#mode !== 'append')) return;
    const table = tableText(this.#record.table);
    const held = stored.map((field) => `${field.name} ${typeText(field.type)}`).join(', ');
    throw new VarveError(
      'schema_incompatible',
      `The column ${name} of ${table} is ${typeText(wanted)} now, which its table's column cannot hold ` +
        `(${held}), and on_incompatible is fail: the table stops before that. Set on_incompatible: ` +
        'new_column for it and start again: values of the new type get a column of their own beside the old.',
      { facts: { table, column: name, type: typeText(wanted), held, schema: this.#record.n } },
    );
  }

  #keepElement(wanted: IcebergType, known: IcebergType): IcebergType {
    if (typeof wanted === 'string' || typeof known === 'string') return wanted;
    return { ...wanted, 'element-id': known['element-id'] };
  }

  #named(fields: readonly IcebergField[]): IcebergField[] {
    const sources = new Map(
      this.#record.columns.flatMap(({ id, name }) =>
        (this.#columns.get(id) ?? []).map((field, turn) => [field, { source: name, isFirst: turn === 0 }]),
      ),
    );
    const gone = { source: null, isFirst: true };
    const names = nameFields(
      fields.map((field) => ({ field, ...(sources.get(field.id) ?? gone) })),
      { own: OWN_NAMES, partitions: this.#rules.partitions ?? [] },
    );
    return fields.map((field) => ({ ...field, name: names.get(field.id) ?? field.name }));
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
 * a type that widens is promoted, one that narrows stays as wide, any other change of type is a new field, or
 * an old one where the type comes back. So a field follows from a column and its type alone, whenever an
 * event of it comes. Throws `key_changed`, `schema_incompatible`.
 */
export const layoutColumns = (
  record: SchemaRecord,
  previous: TableLayout | null,
  rules: LayoutRules = {},
): TableLayout => new LayoutBuilder(record, previous, rules).build();

/**
 * The field that holds this column's values, as it was when an event told of it; null: the table has none.
 */
export const fieldOfColumn = (
  { fields, columns }: TableLayout,
  { id, type }: Column,
): IcebergField | null => {
  const wanted = tableType(type);
  const filled = columns.get(id) ?? [];
  return fields.find((field) => filled.includes(field.id) && canPromote(wanted, field.type)) ?? null;
};

/** The property `varve.columns`: {"source column id": field ids}. */
export const printColumnIds = (columns: TableLayout['columns']): string =>
  JSON.stringify(Object.fromEntries(columns));

export const readColumnIds = (text: string): TableLayout['columns'] =>
  new Map(
    Object.entries(JSON.parse(text) as Record<string, number[]>).map(([id, fields]) => [Number(id), fields]),
  );
