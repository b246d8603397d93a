// Owns one key's events in order: those that stored rows and marks stand for, and the new ones among them.
// Decides what is a duplicate, what contradicts, what is too late. Knows no interval.
import { type Order, transactionOf } from '../../change/order.ts';
import {
  type Change,
  type CloseReason,
  type DeadReason,
  type FoldCounts,
  type Images,
  isDeleteMarker,
  type KeyInput,
  type Mark,
  type StoredVersion,
  type VersionRules,
} from './scd2-version.ts';

/** One event of a key. `closes` is null for an upsert. */
export type Item<Image> = {
  order: Order;
  closes: CloseReason | null;
  op: string;
  ts: bigint;
  tx: string;
  image: Image | null;
  unchanged: readonly number[];
  origin: string | null;
  previousKey: string | null;
  /** The row or mark that this was read from; both null for a new change. */
  version: StoredVersion<Image> | null;
  mark: Mark<Image> | null;
};

export type Timeline<Image> = {
  key: string;
  input: KeyInput<Image>;
  /** By rising order, one an order. */
  items: Item<Image>[];
  /** Transaction from which the versions are derived anew; null: nothing is new. */
  first: string | null;
};

export type FoldContext<Image> = {
  images: Images<Image>;
  rules: VersionRules;
  /** Nothing at or below this transaction may change any more; null: no such limit yet. */
  horizon: string | null;
  /** Orders of the barriers that are applied from the list, not from rows. */
  barriers: ReadonlySet<Order>;
  /** Transaction of the highest barrier; empty: there is none. */
  last: string;
  dead: { rank: number; reason: DeadReason }[];
  counts: FoldCounts;
};

const NO_COLUMNS: readonly number[] = [];

const sameColumns = (one: readonly number[], other: readonly number[]): boolean =>
  one.length === other.length && one.every((column, at) => column === other[at]);

