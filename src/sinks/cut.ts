// Owns the question up to where a topic holds whole transactions, and how much of what was read may go into
// one commit that shows nothing of a half one. Knows no table, and of a record its order alone.
import {
  endBefore,
  endOfTransaction,
  isOrder,
  type Order,
  parseOrder,
  transactionOf,
} from '../change/order.ts';
import { codecById } from '../topic/compression.ts';
import { parkedFrom } from '../topic/parked.ts';
import { readRecords } from '../topic/record-batch.ts';
import { type Checkpoint, readState, type SnapshotRecord, STATE_KEYS } from '../topic/state.ts';
import type { FoldCut } from './sink.ts';

/**
 * `order`: every event up to it lies below any end of the topic that is asked for after this was read.
 * `rows`: the order of the newest snapshot, whose rows may be taken as they come: they are no moment of the
 * source's before the last of them is there. Null: not known, none.
 */
type Whole = { order: Order | null; rows: Order | null };

/** What was read of a partition from `from` on; `isAll`: up to its end, as it was after Whole was read. */
type Waiting = { from: bigint; batches: readonly Uint8Array[]; isAll: boolean };

const lower = (one: Order | null, other: Order | null): Order | null =>
  one === null || other === null ? null : one < other ? one : other;
const higher = (one: Order | null, other: Order): Order => (one === null || one < other ? other : one);

/** As the topic's state says. */
export const wholeUpTo = (state: ReadonlyMap<string, string>, topic: string): Whole => {
  const snapshot = readState<SnapshotRecord>(state, STATE_KEYS.snapshot(topic));
  let order = readState<Checkpoint>(state, STATE_KEYS.checkpoint)?.order ?? null;
  if (snapshot?.done === true) order = higher(order, endOfTransaction(parseOrder(snapshot.order)));
  const parked = parkedFrom(state, topic);
  return { order: parked === null ? order : lower(order, endBefore(parked)), rows: snapshot?.order ?? null };
};

const latin1 = new TextDecoder('latin1');

/** Orders of a batch's records from an offset on; null for a record that has none. */
const ordersOf = (batch: Uint8Array, from: bigint): (Order | null)[] => {
  const orders: (Order | null)[] = [];
  readRecords(
    batch,
    (record) => {
      if (BigInt(record.offset) < from) return;
      const header = record.header('varve.order');
      const order = header === null ? '' : latin1.decode(header);
      orders.push(isOrder(order) ? order : null);
    },
    { verify: false, codec: codecById },
  );
  return orders;
};

/** Null: nothing was read that has an order. */
const newestOrder = ({ from, batches }: Waiting): Order | null => {
  for (let at = batches.length - 1; at >= 0; at--) {
    const order = ordersOf(batches[at] as Uint8Array, from).findLast((one) => one !== null);
    if (order !== undefined) return order;
  }
  return null;
};

const beginsBelow = ({ from, batches }: Waiting, limit: Order): boolean => {
  for (const batch of batches) {
    const [first] = ordersOf(batch, from);
    if (first !== undefined) return first === null || first <= limit;
  }
  return false;
};

/**
 * The most that may be taken of what waits, so that each transaction is taken in all partitions or in none.
 * In each partition orders rise, so what of it was not read comes after what was. Null: nothing may be taken
 * yet.
 */
export const chooseCut = (waiting: readonly Waiting[], { order, rows }: Whole): FoldCut | null => {
  const group = rows === null ? null : transactionOf(rows);
  const lastRow = rows === null ? null : endOfTransaction(parseOrder(rows));
  let limit = lastRow === null ? order : higher(order, lastRow);
  let whole = order;
  for (const partition of waiting) {
    if (partition.isAll) continue;
    const newest = newestOrder(partition);
    if (newest === null) return null;
    const before = endBefore(newest);
    whole = lower(whole, before);
    limit = lower(limit, transactionOf(newest) === group ? lastRow : before);
  }
  if (limit === null) return null;
  const end = limit;
  return waiting.some((partition) => beginsBelow(partition, end)) ? { limit: end, whole } : null;
};
