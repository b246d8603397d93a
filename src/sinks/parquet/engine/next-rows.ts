// Owns what the events of plain keys do, and the rows and marks that come of it: what the rules say, by joins
// over all of them at once. Knows no file.
import { presentNames } from '../columns-layout.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { PlainParts } from './plain-keys.ts';
import { type Shape, shapesFrom } from './row-store.ts';
import { columnList, columnOf, quoteText } from './sql.ts';

/** What an event does, over `next_row`. */
const OPENS = "x.outcome IN ('first', 'next')";
const CLOSES = "x.outcome IN ('next', 'last')";
/** Of a delete whose own time no row shows, too. */
const IS_MARK = "(x.outcome IN ('noop', 'gone') OR (x.outcome = 'last' AND x.boundary <> x.ts))";
const STANDS = `(${OPENS} AND x.end_order IS NULL)`;
const ENDS = `(${OPENS} AND x.end_order IS NOT NULL)`;

const closedBy = (op: string): string => `if(${op} = 'd', 'd', 'u')`;

/** SQL: whether a column says the same in `e` and `other`; what is compared as text tells -0 from 0. */
const isSameValue = ({ id, type }: IcebergField, other: string): string => {
  const isFloating = /^(float|double)$/.test(typeof type === 'string' ? type : type.element);
  const [mine, theirs] = ['e', other].map((row) => {
    const column = `${row}.${columnOf({ id })}`;
    return isFloating ? `CAST(${column} AS VARCHAR)` : column;
  });
  return `${mine} IS NOT DISTINCT FROM ${theirs}`;
};

type Counts = { opened: number; closed: number; noops: number; marks: number; incomplete: number };

export class NextRows {
  readonly #parts: PlainParts;

  constructor(parts: PlainParts) {
    this.#parts = parts;
  }

  /**
   * Table `next_row`: by event of `plain_event` what it does and its boundary in time; `closes_base`: it ends
   * the key's row in `base_row`; `end_order`, `end_boundary`, `end_op`: what ends the version that it opens.
   */
  async settle(): Promise<void> {
    const { database, fields } = this.#parts;
    const [from, incomplete] = ['valid_from', '_incomplete'].map((name) => `b.${fields.column(name)}`);
    const [row] = await database.rows('SELECT bool_or(is_chain) FROM plain_event');
    const hasChains = row?.[0] === true;
    const isBare = hasChains ? "if(p.before IS NULL, b.n IS NULL, q.op = 'd')" : 'b.n IS NULL';
    const isSameAsRow = this.#isSame('b', `${incomplete}`);
    const { keepNoops } = this.#parts.request.rules;
    const isSame = hasChains
      ? `if(p.before IS NULL, ${isSameAsRow}, ${this.#isSame('q', 'q.incomplete')})`
      : isSameAsRow;
    await database.run(
      `CREATE OR REPLACE TEMP TABLE ${hasChains ? 'step_row' : 'next_row'} AS SELECT ` +
        'e.n, p.first_n, p.is_chain, e.bucket, e.op, e.event_order, e.ts, e.tx, e.incomplete, ' +
        `b.file, b.pos, greatest(e.ts, ${from}) AS boundary, CASE ` +
        `WHEN ${isBare} THEN if(e.op = 'd', 'gone', 'first') WHEN e.op = 'd' THEN 'last' ` +
        `WHEN ${keepNoops ? "e.op = 'r' AND " : ''}(${isSame}) THEN 'noop' ELSE 'next' END AS outcome, ` +
        "b.n IS NOT NULL AND outcome IN ('next', 'last') AS closes_base, NULL::VARCHAR AS end_order, " +
        'NULL::TIMESTAMPTZ AS end_boundary, NULL::VARCHAR AS end_op ' +
        'FROM event e JOIN plain_event p ON e.n = p.n LEFT JOIN base_row b ON b.n = p.first_n ' +
        (hasChains ? 'LEFT JOIN event q ON q.n = p.before' : ''),
    );
    if (hasChains) await this.#linkChains();
  }

