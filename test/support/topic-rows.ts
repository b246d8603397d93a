// Owns the words in which a source and its topics are compared: committed changes, records, rows as plain
// text. Knows no Kafka client and no database.
import type { Order } from '../../src/change/order.ts';

/** A row as text, one value a column; undefined: the source did not send it, so it is as it was. */
export type RowImage = readonly (string | null | undefined)[];

/** What one audit row says. `key` null: the table has none, and `before` tells the row instead. */
export type SourceChange = {
  /** Its audit row: rises in the source's order for each key. */
  readonly seq: bigint;
  readonly table: string;
  readonly op: 'c' | 'u' | 'd' | 't';
  readonly key: string | null;
  readonly before: RowImage | null;
  readonly after: RowImage | null;
};

export type SourceTransaction = { readonly tx: string; readonly changes: readonly SourceChange[] };

/** A record as a read_committed reader got it. A tombstone (op null) has the order of its delete. */
export type TopicRecord = {
  readonly table: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly op: 'r' | 'c' | 'u' | 'd' | 't' | null;
  readonly key: string | null;
  readonly before: RowImage | null;
  readonly after: RowImage | null;
  readonly order: Order;
  /** The source's; null for snapshot rows and tombstones. */
  readonly tx: string | null;
  /** The Kafka transaction that it came in; null: unknown. */
  readonly atomic: string | null;
};

/** What was not sent is taken to be equal. */
export const sameImage = (a: RowImage | null, b: RowImage | null): boolean => {
  if (a === null || b === null) return a === b;
  const isSame = (value: RowImage[number], at: number): boolean =>
    value === b[at] || value === undefined || b[at] === undefined;
  return a.length === b.length && a.every(isSame);
};

export const show = (image: RowImage | null): string =>
  image === null
    ? '-'
    : image.map((value) => (value === undefined ? '(unsent)' : (value ?? 'NULL'))).join('|');
