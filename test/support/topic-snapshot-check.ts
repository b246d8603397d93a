// Owns the comparison of a snapshot's rows with the changes that no streamed record tells of: together they
// are everything that came before the seam.
import assert from 'node:assert/strict';
import { parseOrder } from '../../src/change/order.ts';
import { type RowImage, type SourceChange, sameImage, show, type TopicRecord } from './topic-rows.ts';

const tell = (rows: readonly RowImage[]): string => rows.map(show).join(', ') || 'no row';

/** Rows of one table: by key, or without a key by what they hold. */
class Rows {
  readonly #rows = new Map<string, RowImage[]>();

  apply({ op, key, before, after }: SourceChange): void {
    if (op === 't') this.#rows.clear();
    else {
      if (op !== 'c') this.#take(key, before);
      if (after !== null) this.put(key, after);
    }
  }

  put(key: string | null, image: RowImage): void {
    const name = key ?? show(image);
    this.#rows.set(name, [...(this.#rows.get(name) ?? []), image]);
  }

  #take(key: string | null, image: RowImage | null): void {
    const name = key ?? show(image);
    const [, ...left] = this.#rows.get(name) ?? [];
    if (left.length === 0) this.#rows.delete(name);
    else this.#rows.set(name, left);
  }

  /** Null when both hold the same. */
  difference(other: Rows): string | null {
    for (const name of new Set([...this.#rows.keys(), ...other.#rows.keys()])) {
      const [own, others] = [this.#rows.get(name) ?? [], other.#rows.get(name) ?? []];
      const isSame =
        own.length === others.length && own.every((image, at) => sameImage(image, others[at] ?? null));
      if (!isSame) return `${name}: ${tell(own)}, not ${tell(others)}`;
    }
    return null;
  }
}

/**
 * Nothing of a key that a record tells of may come before what no record tells of. Rows without a key are
 * locked by nobody, so that their audit has no such order.
 */
const checkSeam = (table: string, unseen: readonly SourceChange[], told: readonly SourceChange[]): void => {
  const first = new Map<string | null, bigint>();
  for (const { key, seq, op } of told) if (op !== 't' && key !== null && !first.has(key)) first.set(key, seq);
  for (const { key, seq, op } of unseen) {
    const seen = first.get(key);
    if (op !== 't' && seen !== undefined && seen < seq)
      assert.fail(`${table}: change ${seq} of key ${key} is missing; change ${seen} before it is there`);
  }
};

type Seam = {
  /** Changes without a record, and those with one; both by rising `seq`. */
  unseen: readonly SourceChange[];
  told: readonly SourceChange[];
  rows: readonly TopicRecord[];
};

/** A start that was interrupted left rows of an older epoch; the newest epoch's are the snapshot. */
export const checkSnapshot = ({ unseen, told, rows }: Seam): void => {
  const bySeq = (changes: readonly SourceChange[], table: string): SourceChange[] =>
    changes.filter((change) => change.table === table).sort((a, b) => (a.seq < b.seq ? -1 : 1));
  for (const table of new Set([...unseen, ...told, ...rows].map((one) => one.table))) {
    const own = rows.filter((row) => row.table === table);
    const newest = Math.max(...own.map(({ order }) => parseOrder(order).epoch));
    const found = new Rows();
    for (const { key, after, order } of own)
      if (after !== null && parseOrder(order).epoch === newest) found.put(key, after);
    const wanted = new Rows();
    for (const change of bySeq(unseen, table)) wanted.apply(change);
    const difference = found.difference(wanted);
    if (difference !== null) assert.fail(`the snapshot of ${table} holds for ${difference}`);
    checkSeam(table, bySeq(unseen, table), bySeq(told, table));
  }
};
