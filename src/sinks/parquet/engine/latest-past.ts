// Owns the versions of a table in latest mode that stand no more: the table does not show them, its companion
// keeps them as long as a change that comes late may need them. Knows no rule and no file.
import type { Database } from './database.ts';
import { columnDefinitions, columnList, columnOf, matchKeys, quoteText } from './sql.ts';
import { CLOSED, END, KIND, markColumn, OP, ORDER, REMOVED } from './state-columns.ts';
import type { TableFields } from './table-fields.ts';

/** Varve's columns of a version, out of the companion's; times are microseconds there. */
const OWN: Readonly<Record<string, string>> = {
  valid_from: `make_timestamptz(${markColumn('mark_from')})`,
  valid_to: `make_timestamptz(${markColumn('mark_to')})`,
  is_current: 'false',
  _op: OP,
  _order: ORDER,
  _order_end: END,
  _commit_ts: `make_timestamptz(${markColumn('mark_ts')})`,
  _tx: markColumn('mark_tx'),
  _closed_by: markColumn('mark_closed_by'),
  _previous_key: markColumn('mark_previous_key'),
  _incomplete: markColumn('mark_incomplete'),
};

export class PastRows {
  /** Versions that this merge has closed. */
  count = 0;
  readonly #database: Database;
  readonly #fields: TableFields;

  constructor(database: Database, fields: TableFields) {
    this.#database = database;
    this.#fields = fields;
  }

  async prepare(): Promise<void> {
    await this.#database.run(
      `CREATE OR REPLACE TEMP TABLE past_row (${columnDefinitions(this.#fields.all)})`,
    );
  }

  /** Takes the rows of `from`, which has all columns of a version; returns how many. */
  async add(from: string): Promise<number> {
    const columns = columnList(this.#fields.all);
    const [row] = await this.#database.rows(`INSERT INTO past_row SELECT ${columns} FROM ${from}`);
    const added = Number(row?.[0] ?? 0);
    this.count += added;
    return added;
  }

  /** SQL: what was added, with the columns of a state file, `generation` before them. */
  selectMarks(generation: number): string {
    const { user } = this.#fields;
    const own = (name: string): string => this.#fields.column(name);
    const marks = [
      ...[own('_order'), quoteText(CLOSED), own('_op'), `epoch_us(${own('_commit_ts')})`, own('_tx')],
      ...['NULL', 'NULL', own('_previous_key'), own('_incomplete'), 'false'],
      ...[`epoch_us(${own('valid_from')})`, `epoch_us(${own('valid_to')})`],
      ...[own('_order_end'), own('_closed_by')],
    ];
    return `SELECT ${generation}, ${[...marks, ...user.map(columnOf)].join(', ')} FROM past_row`;
  }

  /**
   * SQL: what `scan`, the companion, has of closed versions, as rows of all columns; with `keys`, a table of
   * key columns, only theirs.
   */
  selectKept(scan: string, keys: string | null): string {
    const { all, user, key } = this.#fields;
    const columns = all.map((field) => {
      const column = columnOf(field);
      return user.includes(field) ? column : `${OWN[field.name]} AS ${column}`;
    });
    const only = keys === null ? '' : `SEMI JOIN ${keys} k ON ${matchKeys(key, 'k', 'm')} `;
    return (
      `SELECT ${columns.join(', ')} FROM (SELECT m.* FROM ${scan} m ${only}` +
      `WHERE m.${KIND} = ${quoteText(CLOSED)} QUALIFY row_number() OVER ` +
      `(PARTITION BY ${columnList(key, 'm')}, m.${ORDER} ORDER BY m.generation DESC) = 1) ` +
      `WHERE NOT ${REMOVED}`
    );
  }
}
