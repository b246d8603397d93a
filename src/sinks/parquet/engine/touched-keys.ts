// Owns the set of keys that a merge works on, and from which transaction on each must be known. Knows no SQL.
import { type Order, transactionOf } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { Change, KeyInput, Mark, StoredVersion } from '../scd2-version.ts';
import { readKeyText, UNKNOWN_KEY } from './key-text.ts';
import type { Past } from './past.ts';

/** The events of one key, all read from one partition. */
export type KeyChanges = { values: EngineValue[]; changes: Change<number>[]; partition: number };

export type TouchedKey = KeyInput<number> & {
  values: readonly EngineValue[];
  stored: StoredVersion<number>[];
  marks: Mark<number>[];
  /** Transaction from which on its versions may change. */
  first: string;
  /** The same where no change says so, else null. */
  since: string | null;
  /**
   * Everything that the table knows of it lies before `first`, in order and in time: the open row is all
   * there is to look at. True for nearly every key while the topic is read in order.
   */
  isPlain: boolean;
};

const makeTouched = (
  values: readonly EngineValue[],
  changes: readonly Change<number>[],
  { first, isPlain }: { first: string; isPlain: boolean },
): TouchedKey => ({ values, changes, stored: [], marks: [], first, since: null, isPlain });

export class TouchedKeys {
  readonly keys = new Map<string, TouchedKey>();
  readonly #fields: readonly IcebergField[];

  constructor(fields: readonly IcebergField[]) {
    this.#fields = fields;
  }

  /** Makes sure that a key is known from this order's transaction on. True: it was not, so far. */
  touch(key: string, order: Order, isForced = false): boolean {
    if (key === UNKNOWN_KEY) return false;
    const transaction = transactionOf(order);
    let touched = this.keys.get(key);
    const isNew = touched === undefined;
    if (touched === undefined) {
      touched = makeTouched(readKeyText(key, this.#fields), [], { first: transaction, isPlain: false });
      this.keys.set(key, touched);
    }
    const isLower = transaction < touched.first;
    if (isLower) {
      touched.first = transaction;
      touched.isPlain = false;
    }
    if (isForced || touched.since !== null) touched.since = touched.first;
    return isNew || isLower;
  }

  addChanges(changed: ReadonlyMap<string, KeyChanges>, past: Past): void {
    for (const [key, { values, changes, partition }] of changed) {
      let first = changes[0]?.order ?? '';
      for (const { order } of changes) if (order < first) first = order;
      const isPlain = changes.every(({ order, ts }) =>
        past.isBehind({ transaction: transactionOf(order), ts, partition }),
      );
      this.keys.set(key, makeTouched(values, changes, { first: transactionOf(first), isPlain }));
    }
    for (const { changes } of changed.values())
      for (const { order, origin } of changes) if (origin !== null) this.touch(origin, order);
  }

  /**
   * Whether closed rows must be looked at, once the open row has been: late, carried, or out of a closed
   * row's time.
   */
  needsHistory({ isPlain, stored, changes, first }: TouchedKey): boolean {
    const open = stored.find(({ orderEnd }) => orderEnd === null);
    if (open !== undefined) return open.order >= first;
    return !isPlain || changes.some(({ unchanged, origin }) => unchanged.length > 0 && origin === null);
  }
}
