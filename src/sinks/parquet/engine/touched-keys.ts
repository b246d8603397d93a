// Owns the set of keys that a merge works on, and from which transaction on each must be known. Knows no SQL.
import { type Order, transactionOf } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { Barrier, Change, KeyInput, Mark, StoredVersion } from '../scd2-version.ts';
import { type KeyChanges, UNKNOWN_KEY } from './changes.ts';
import { readKeyText } from './key-text.ts';
import type { High } from './protocol.ts';

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

  addChanges(changed: ReadonlyMap<string, KeyChanges>, isPlain: (changes: KeyChanges) => boolean): void {
    for (const [key, own] of changed) {
      const { values, changes } = own;
      let first = changes[0]?.order ?? '';
      for (const { order } of changes) if (order < first) first = order;
      const isOwnPlain = isPlain(own);
      this.keys.set(key, makeTouched(values, changes, { first: transactionOf(first), isPlain: isOwnPlain }));
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

type Past = { isEmpty: boolean; highs: ReadonlyMap<number, High>; barriers: readonly Barrier[] };

/**
 * Tells plain keys: all earlier events of a key came through its partition, so what lies above that
 * partition's highest order and time, and above every barrier, has nothing of its key behind it.
 */
export const plainBy = ({ isEmpty, highs, barriers }: Past): ((changes: KeyChanges) => boolean) => {
  let barrierOrder = '';
  let barrierTs: bigint | null = null;
  for (const { order, ts } of barriers) {
    if (order > barrierOrder) barrierOrder = order;
    if (barrierTs === null || ts > barrierTs) barrierTs = ts;
  }
  const limits = new Map([...highs].map(([partition, { order, ts }]) => [partition, { order, ts }]));
  return ({ changes, partition }) => {
    if (isEmpty) return true;
    const high = limits.get(partition);
    if (high === undefined) return false;
    return changes.every(({ order, ts }) => {
      const transaction = transactionOf(order);
      return (
        transaction > transactionOf(high.order) &&
        ts >= high.ts &&
        (barrierTs === null || (transaction > transactionOf(barrierOrder) && ts >= barrierTs))
      );
    });
  };
};