/** -1 when none: the last of `items` with an order below `order`. */
export const indexBelow = <Image>(
  items: readonly { order: Order }[] | Item<Image>[],
  order: Order,
): number => {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((items[middle] as { order: Order }).order < order) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

const versionItem = <Image>(version: StoredVersion<Image>): Item<Image> => ({
  order: version.order,
  closes: null,
  op: version.op,
  ts: version.ts,
  tx: version.tx,
  image: version.image,
  unchanged: NO_COLUMNS,
  origin: null,
  previousKey: version.previousKey,
  version,
  mark: null,
});

/** `marker`: the row that the delete left, which knows its transaction; the row that it closed does not. */
const closeItem = <Image>(
  version: StoredVersion<Image>,
  reason: CloseReason,
  marker: StoredVersion<Image> | undefined,
): Item<Image> => ({
  order: version.orderEnd as Order,
  closes: reason,
  op: reason,
  ts: version.to as bigint,
  tx: marker?.tx ?? '',
  image: null,
  unchanged: NO_COLUMNS,
  origin: null,
  previousKey: null,
  version,
  mark: null,
});

const markItem = <Image>(mark: Mark<Image>, image: Image | null): Item<Image> => ({
  order: mark.order,
  closes: mark.kind === 'delete' ? (mark.op as CloseReason) : null,
  op: mark.op,
  ts: mark.ts,
  tx: mark.tx,
  image,
  unchanged: mark.unchanged,
  origin: mark.origin,
  previousKey: mark.previousKey,
  version: null,
  mark,
});

export const changeItem = <Image>(change: Change<Image>): Item<Image> => ({
  order: change.order,
  closes: change.op === 'd' ? (change.moved ? 'k' : 'd') : null,
  op: change.op === 'd' && change.moved ? 'k' : change.op,
  ts: change.ts,
  tx: change.tx,
  image: change.image,
  unchanged: change.unchanged,
  origin: change.origin,
  previousKey: change.previousKey,
  version: null,
  mark: null,
});

/** The stored version that stood at `order`; undefined when it was not loaded. */
const covering = <Image>(stored: readonly StoredVersion<Image>[], order: Order) =>
  stored.find((version) => version.order < order && (version.orderEnd === null || version.orderEnd > order));

const knownItems = <Image>(input: KeyInput<Image>, context: FoldContext<Image>): Map<Order, Item<Image>> => {
  const known = new Map<Order, Item<Image>>();
  const markers = new Map<Order, StoredVersion<Image>>();
  for (const version of input.stored)
    if (isDeleteMarker(version)) markers.set(version.order, version);
    else known.set(version.order, versionItem(version));
  for (const version of input.stored) {
    const { closedBy, orderEnd } = version;
    if (isDeleteMarker(version)) continue;
    if (closedBy === null || closedBy === 'u' || orderEnd === null) continue;
    // A truncate or sweep that is still in the list speaks for itself: what came late may have changed its
    // effect.
    if ((closedBy === 't' || closedBy === 's') && context.barriers.has(orderEnd)) continue;
    known.set(orderEnd, closeItem(version, closedBy, markers.get(orderEnd)));
  }
  for (const mark of input.marks) {
    const item = known.get(mark.order);
    if (mark.kind === 'carried') {
      if (item) Object.assign(item, { unchanged: mark.unchanged, origin: mark.origin, mark });
    } else if (mark.kind === 'noop') {
      const version = covering(input.stored, mark.order);
      if (version) known.set(mark.order, markItem(mark, context.images.seenAt(version.image, mark.order)));
    } else known.set(mark.order, markItem(mark, mark.image));
  }
  return known;
};

/** Whether a new item says of its order what is known already; columns that it does not hold say nothing. */
const isSame = <Image>(known: Item<Image>, item: Item<Image>, images: Images<Image>): boolean => {
  if (known.closes !== null || item.closes !== null) return known.closes !== null && item.closes !== null;
  const [image, partial] = [known.image as Image, item.image as Image];
  return images.same(
    image,
    item.unchanged.length === 0 ? partial : images.carry(image, partial, item.unchanged),
    item.order,
  );
};

/** Takes one change in. Two payloads for one order: a delete wins, else the one that was read last. */
const admit = <Image>(known: Map<Order, Item<Image>>, change: Change<Image>, context: FoldContext<Image>) => {
  const item = changeItem(change);
  const present = known.get(change.order);
  if (present === undefined) known.set(change.order, item);
  else if (sameColumns(present.unchanged, item.unchanged) && isSame(present, item, context.images))
    context.counts.duplicates++;
  else {
    context.counts.conflicts++;
    context.dead.push({ rank: change.rank, reason: 'order_conflict' });
    if (item.closes !== null || present.closes === null) known.set(change.order, item);
  }
};

const isTooLate = <Image>(
  change: Change<Image>,
  known: ReadonlyMap<Order, Item<Image>>,
  context: FoldContext<Image>,
): boolean => {
  if (context.horizon === null || transactionOf(change.order) > context.horizon) return false;
  const present = known.get(change.order);
  // Which columns it carried may be forgotten by now.
  if (present && isSame(present, changeItem(change), context.images)) context.counts.duplicates++;
  else {
    context.counts.late++;
    if (context.rules.late !== 'drop') context.dead.push({ rank: change.rank, reason: 'too_late' });
  }
  return true;
};

const newestOf = <Image>(known: ReadonlyMap<Order, Item<Image>>): Order => {
  let newest = '';
  for (const { order } of known.values()) if (order > newest) newest = order;
  return newest;
};

/**
 * Whether a later transaction of its key came first. What its own transaction has replaced already would not
 * show anyway: nothing remembers whether it came before.
 */
const isLate = <Image>(order: Order, known: ReadonlyMap<Order, Item<Image>>, newest: Order): boolean => {
  const transaction = transactionOf(order);
  if (transaction >= transactionOf(newest)) return false;
  for (const item of known.values())
    if (item.order >= order && transactionOf(item.order) === transaction) return false;
  return true;
};

/** All that is known of a key and all that is new, as one list. */
export const assemble = <Image>(
  key: string,
  input: KeyInput<Image>,
  context: FoldContext<Image>,
): Timeline<Image> => {
  const known = knownItems(input, context);
  let newest = newestOf(known);
  let first = input.since === null ? null : transactionOf(input.since);
  const changes =
    input.changes.length < 2 ? input.changes : input.changes.toSorted((a, b) => a.rank - b.rank);
  for (const change of changes) {
    if (isTooLate(change, known, context)) continue;
    if (isLate(change.order, known, newest)) {
      context.counts.late++;
      const { late } = context.rules;
      if (late === 'dlq') context.dead.push({ rank: change.rank, reason: 'late' });
      if (late !== 'apply') continue;
    }
    admit(known, change, context);
    if (change.order > newest) newest = change.order;
    const transaction = transactionOf(change.order);
    if (first === null || transaction < first) first = transaction;
  }
  const items = [...known.values()];
  if (items.length > 1) items.sort((a, b) => (a.order < b.order ? -1 : 1));
  return { key, input, items, first };
};