  /** Where a key has several events: no boundary before an earlier one; each version ends the one before. */
  async #linkChains(): Promise<void> {
    const { database } = this.#parts;
    const does = "is_chain AND outcome IN ('first', 'next', 'last')";
    const inOrder = 'OVER (PARTITION BY first_n ORDER BY event_order)';
    await database.run(
      `CREATE OR REPLACE TEMP TABLE chain_row AS SELECT n, boundary, row_number() ${inOrder} AS step, ` +
        `lead(event_order) ${inOrder} AS end_order, lead(boundary) ${inOrder} AS end_boundary, ` +
        `lead(op) ${inOrder} AS end_op FROM (SELECT n, first_n, event_order, op, ` +
        `max(boundary) ${inOrder} AS boundary FROM step_row WHERE ${does})`,
    );
    await database.run(
      'CREATE OR REPLACE TEMP TABLE next_row AS SELECT s.* REPLACE (' +
        'coalesce(c.boundary, s.boundary) AS boundary, ' +
        's.closes_base AND coalesce(c.step, 1) = 1 AS closes_base, ' +
        'c.end_order AS end_order, c.end_boundary AS end_boundary, c.end_op AS end_op) ' +
        'FROM step_row s LEFT JOIN chain_row c ON c.n = s.n',
    );
  }

  /** Partitions that its rows go to. */
  async partitions(): Promise<[isCurrent: boolean, bucket: number | null][]> {
    const rows = await this.#parts.database.rows(
      `SELECT x.bucket, bool_or(${STANDS}), bool_or(${ENDS} OR x.closes_base) FROM next_row x ` +
        'GROUP BY x.bucket ORDER BY x.bucket',
    );
    return rows.flatMap(([bucket, stands, ends]) => {
      const found: [boolean, number | null][] = [];
      if (stands === true) found.push([true, bucket as number | null]);
      if (ends === true) found.push([false, bucket as number | null]);
      return found;
    });
  }

  /** SQL for its rows of one partition, all columns. */
  selectRows(isCurrent: boolean, bucket: number | null): string {
    const opened = {
      valid_from: 'x.boundary',
      is_current: 'true',
      _op: 'x.op',
      _order: 'x.event_order',
      _commit_ts: 'x.ts',
      _tx: 'x.tx',
      _incomplete: 'x.incomplete',
    };
    const ended = { valid_to: 'x.end_boundary', is_current: 'false', _order_end: 'x.end_order' };
    const inBucket = (row: string): string => (bucket === null ? '' : ` AND ${row}.bucket = ${bucket}`);
    const here = inBucket('x');
    const ofEvents = `event_row r JOIN next_row x ON x.n = r.n${inBucket('r')}`;
    if (isCurrent) return `${this.#select(opened, 'NULL')} FROM ${ofEvents} WHERE ${STANDS}${here}`;
    const closed = {
      valid_to: 'x.boundary',
      is_current: 'false',
      _order_end: 'x.event_order',
      _closed_by: closedBy('x.op'),
    };
    const ofRows = `FROM base_row r JOIN next_row x ON x.first_n = r.n WHERE x.closes_base${here}`;
    const { markDeletes } = this.#parts.request.rules;
    return (
      `${this.#select({ ...opened, ...ended, _closed_by: closedBy('x.end_op') }, 'NULL')} FROM ${ofEvents} ` +
      `WHERE ${ENDS}${here} UNION ALL ${this.#select(closed, null)} ${ofRows}` +
      (markDeletes ? ` UNION ALL ${this.#selectMarkers()} ${ofRows} AND x.outcome = 'last'` : '')
    );
  }

  /** Rows that deletes leave where deletes are marked: the row as it was, for no time at all. */
  #selectMarkers(): string {
    const { fields } = this.#parts;
    const own = {
      valid_from: 'x.boundary',
      valid_to: 'x.boundary',
      is_current: 'false',
      _op: 'x.op',
      _order: 'x.event_order',
      _order_end: 'x.event_order',
      _commit_ts: 'x.ts',
      _tx: 'x.tx',
      _closed_by: "'d'",
      _incomplete: `r.${fields.column('_incomplete')}`,
    };
    return this.#select(own, 'NULL');
  }

  /** SQL for its marks: the columns of a state file, with `generation` before them. */
  selectMarks(generation: number): string {
    const { user, key } = this.#parts.fields;
    const images = user.map((field) => (key.includes(field) ? `e.${columnOf(field)}` : 'NULL'));
    return (
      `SELECT ${generation}, x.event_order, if(x.outcome = 'noop', 'noop', 'delete'), x.op, ` +
      `epoch_us(x.ts), x.tx, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, ${images.join(', ')} ` +
      `FROM event_row e JOIN next_row x ON e.n = x.n WHERE ${IS_MARK}`
    );
  }

  async count(): Promise<Counts> {
    const isIncomplete = `${OPENS} AND x.incomplete IS NOT NULL`;
    const counts = [OPENS, CLOSES, "x.outcome = 'noop'", IS_MARK, isIncomplete].map(
      (does) => `count(*) FILTER (WHERE ${does})`,
    );
    const [row] = await this.#parts.database.rows(`SELECT ${counts.join(', ')} FROM next_row x`);
    const [opened = 0, closed = 0, noops = 0, marks = 0, incomplete = 0] = (row ?? []).map(Number);
    return { opened, closed, noops, marks, incomplete };
  }

  /** Adds the positions of the rows that are no longer, by file. */
  async addRemoved(positions: Map<number, number[]>): Promise<void> {
    await this.#parts.database.read(
      'SELECT file, pos FROM next_row WHERE closes_base',
      ['int', 'long'],
      ([files = [], rows = []], count) => {
        for (let at = 0; at < count; at++) {
          const file = files[at] as number;
          const known = positions.get(file);
          if (known === undefined) positions.set(file, [Number(rows[at])]);
          else known.push(Number(rows[at]));
        }
      },
    );
  }

  /** The user's columns of `r`, and Varve's by name; those that are not named are `other`, or null: `r`'s. */
  #select(own: Readonly<Record<string, string>>, other: string | null): string {
    const { fields } = this.#parts;
    const values = fields.own.map((field) => {
      const column = columnOf(field);
      return `${own[field.name] ?? other ?? `r.${column}`} AS ${column}`;
    });
    return `SELECT ${columnList(fields.user, 'r')}, ${values.join(', ')}`;
  }

  /** SQL: names that a row keeps of columns, as these are called now, of those that the source had. */
  #namedNow(names: string, had: readonly IcebergField[]): string {
    const { fields, request } = this.#parts;
    const present = [...presentNames(request.layout)];
    if (present.length === 0 && had.length === fields.user.length) return names;
    const cases = present.map(([name, now]) => ` WHEN ${quoteText(name)} THEN ${quoteText(now)}`);
    const now = cases.length === 0 ? 'x' : `CASE x${cases.join('')} ELSE x END`;
    const known = `[${had.map(({ name }) => quoteText(name)).join(', ')}]::VARCHAR[]`;
    return `nullif(list_sort([y FOR y IN [${now} FOR x IN ${names}] IF list_contains(${known}, y)]), [])`;
  }

  /** SQL: whether an event `e` says what `other` does, in the columns that the source had then. */
  #isSame(other: 'b' | 'q', incomplete: string): string {
    const { fields, shapes, stage } = this.#parts;
    const compare = (shape: Shape | undefined): string => {
      const had = fields.user.filter(({ id }) => shape?.fields.has(id));
      const equal = had.map((field) => isSameValue(field, other));
      return [`e.incomplete IS NOT DISTINCT FROM ${this.#namedNow(incomplete, had)}`, ...equal].join(' AND ');
    };
    const [oldest, ...later] = shapesFrom(shapes, stage.groups.oldest);
    const cases = later
      .toReversed()
      .map((shape) => `WHEN e.event_order >= ${quoteText(shape.first)} THEN ${compare(shape)}`);
    return cases.length === 0 ? compare(oldest) : `CASE ${cases.join(' ')} ELSE ${compare(oldest)} END`;
  }
}
