// Owns truncates and sweeps of keys that no event of the batch speaks of: which of them need the rules, and
// closing all the others in bulk. Knows no event.
import { transactionOf } from '../../../change/order.ts';
import type { Barrier } from '../scd2-version.ts';
import type { Bench } from './bench.ts';
import type { Database } from './database.ts';
import { keyTextOf } from './key-text.ts';
import { currentFiles } from './live-files.ts';
import type { OutputFiles } from './output-files.ts';
import { columnList, columnOf, quoteText, scanFiles } from './sql.ts';
import type { StateMarks } from './state-marks.ts';
import { stageKeys } from './stored-rows.ts';
import type { TouchedKeys } from './touched-keys.ts';

type BarrierParts = Pick<Bench, 'fields' | 'files' | 'past' | 'request'> & {
  database: Database;
  marks: StateMarks;
};

/** Barriers that the table has not seen yet; too late ones close nothing any more. */
const freshBarriers = ({ request, decoder }: Pick<Bench, 'request' | 'decoder'>): Barrier[] => {
  const { barriers, sweep, horizon } = request;
  const known = new Set(barriers.map(({ order }) => order));
  const all = [...decoder.collector.barriers.values(), ...(sweep === null ? [] : [sweep])];
  const floor = horizon === null ? '' : transactionOf(horizon);
  return all.filter(({ order }) => !known.has(order) && transactionOf(order) > floor);
};

export class Barriers {
  /** Applied for the first time, by rising order. */
  readonly fresh: readonly Barrier[];
  readonly #parts: BarrierParts;

  constructor(parts: BarrierParts, bench: Pick<Bench, 'request' | 'decoder'>) {
    this.#parts = parts;
    this.fresh = freshBarriers(bench).toSorted((a, b) => (a.order < b.order ? -1 : 1));
  }

  /**
   * Touches every key whose story goes on, or ended, at or after a new barrier: closing its open row would
   * not do. While the topic is read in order there is none.
   */
  async touch(touched: TouchedKeys): Promise<void> {
    for (const { order } of this.fresh)
      for (const key of touched.keys.keys()) touched.touch(key, order, true);
    for (const barrier of this.fresh) {
      if (this.#isBehind(barrier)) continue;
      await this.#parts.files.open(this.#parts.request.data);
      for (const select of this.#selectLater(barrier)) {
        const { key } = this.#parts.fields;
        await this.#parts.database.read(
          `SELECT DISTINCT * FROM (${select}) k`,
          key.map(({ type }) => type),
          (columns, rows) => {
            for (let row = 0; row < rows; row++) {
              const values = columns.map((column) => column[row]!);
              touched.touch(keyTextOf(values), barrier.order, true);
            }
          },
        );
      }
    }
  }

