// Owns the table's marks on disk: what has no visible row but must be known when an earlier change comes late. The newest
// file that speaks of a mark is right. Knows no rule.
import { join } from 'node:path';
import { type Order, transactionOf } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField, IcebergType } from '../iceberg-type.ts';
import type { KeyResult, Mark, MarkKind } from '../scd2-version.ts';
import type { ColumnInput, Database } from './database.ts';
import { keyTextOf } from './key-text.ts';
import type { AskLocal } from './live-files.ts';
import { copyRows } from './output-files.ts';
import type { StateFile } from './protocol.ts';
import type { RowStore } from './row-store.ts';
import { castAll, columnDefinitions, columnList, columnOf, quoteText, scanFiles } from './sql.ts';
import { stageKeys } from './stored-rows.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKeys } from './touched-keys.ts';

/** So many files are merged into one, and what is past the horizon is left out. */
const MERGE_AT = 8;

/** Above every id that a table's column can have. */
const BASE_ID = 2_000_000_000;
const own = (at: number, name: string, type: IcebergType): IcebergField => ({
  id: BASE_ID + at,
  name,
  required: false,
  type,
});
const list = (at: number, element: 'int' | 'string'): IcebergType => ({
  type: 'list',
  'element-id': BASE_ID + 100 + at,
  element,
  'element-required': false,
});
const OWN: readonly IcebergField[] = [
  own(0, 'mark_order', 'string'),
  own(1, 'mark_kind', 'string'),
  own(2, 'mark_op', 'string'),
  own(3, 'mark_ts', 'long'),
  own(4, 'mark_tx', 'string'),
  own(5, 'mark_unchanged', list(5, 'int')),
  own(6, 'mark_origin', 'string'),
  own(7, 'mark_previous_key', 'string'),
  own(8, 'mark_incomplete', list(8, 'string')),
  own(9, 'mark_removed', 'boolean'),
];
const [ORDER, KIND, OP] = OWN.slice(0, 3).map(columnOf) as [string, string, string];
const ORIGIN = columnOf(OWN[6] as IcebergField);
const REMOVED = columnOf(OWN[9] as IcebergField);

type MarkRow = { key: string; mark: Mark<number>; removed: boolean };

export type StateParts = { database: Database; fields: TableFields; store: RowStore; askLocal: AskLocal };
export type StateOutput = { commit: string; location: string; directory: string; horizon: Order | null };

export class StateMarks {
  readonly #database: Database;
  readonly #fields: TableFields;
  readonly #store: RowStore;
  readonly #askLocal: AskLocal;
  readonly #paths: readonly string[];
  #scan = '';

  constructor(parts: StateParts, paths: readonly string[]) {
    this.#database = parts.database;
    this.#fields = parts.fields;
    this.#store = parts.store;
    this.#askLocal = parts.askLocal;
    this.#paths = paths;
  }

  /** Own columns, then the user's: the key's are always there, the others where a mark has an image. */
  get #columns(): readonly IcebergField[] {
    // Under the engine's names, so that no name of a user's can be in the way.
    return [...OWN, ...this.#fields.user.map((field) => ({ ...field, name: columnOf(field) }))];
  }

  /** SQL that gives `generation` and all columns; empty while the table has no marks. */
  get scan(): string {
    return this.#scan;
  }

