// Owns the set of keys that a merge works on, and from which transaction on each must be known. Knows no SQL.
import { type Order, transactionOf } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { Barrier, Change, KeyInput, Mark, StoredVersion } from '../scd2-version.ts';
import { type KeyChanges, UNKNOWN_KEY } from './decode.ts';
import { readKeyText } from './key-text.ts';
import type { High } from './protocol.ts';

export type TouchedKey = {
  values: readonly EngineValue[];
  changes: readonly Change<number>[];
  stored: StoredVersion<number>[];
  marks: Mark<number>[];
  /** Transaction from which on its versions may change. */
  since: string;
  /** Derive it anew although no change says so. */
  isForced: boolean;
  /**
   * Everything that the table knows of it lies before `since`, in order and in time: the open row is all there is to
   * look at. True for nearly every key while the topic is read in order.
   */
  isPlain: boolean;
};

export class TouchedKeys {
  readonly keys = new Map<string, TouchedKey>();
  readonly #fields: readonly IcebergField[];

  constructor(fields: readonly IcebergField[]) {
    this.#fields = fields;
  }

  /** Makes sure that a key is known from this order's transaction on. True: it was not, so far. */
  touch(key: string, order: Order, isForced = false): boolean {
    if (key === UNKNOWN_KEY) return false;
    const since = transactionOf(order);
    const known = this.keys.get(key);
    if (known === undefined) {
      const values = readKeyText(key, this.#fields);
      this.keys.set(key, { values, changes: [], stored: [], marks: [], since, isForced, isPlain: false });
      return true;
    }
    known.isForced ||= isForced;
    if (known.since <= since) return false;
    known.since = since;
    known.isPlain = false;
    return true;
  }

  addChanges(changed: ReadonlyMap<string, KeyChanges>, isPlain: (changes: KeyChanges) => boolean): void {
    for (const [key, own] of changed) {
      const { values, changes } = own;
      let since = changes[0]?.order ?? '';
      for (const { order } of changes) if (order < since) since = order;
      this.keys.set(key, {
        values,
        changes,
        stored: [],
        marks: [],
        since: transactionOf(since),
        isForced: false,
        isPlain: isPlain(own),
      });
    }
    for (const { changes } of changed.values())
      for (const { order, origin } of changes) if (origin !== null) this.touch(origin, order);
  }

  inputs(): Map<string, KeyInput<number>> {
    const inputs = new Map<string, KeyInput<number>>();
    for (const [key, { stored, marks, changes, since, isForced }] of this.keys)
      inputs.set(key, { stored, marks, changes, since: isForced ? since : null });
    return inputs;
  }

  /** Whether closed rows must be looked at, once the open row has been: late, carried, or out of a closed row's time. */
  needsHistory({ isPlain, stored, changes, since }: TouchedKey): boolean {
    const open = stored.find(({ orderEnd }) => orderEnd === null);
    if (open !== undefined) return open.order >= since;
    return !isPlain || changes.some(({ unchanged, origin }) => unchanged.length > 0 && origin === null);
  }
}

export type Past = { isEmpty: boolean; highs: ReadonlyMap<number, High>; barriers: readonly Barrier[] };

/**
 * Tells plain keys: all earlier events of a key came through its partition, so what lies above that partition's highest
 * order and time, and above every barrier, has nothing of its key behind it.
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
