// Owns the step from a key's ordered events to its versions, and the difference to what is stored. Knows no
// column.
import { type Order, transactionOf } from '../../change/order.ts';
import { changeItem, type FoldContext, type Item, indexBelow, type Timeline } from './scd2-timeline.ts';
import {
  type Barrier,
  type CloseReason,
  isDeleteMarker,
  type KeyInput,
  type KeyResult,
  type Mark,
  type StoredVersion,
  type Version,
} from './scd2-version.ts';

const barrierItem = <Image>({ order, ts, kind }: Barrier): Item<Image> => ({
  order,
  closes: kind,
  op: kind,
  ts,
  tx: '',
  image: null,
  unchanged: [],
  origin: null,
  previousKey: null,
  version: null,
  mark: null,
});

/** The key's items from `first` on, with the barriers that concern it. */
const itemsFrom = <Image>(
  { items }: Timeline<Image>,
  first: string,
  barriers: readonly Barrier[],
): Item<Image>[] => {
  const own = items.slice(indexBelow(items, first) + 1);
  const from = indexBelow(barriers, first) + 1;
  if (from === barriers.length) return own;
  const seen = new Set(
    own.filter(({ op, closes }) => op === 'r' && closes === null).map(({ order }) => transactionOf(order)),
  );
  for (const barrier of barriers.slice(from))
    if (barrier.kind === 't' || !seen.has(transactionOf(barrier.order))) own.push(barrierItem(barrier));
  return own.sort((a, b) => (a.order < b.order ? -1 : 1));
};

const markOf = <Image>(item: Item<Image>, kind: Mark<Image>['kind']): Mark<Image> => ({
  order: item.order,
  kind,
  op: item.op,
  ts: item.ts,
  tx: item.tx,
  unchanged: item.unchanged,
  origin: item.origin,
  previousKey: item.previousKey,
  image: kind === 'hidden' ? item.image : null,
});

/**
 * Whether an image may rest on one that `next`, of the same transaction, replaced. A truncate is no event of
 * the key: only this one tells later that the key had one here.
 */
const isBaseFor = <Image>(item: Item<Image>, next: Item<Image>): boolean =>
  item.mark?.kind === 'hidden' ||
  (next.closes === null ? next.op === 'c' || next.unchanged.length > 0 : next.closes !== 'd');

/** The last event of each transaction; what it replaced and must still be known goes to `marks`. */
const collapseTransactions = <Image>(items: readonly Item<Image>[], marks: Mark<Image>[]): Item<Image>[] => {
  const kept: Item<Image>[] = [];
  let isCreate = false;
  items.forEach((item, at) => {
    const next = items[at + 1];
    isCreate = item.closes === null && (isCreate || item.op === 'c');
    if (next === undefined || transactionOf(next.order) !== transactionOf(item.order)) {
      // Created and then updated by one transaction: to everybody else it was created.
      kept.push(isCreate && item.op !== 'c' ? { ...item, op: 'c' } : item);
      isCreate = false;
    } else if (item.closes === null) {
      if (isBaseFor(item, next)) marks.push(markOf(item, 'hidden'));
    } else if (item.closes === 'k' || (item.closes === 'd' && next.closes === 't'))
      marks.push(markOf(item, 'delete'));
  });
  return kept;
};

const openVersion = <Image>(item: Item<Image>, from: bigint): Version<Image> => {
  const { version } = item;
  const isStored = version !== null && version.image === item.image && version.op === item.op;
  return {
    order: item.order,
    orderEnd: null,
    from,
    to: null,
    op: item.op,
    ts: item.ts,
    tx: item.tx,
    image: item.image as Image,
    previousKey: item.previousKey,
    closedBy: null,
    stored: isStored ? version.stored : null,
  };
};

/** `known`: the row that the table has of this delete, if any. */
const markerVersion = <Image>(
  item: Item<Image>,
  { image, to }: Version<Image>,
  known: StoredVersion<Image> | undefined,
): Version<Image> => ({
  order: item.order,
  orderEnd: item.order,
  from: to as bigint,
  to,
  op: 'd',
  ts: item.ts,
  tx: item.tx,
  image,
  previousKey: null,
  closedBy: 'd',
  stored: known?.stored ?? null,
});