  async open(): Promise<void> {
    if (this.#paths.length === 0) return;
    const locals: string[] = [];
    for (const path of this.#paths) locals.push(await this.#askLocal(path));
    const generations = locals.map((local, at) => `(${quoteText(local)}, ${at})`).join(', ');
    const columns = columnList(this.#columns, 's');
    this.#scan =
      `(SELECT g.generation, ${columns} FROM ${scanFiles(locals, this.#columns)} s ` +
      `JOIN (VALUES ${generations}) g(local, generation) ON g.local = s.filename)`;
  }

  /** Touches the keys whose images rest on touched ones, and those that their images rest on in turn. */
  async touchRelated(touched: TouchedKeys): Promise<void> {
    if (this.#scan === '') return;
    const links: { key: string; order: Order; origin: string }[] = [];
    const { key } = this.#fields;
    await this.#database.read(
      `SELECT ${ORIGIN}, ${ORDER}, ${columnList(key)} FROM ${this.#scan} WHERE ${ORIGIN} IS NOT NULL`,
      ['string', 'string', ...key.map(({ type }) => type)],
      (columns, rows) => {
        for (let row = 0; row < rows; row++) {
          const values = columns.slice(2).map((column) => column[row]!);
          links.push({
            origin: columns[0]![row] as string,
            order: columns[1]![row] as string,
            key: keyTextOf(values),
          });
        }
      },
    );
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const { key, order, origin } of links) {
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
    const { key, user } = this.#fields;
    await stageKeys(this.#database, 'marked_key', { key, keys });
    const match = key.map((field) => `m.${columnOf(field)} = t.${columnOf(field)}`).join(' AND ');
    const newest = new Map<string, { generation: number; row: MarkRow }>();
    const columns = this.#columns;
    await this.#database.read(
      `SELECT m.generation, ${columnList(columns, 'm')} FROM ${this.#scan} m JOIN marked_key t ` +
        `ON ${match} AND m.${ORDER} >= t.first`,
      ['int', ...columns.map(({ type }) => type)],
      (values, rows) => {
        for (let row = 0; row < rows; row++) {
          const read = this.#readMark(values, row, user);
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

  #readMark(
    columns: readonly (readonly EngineValue[])[],
    row: number,
    user: readonly IcebergField[],
  ): MarkRow {
    const value = (at: number): EngineValue => columns[1 + at]![row]!;
    const values = user.map((_, at) => value(OWN.length + at));
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
   * SQL for the keys, as columns, of marks that a barrier at `order` may change: no-ops that a row it closes would turn
   * into versions. With `group`, a snapshot's own rows are left out. Null while there are no marks.
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

  /** Writes what a fold has changed; null when nothing has. With `removed`, the files that the new one replaces. */
  async write(
    results: readonly KeyResult<number>[],
    touched: TouchedKeys,
    { commit, location, directory, horizon }: StateOutput,
  ): Promise<{ added: StateFile | null; removed: readonly string[] }> {
    const marks: MarkRow[] = results.flatMap(({ key, marksAdded, marksRemoved }) => [
      ...marksRemoved.map((mark) => ({ key, mark, removed: true })),
      ...marksAdded.map((mark) => ({ key, mark, removed: false })),
    ]);
    const isMerge = this.#paths.length >= MERGE_AT;
    if (marks.length === 0 && !isMerge) return { added: null, removed: [] };
    await this.#stageMarks(marks, touched);
    const columns = columnList(this.#columns);
    let from = `(SELECT ${columns} FROM mark_row)`;
    if (isMerge) {
      const floor = horizon === null ? '' : `AND ${ORDER} > ${quoteText(`${transactionOf(horizon)}~`)}`;
      from =
        `(SELECT ${columns} FROM (SELECT * FROM ${this.#scan} UNION ALL BY NAME SELECT * FROM mark_row) QUALIFY ` +
        `row_number() OVER (PARTITION BY ${columnList(this.#fields.key)}, ${ORDER}, ${KIND} ` +
        `ORDER BY generation DESC) = 1 AND NOT ${REMOVED} ${floor})`;
    }
    const local = join(directory, `${commit}-state.parquet`);
    const sort = `${columnList(this.#fields.key)}, ${ORDER}`;
    const fields = this.#columns;
    const select = `SELECT ${castAll(fields)} FROM ${from} ORDER BY ${sort}`;
    const { rows, bytes } = await copyRows(this.#database, select, { path: local, fields });
    const removed = isMerge ? this.#paths : [];
    if (rows === 0) return { added: null, removed };
    return { added: { local, path: `${location}/${commit}.parquet`, rows, bytes }, removed };
  }

  async #stageMarks(marks: readonly MarkRow[], touched: TouchedKeys): Promise<void> {
    const fields = this.#columns;
    await this.#database.run(
      `CREATE OR REPLACE TEMP TABLE mark_row (generation INTEGER, ${columnDefinitions(fields)})`,
    );
    const mark = (row: number): Mark<number> => marks[row]!.mark;
    const values: ((row: number) => EngineValue)[] = [
      (row) => mark(row).order,
      (row) => mark(row).kind,
      (row) => mark(row).op,
      (row) => mark(row).ts,
      (row) => mark(row).tx,
      (row) => (mark(row).unchanged.length === 0 ? null : mark(row).unchanged),
      (row) => mark(row).origin,
      (row) => mark(row).previousKey,
      (row) => {
        const { image } = mark(row);
        const names = image === null ? [] : this.#store.incomplete[image]!;
        return names.length === 0 ? null : names;
      },
      (row) => marks[row]!.removed,
    ];
    const { key, user } = this.#fields;
    const columns: ColumnInput[] = [
      { type: 'int', value: () => this.#paths.length },
      ...OWN.map(({ type }, at) => ({ type, value: values[at]! })),
      ...user.map((field, at): ColumnInput => {
        const keyAt = key.indexOf(field);
        const fromKey = (row: number) => touched.keys.get(marks[row]!.key)!.values[keyAt]!;
        const fromImage = (row: number) => {
          const { image } = mark(row);
          return image === null ? null : (this.#store.columns[at]![image] ?? null);
        };
        return { type: field.type, value: keyAt >= 0 ? fromKey : fromImage };
      }),
    ];
    await this.#database.append('mark_row', columns, marks.length);
  }
}
