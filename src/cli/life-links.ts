// Owns following a row over changes of its key, both ways: back by the key that a version names as its
// previous one, and on to the version that names this one. Asks one key at a time; prints nothing.
import { type Order, transactionOf } from '../change/order.ts';
import { readKeyJson } from '../sinks/parquet/columns-key.ts';
import type { EngineValue } from '../sinks/parquet/columns-value.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import type { Asking, NamedTable } from './asked.ts';
import { keyColumnsAt } from './key-columns.ts';
import { isMark, type LifeVersion, readVersion } from './life.ts';

type Key = readonly Exclude<EngineValue, null>[];

export type Lives = {
  /** The versions of each row that ever had the key, oldest row first; a row is followed over its keys. */
  lives: readonly (readonly LifeVersion[])[];
  /** What could not be followed, in sentences. */
  lost: readonly string[];
  /** There are versions beyond the limit. */
  more: boolean;
};

/** So many changes of a key are followed each way. */
const MOST_LINKS = 100;
/** A transaction that changed more keys than that is not searched. */
const MOST_REKEYED = 1000;

/** Versions of one key, cut where one row leaves the key and where another one takes it. */
const rowsOf = (versions: readonly LifeVersion[]): LifeVersion[][] => {
  const rows: LifeVersion[][] = [];
  for (const version of versions) {
    const row = rows.at(-1);
    const isNext = row === undefined || row.at(-1)?.closedBy === 'k' || version.previousKey !== null;
    if (isNext) rows.push([version]);
    else row.push(version);
  }
  return rows;
};

export class LifeLinks {
  readonly #asking: Asking;
  readonly #table: NamedTable;
  readonly #limit: number;
  readonly #known = new Map<string, Promise<LifeVersion[][]>>();
  readonly #lost = new Set<string>();
  #more = false;

  constructor(asking: Asking, table: NamedTable, limit: number) {
    this.#asking = asking;
    this.#table = table;
    this.#limit = limit;
  }

  /** Every row that had this key, with what it was called before and after. */
  async follow(key: Key): Promise<Lives> {
    const lives: LifeVersion[][] = [];
    for (const row of await this.#rows(key)) {
      const before = await this.#links(row, (part) => this.#before(part));
      const after = await this.#links(row, (part) => this.#after(part));
      lives.push([...before.reverse().flat(), ...row, ...after.flat()]);
    }
    return { lives, lost: [...this.#lost], more: this.#more };
  }

  /** What a step leads to, and so on, until it leads nowhere. */
  async #links(
    start: LifeVersion[],
    step: (part: readonly LifeVersion[]) => Promise<LifeVersion[] | null>,
  ): Promise<LifeVersion[][]> {
    const parts: LifeVersion[][] = [];
    for (let part = await step(start); part !== null; part = await step(part)) {
      if (parts.length === MOST_LINKS) {
        this.#lost.add(`The key changed more than ${MOST_LINKS} times: the rest is not followed.`);
        break;
      }
      parts.push(part);
    }
    return parts;
  }

  async #before(part: readonly LifeVersion[]): Promise<LifeVersion[] | null> {
    const [first] = part;
    if (first === undefined || first.previousKey === null) return null;
    const transaction = transactionOf(first.order);
    const key = this.#readKey(first.previousKey, first.order);
    const rows = key === null ? [] : await this.#rows(key);
    const found = rows.find((row) => {
      const last = row.at(-1);
      return last?.closedBy === 'k' && transactionOf(last.orderEnd ?? '') === transaction;
    });
    if (found !== undefined) return found;
    this.#lost.add(`What the row was before, under the key ${first.previousKey}, is not in the table.`);
    return null;
  }

  /** Both halves of a changed key have one order, unless the row changed again in that transaction. */
  async #after(part: readonly LifeVersion[]): Promise<LifeVersion[] | null> {
    const last = part.at(-1);
    if (last === undefined || last.closedBy !== 'k' || last.orderEnd === null) return null;
    const end = last.orderEnd;
    for (const to of [`${end}0`, `${transactionOf(end)}g`]) {
      const made = await this.#ask({ kind: 'rekeyed', from: end, to }, MOST_REKEYED);
      const heir = made.find(({ previousKey, order }) => {
        const key = this.#readKey(previousKey ?? '', order);
        return key !== null && keyTextOf(key) === keyTextOf(last.key);
      });
      if (heir === undefined) continue;
      return (await this.#rows(heir.key)).find(([first]) => first?.order === heir.order) ?? null;
    }
    this.#lost.add(
      'Its key changed, and the row that it became is not in the table, or had yet another key in between.',
    );
    return null;
  }

  #readKey(text: string, order: Order): Key | null {
    const values = readKeyJson(text, keyColumnsAt(this.#table, order));
    return values as Key | null;
  }

  #rows(key: Key): Promise<LifeVersion[][]> {
    const name = keyTextOf(key);
    const known = this.#known.get(name) ?? this.#ask({ kind: 'history', key }, this.#limit).then(rowsOf);
    this.#known.set(name, known);
    return known;
  }

  async #ask(
    rows: { kind: 'history'; key: Key } | { kind: 'rekeyed'; from: string; to: string },
    limit: number,
  ): Promise<LifeVersion[]> {
    const answer = await this.#asking.queries.ask(this.#table, { rows, where: null, limit });
    if (rows.kind === 'history') this.#more ||= answer.more;
    return answer.rows
      .map((values, at) => readVersion(values, answer.files[at] ?? '', answer.layout))
      .filter((version) => version !== null && !isMark(version)) as LifeVersion[];
  }
}