const later = (one: bigint, other: bigint | null): bigint => (other !== null && other > one ? other : one);

/** `before`: the newest version of a transaction below `first`. */
type Beginning<Image> = {
  before: StoredVersion<Image> | undefined;
  first: string;
  markers: ReadonlyMap<Order, StoredVersion<Image>>;
};

/** Walks a key's events and makes its versions, starting from the version that stood before them, if any. */
class VersionBuilder<Image> {
  readonly versions: Version<Image>[] = [];
  readonly marks: Mark<Image>[] = [];
  noops = 0;
  readonly #context: FoldContext<Image>;
  /** Rows of deletes, by order. */
  readonly #markers: ReadonlyMap<Order, StoredVersion<Image>>;
  #open: Version<Image> | null = null;
  /** Newest boundary so far: no later one lies before it, whatever the source's clock said. */
  #running: bigint | null = null;

  constructor({ before, first, markers }: Beginning<Image>, context: FoldContext<Image>) {
    this.#context = context;
    this.#markers = markers;
    if (before === undefined) return;
    if (before.orderEnd !== null && before.orderEnd < first) {
      this.#running = before.to;
      return;
    }
    this.#open = { ...before, orderEnd: null, to: null, closedBy: null };
    this.#running = before.from;
    this.versions.push(this.#open);
  }

  add(item: Item<Image>): void {
    if (item.closes === null) this.#upsert(item);
    else this.#delete(item, item.closes);
  }

  #upsert(item: Item<Image>): void {
    if (this.#open !== null && this.#isNothing(this.#open, item)) {
      if (item.mark?.kind !== 'noop') this.noops++;
      this.marks.push(markOf(item, 'noop'));
      return;
    }
    this.#running = later(item.ts, this.#running);
    this.#close(item.order, 'u');
    this.#open = openVersion(item, this.#running);
    this.versions.push(this.#open);
    if (item.unchanged.length > 0) this.marks.push(markOf(item, 'carried'));
  }

  #isNothing({ image }: Version<Image>, item: Item<Image>): boolean {
    const { images, rules } = this.#context;
    if (rules.keepNoops && item.op !== 'r') return false;
    return images.same(image, item.image as Image, item.order);
  }

  #delete(item: Item<Image>, reason: CloseReason): void {
    const isOwn = reason === 'd' || reason === 'k';
    if (this.#open === null) {
      if (isOwn) this.marks.push(markOf(item, 'delete'));
      return;
    }
    this.#running = later(item.ts, this.#running);
    // The row will say when it ended, but not what the delete's own clock said.
    if (isOwn && this.#running !== item.ts) this.marks.push(markOf(item, 'delete'));
    const closed = this.#open;
    this.#close(item.order, reason);
    if (reason === 'd' && this.#context.rules.markDeletes) this.#mark(item, closed);
  }

  #mark(item: Item<Image>, closed: Version<Image>): void {
    const { images } = this.#context;
    const known = this.#markers.get(item.order);
    const isKnown = known?.ts === item.ts && known.tx === item.tx;
    const isSame = isKnown && images.same(known.image, closed.image, item.order);
    this.versions.push(markerVersion(item, closed, isSame ? known : undefined));
  }

