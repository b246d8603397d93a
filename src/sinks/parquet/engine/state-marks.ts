// Owns the table's marks on disk: what has no visible row but must be known when an earlier change comes
// late. The newest file that speaks of a mark is right. Knows no rule.
import { type Order, transactionOf } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { Mark, MarkKind } from '../scd2-version.ts';
import type { Database } from './database.ts';
import { keyTextOf } from './key-text.ts';
import type { AskLocal } from './live-files.ts';
import type { RowStore } from './row-store.ts';
import { columnList, columnOf, quoteText, scanFiles } from './sql.ts';
import { CLOSED, KIND, MARK_FIELDS, OP, ORDER, ORIGIN, REMOVED, stateColumns } from './state-columns.ts';
import { stageKeys } from './stored-rows.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKeys } from './touched-keys.ts';

/** An image that rests on another key's: `order` is its own. */
type Link = { key: string; order: Order; origin: string };

type ReadMark = { key: string; mark: Mark<number>; removed: boolean };

type StateParts = { database: Database; fields: TableFields; store: RowStore; askLocal: AskLocal };

export class StateMarks {
  readonly #database: Database;
  readonly #fields: TableFields;
  readonly #store: RowStore;
  readonly #askLocal: AskLocal;
  readonly #paths: readonly string[];
  /** Of all marks. */
  readonly links: Link[] = [];
  /** Where its files lie on this machine, the oldest first. */
  readonly locals: string[] = [];
  #scan = '';

  constructor(parts: StateParts, paths: readonly string[]) {
    this.#database = parts.database;
    this.#fields = parts.fields;
    this.#store = parts.store;
    this.#askLocal = parts.askLocal;
    this.#paths = paths;
  }

  /** SQL that gives `generation` and all columns; empty while the table has no marks. */
  get scan(): string {
    return this.#scan;
  }

  async open(): Promise<void> {
    if (this.#paths.length === 0) return;
    for (const path of this.#paths) this.locals.push(await this.#askLocal(path));
    const { locals } = this;
    const generations = locals.map((local, at) => `(${quoteText(local)}, ${at})`).join(', ');
    const columns = columnList(stateColumns(this.#fields), 's');
    this.#scan =
      `(SELECT g.generation, ${columns} FROM ${scanFiles(locals, stateColumns(this.#fields))} s ` +
      `JOIN (VALUES ${generations}) g(local, generation) ON g.local = s.filename)`;
    const { key } = this.#fields;
    await this.#database.read(
      `SELECT ${ORIGIN}, ${ORDER}, ${columnList(key)} FROM ${this.#scan} WHERE ${ORIGIN} IS NOT NULL`,
      ['string', 'string', ...key.map(({ type }) => type)],
      (columns, rows) => {
        for (let row = 0; row < rows; row++) {
          const values = columns.slice(2).map((column) => column[row]!);
          this.links.push({
            origin: columns[0]![row] as string,
            order: columns[1]![row] as string,
            key: keyTextOf(values),
          });
        }
      },
    );
  }

  /** Touches the keys whose images rest on touched ones, and those that their images rest on in turn. */
  touchRelated(touched: TouchedKeys): void {
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const { key, order, origin } of this.links) {
        const base = touched.keys.get(origin);
        if (base !== undefined && order > base.first) isMore = touched.touch(key, order) || isMore;
        const rest = touched.keys.get(key);
        if (rest !== undefined && order > rest.first) isMore = touched.touch(origin, order) || isMore;
      }
    }
  }

  /** Gives every touched key its marks from `since` on; plain keys have none. */
  async load(touched: TouchedKeys): Promise<void> {
    const keys = [...touched.keys.values()].filter(({ isPlain }) => !isPlain);
    if (this.#scan === '' || keys.length === 0) return;
    const { key } = this.#fields;
    await stageKeys(this.#database, 'marked_key', { key, keys });
    const match = key.map((field) => `m.${columnOf(field)} = t.${columnOf(field)}`).join(' AND ');
    const newest = new Map<string, { generation: number; row: ReadMark }>();
    const columns = stateColumns(this.#fields);
    await this.#database.read(
      `SELECT m.generation, ${columnList(columns, 'm')} FROM ${this.#scan} m JOIN marked_key t ` +
        `ON ${match} AND m.${ORDER} >= t.first WHERE m.${KIND} <> ${quoteText(CLOSED)}`,
      ['int', ...columns.map(({ type }) => type)],
      (values, rows) => {
        for (let row = 0; row < rows; row++) {
          const read = this.#readMark(values, row);
          const name = `${read.mark.order} ${read.mark.kind} ${read.key}`;
          const generation = values[0]![row] as number;
          const known = newest.get(name);
          if (known === undefined || known.generation < generation)
            newest.set(name, { generation, row: read });
        }
      },
    );
    for (const { row } of newest.values()) if (!row.removed) touched.keys.get(row.key)?.marks.push(row.mark);
  }

  #readMark(columns: readonly (readonly EngineValue[])[], row: number): ReadMark {
    const { user } = this.#fields;
    const value = (at: number): EngineValue => columns[1 + at]![row]!;
    const values = user.map((_, at) => value(MARK_FIELDS.length + at));
    const kind = value(1) as MarkKind;
    const incomplete = value(8) as string[] | null;
    const mark: Mark<number> = {
      order: value(0) as string,
      kind,
      op: value(2) as string,
      ts: value(3) as bigint,
      tx: value(4) as string,
      unchanged: (value(5) ?? []) as number[],
      origin: value(6) as string | null,
      previousKey: value(7) as string | null,
      image: kind === 'hidden' ? this.#store.add(values, incomplete) : null,
    };
    const key = this.#fields.key.map((field) => values[user.indexOf(field)]!);
    return { key: keyTextOf(key), mark, removed: value(9) === true };
  }

  /**
   * SQL for the keys, as columns, of marks that a barrier at `order` may change: no-ops that a row it
   * closes would turn into versions. With `group`, a snapshot's own rows are left out. Null while there are
   * no marks.
   */
  noopsFrom(order: Order, group: string | null): string | null {
    if (this.#scan === '') return null;
    const foreign = group === null ? '' : ` AND NOT starts_with(${ORDER}, ${quoteText(group)})`;
    const isNoop = `${KIND} = 'noop' AND ${ORDER} >= ${quoteText(transactionOf(order))}`;
    return `SELECT ${columnList(this.#fields.key)} FROM ${this.#scan} WHERE ${isNoop}${foreign}`;
  }

  /** SQL for the keys of which a snapshot's rows, in this transaction, have said that nothing changed. */
  seenBy(group: string): string | null {
    if (this.#scan === '') return null;
    const isSeen = `${KIND} = 'noop' AND ${OP} = 'r' AND starts_with(${ORDER}, ${quoteText(group)})`;
    return `SELECT ${columnList(this.#fields.key)} FROM ${this.#scan} WHERE ${isSeen} AND NOT ${REMOVED}`;
  }
}