  /** Whether everything that the table has lies before the barrier's transaction. */
  #isBehind(barrier: Barrier): boolean {
    const { highs, barriers, data } = this.#parts.request;
    const first = transactionOf(barrier.order);
    const isKnown = highs.size > 0 || data.length === 0;
    return isKnown && [...highs.values(), ...barriers].every(({ order }) => order < first);
  }

  #selectLater(barrier: Barrier): string[] {
    const { marks, request } = this.#parts;
    const group = barrier.kind === 's' ? transactionOf(barrier.order) : null;
    const selects: string[] = [];
    const noops = marks.noopsFrom(barrier.order, group);
    if (noops !== null) selects.push(noops);
    if (request.data.length > 0) selects.push(this.#selectSpanning(barrier, group));
    return selects;
  }

  /**
   * Keys of rows that stood at the barrier and were closed later, or that its own transaction wrote before
   * it.
   */
  #selectSpanning({ order }: Barrier, group: string | null): string {
    const { fields, request, marks } = this.#parts;
    const [begin, end, op] = ['_order', '_order_end', '_op'].map((name) => fields.column(name));
    const key = columnList(fields.key);
    const first = quoteText(transactionOf(order));
    const live = this.#selectKnown(request.data.map(({ path }) => path));
    const isLater = `${end} >= ${first} OR (${end} IS NULL AND ${begin} >= ${first})`;
    const spanning = `SELECT ${key} FROM ${live} WHERE (${isLater}) AND ${begin} < ${quoteText(order)}`;
    if (group === null) return spanning;
    const seen = [
      `SELECT ${key} FROM ${live} WHERE ${op} = 'r' AND starts_with(${begin}, ${quoteText(group)})`,
    ];
    const noops = marks.seenBy(group);
    if (noops !== null) seen.push(noops);
    return `(${spanning}) EXCEPT (${seen.join(' UNION ALL ')})`;
  }

  /** Every version that is known, the closed ones of a table in latest mode included. */
  #selectKnown(paths: readonly string[]): string {
    const { past, marks, fields } = this.#parts;
    const columns = columnList(fields.all);
    const live = `SELECT ${columns} FROM ${this.#selectLive(paths)}`;
    return past === null || marks.scan === ''
      ? `(${live})`
      : `(${live} UNION ALL ${past.selectKept(marks.scan, null)})`;
  }

  /** Rows that are not deleted, with `file` and `pos`. */
  #selectLive(paths: readonly string[]): string {
    const { files, fields } = this.#parts;
    const wanted = new Set(paths);
    const locals = files.opened.filter(({ path }) => wanted.has(path)).map(({ local }) => local);
    return (
      `(SELECT l.file, s.file_row_number AS pos, s.* FROM ${scanFiles(locals, fields.all)} s ` +
      'JOIN live_file l ON l.local = s.filename ' +
      'ANTI JOIN deleted_row d ON d.file = l.file AND d.pos = s.file_row_number)'
    );
  }

  /**
   * Closes the rows of untouched keys that the new barriers close: writes the closed copies, and returns
   * the positions of the rows that are no longer, by file.
   */
  async closeOthers(
    touched: TouchedKeys,
    output: OutputFiles,
  ): Promise<{ positions: Map<number, number[]>; closed: number }> {
    const positions = new Map<number, number[]>();
    const { database, fields, request, files, past } = this.#parts;
    const current = currentFiles(request);
    if (this.fresh.length === 0 || current.length === 0) return { positions, closed: 0 };
    await this.#stageSeen(touched);
    let closed = 0;
    for (const file of await files.open(current)) {
      await database.run(`CREATE OR REPLACE TEMP TABLE closed_row AS ${this.#selectClosed(file.path)}`);
      const gone: number[] = [];
      await database.read('SELECT pos FROM closed_row', ['long'], ([positions]) => {
        for (const position of positions ?? []) gone.push(Number(position));
      });
      if (gone.length === 0) continue;
      positions.set(file.index, gone);
      if (past !== null) {
        closed += await past.add('closed_row');
        continue;
      }
      closed += await output.writeData('closed_row', {
        fields: fields.stored,
        sort: columnList([...fields.key]),
        partition: [false],
      });
    }
    await database.run('DROP TABLE IF EXISTS closed_row');
    return { positions, closed };
  }

  /** Tables of keys that are left alone: the touched ones, and by barrier those that a snapshot has seen. */
  async #stageSeen(touched: TouchedKeys): Promise<void> {
    const { database, fields, marks } = this.#parts;
    await stageKeys(database, 'folded_key', { key: fields.key, keys: [...touched.keys.values()] });
    for (const [at, { order, kind }] of this.fresh.entries()) {
      const seen = kind === 's' ? marks.seenBy(transactionOf(order)) : null;
      if (seen !== null) await database.run(`CREATE OR REPLACE TEMP TABLE seen_key_${at} AS ${seen}`);
    }
  }

  #selectClosed(path: string): string {
    const { fields, marks } = this.#parts;
    const match = (table: string): string =>
      fields.key.map((field) => `${table}.${columnOf(field)} = r.${columnOf(field)}`).join(' AND ');
    const begin = `r.${fields.column('_order')}`;
    const cases = this.fresh.map(({ order, kind }, at) => {
      const hasSeen = kind === 's' && marks.seenBy(transactionOf(order)) !== null;
      const unseen = hasSeen ? ` AND NOT EXISTS (SELECT 1 FROM seen_key_${at} e WHERE ${match('e')})` : '';
      return `WHEN ${begin} < ${quoteText(transactionOf(order))}${unseen} THEN ${at}`;
    });
    const choice = `CASE ${cases.join(' ')} END`;
    const pick = (value: (barrier: Barrier) => string): string =>
      `CASE barrier ${this.fresh.map((barrier, at) => `WHEN ${at} THEN ${value(barrier)}`).join(' ')} END`;
    const from = fields.column('valid_from');
    const changed: Readonly<Record<string, string>> = {
      valid_to: `greatest(${from}, ${pick(({ ts }) => `make_timestamptz(${ts})`)})`,
      is_current: 'false',
      _order_end: pick(({ order }) => quoteText(order)),
      _closed_by: pick(({ kind }) => quoteText(kind)),
    };
    const columns = fields.all.map((field) => {
      const value = changed[field.name];
      const isOwn = fields.own.includes(field);
      return isOwn && value !== undefined ? `${value} AS ${columnOf(field)}` : columnOf(field);
    });
    return (
      `SELECT pos, ${columns.join(', ')} FROM (SELECT r.*, ${choice} AS barrier ` +
      `FROM ${this.#selectLive([path])} r ANTI JOIN folded_key k ON ${match('k')}) WHERE barrier IS NOT NULL`
    );
  }
}