  #close(order: Order, reason: CloseReason): void {
    if (this.#open === null) return;
    Object.assign(this.#open, { orderEnd: order, to: this.#running, closedBy: reason });
    this.#open = null;
  }
}

const isUntouched = <Image>(version: Version<Image>, stored: StoredVersion<Image>): boolean =>
  version.stored === stored.stored &&
  version.orderEnd === stored.orderEnd &&
  version.from === stored.from &&
  version.to === stored.to &&
  version.closedBy === stored.closedBy;

const isSameMark = <Image>(one: Mark<Image>, other: Mark<Image>): boolean =>
  one.op === other.op &&
  one.ts === other.ts &&
  one.tx === other.tx &&
  one.origin === other.origin &&
  one.previousKey === other.previousKey &&
  one.image === other.image &&
  one.unchanged.join() === other.unchanged.join();

const difference = <Image>(
  key: string,
  before: { stored: readonly StoredVersion<Image>[]; marks: readonly Mark<Image>[] },
  after: { versions: readonly Version<Image>[]; marks: readonly Mark<Image>[] },
): KeyResult<Image> => {
  const stored = new Map(before.stored.map((version) => [version.order, version]));
  const written = after.versions.filter((version) => {
    const row = stored.get(version.order);
    if (row === undefined || !isUntouched(version, row)) return true;
    stored.delete(version.order);
    return false;
  });
  const nameOf = ({ order, kind }: Mark<Image>) => `${order} ${kind}`;
  const marks = new Map(before.marks.map((mark) => [nameOf(mark), mark]));
  const marksAdded = after.marks.filter((mark) => {
    const known = marks.get(nameOf(mark));
    marks.delete(nameOf(mark));
    return known === undefined || !isSameMark(known, mark);
  });
  return { key, removed: [...stored.values()], written, marksAdded, marksRemoved: [...marks.values()] };
};

/**
 * The same for the key that nearly every key is: one whole change, later than the one open version that is
 * known, if any. Null when the key is not of that kind.
 */
export const deriveNext = <Image>(
  key: string,
  { stored, marks, changes, since }: KeyInput<Image>,
  context: FoldContext<Image>,
): KeyResult<Image> | null => {
  const [change, second] = changes;
  const [before, other] = stored;
  if (change === undefined || second !== undefined || other !== undefined || since !== null) return null;
  const first = transactionOf(change.order);
  const isNext = before === undefined || (before.orderEnd === null && before.order < first);
  const isWhole = change.unchanged.length === 0 && marks.length === 0;
  if (!isNext || !isWhole || first <= context.last || first <= (context.horizon ?? '')) return null;
  const builder = new VersionBuilder({ before, first, markers: new Map() }, context);
  builder.add(changeItem(change));
  const isClosed = before !== undefined && builder.versions[0]?.orderEnd !== null;
  const result: KeyResult<Image> = {
    key,
    removed: isClosed ? [before] : [],
    written: before === undefined || isClosed ? builder.versions : [],
    marksAdded: builder.marks,
    marksRemoved: [],
  };
  countChanges(result, builder.noops, context);
  return result;
};

/**
 * Versions of one key, derived anew from `timeline.first` on, as a difference; null when there is none.
 * `barriers`: by rising order.
 */
export const deriveVersions = <Image>(
  timeline: Timeline<Image>,
  barriers: readonly Barrier[],
  context: FoldContext<Image>,
): KeyResult<Image> | null => {
  const { first, input, key } = timeline;
  if (first === null) return null;
  let before: StoredVersion<Image> | undefined;
  const stored: StoredVersion<Image>[] = [];
  const markers = new Map<Order, StoredVersion<Image>>();
  for (const version of input.stored) {
    const isMarker = isDeleteMarker(version);
    if (isMarker) markers.set(version.order, version);
    if (version.order >= first) stored.push(version);
    else if (!isMarker && (before === undefined || version.order > before.order)) before = version;
  }
  const builder = new VersionBuilder({ before, first, markers }, context);
  const items = itemsFrom(timeline, first, barriers);
  for (const item of context.rules.collapse ? collapseTransactions(items, builder.marks) : items)
    builder.add(item);
  if (before !== undefined && builder.versions[0]?.order === before.order) stored.push(before);
  const marks = input.marks.filter(({ order }) => order >= first);
  const result = difference(key, { stored, marks }, builder);
  countChanges(result, builder.noops, context);
  return result;
};

const countChanges = <Image>(
  { removed, written }: KeyResult<Image>,
  noops: number,
  { counts, images }: FoldContext<Image>,
): void => {
  const rows = new Map(removed.map((version) => [version.order, version]));
  counts.noops += noops;
  for (const version of written) {
    const { order, orderEnd, image } = version;
    const row = rows.get(order);
    if (isDeleteMarker(version)) continue;
    if (row === undefined) counts.opened++;
    if (row === undefined && !images.isWhole(image)) counts.incomplete++;
    if (orderEnd !== null && (row === undefined || row.orderEnd === null)) counts.closed++;
  }
};
