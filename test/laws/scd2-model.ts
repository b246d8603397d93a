// Owns a naive second opinion on the rules of a table that remembers: it looks at the whole set of events
// at once, written from the rules and not from the code under test. Images are two numbers, null for
// unknown or NULL.
import type { Barrier } from '../../src/sinks/parquet/scd2-version.ts';

export type Image = { values: readonly (number | null)[]; incomplete: readonly number[] };

export type Event = {
  key: string;
  order: string;
  op: 'c' | 'u' | 'd' | 'r';
  ts: bigint;
  tx: string;
  values: readonly (number | null)[];
  unchanged: readonly number[];
  moved: boolean;
  origin: string | null;
};

export type Row = {
  key: string;
  order: string;
  orderEnd: string | null;
  from: bigint;
  to: bigint | null;
  op: string;
  ts: bigint;
  tx: string;
  image: Image;
  previousKey: string | null;
  closedBy: string | null;
};

export const imagesEqual = (one: Image, other: Image): boolean =>
  JSON.stringify([one.values, one.incomplete]) === JSON.stringify([other.values, other.incomplete]);

const transaction = (order: string): string => order.split('.').slice(0, 3).join('.');

const byOrder = (one: { order: string }, other: { order: string }): number =>
  one.order < other.order ? -1 : one.order > other.order ? 1 : 0;

/** What a table's options say; the defaults where nothing is said. */
export type ModelRules = {
  collapse?: boolean;
  late?: 'apply' | 'drop' | 'dlq';
  keepNoops?: boolean;
  markDeletes?: boolean;
};

/**
 * What of a line of events, as they arrive, a table takes that refuses late ones: those after which an event
 * of a later transaction of the same key came first. An event whose transaction has gone further for this key
 * adds nothing, so it is not refused.
 */
export const refuseLate = (arriving: readonly Event[]): { taken: Event[]; late: Event[] } => {
  const taken: Event[] = [];
  const late: Event[] = [];
  for (const event of arriving) {
    const own = taken.filter(({ key }) => key === event.key);
    const isOvertaken = own.some(({ order }) => transaction(order) > transaction(event.order));
    const isReplaced = own.some(
      ({ order }) => transaction(order) === transaction(event.order) && order >= event.order,
    );
    (isOvertaken && !isReplaced ? late : taken).push(event);
  }
  return { taken, late };
};

type Step = { order: string; ts: bigint; close: string | null; event: Event | null };

/** What a delete leaves where deletes are marked: the row as it was, for no time at all. */
const deleteRow = ({ key, image }: Row, { order, ts, tx }: Event): Omit<Row, 'from' | 'to'> => ({
  key,
  order,
  orderEnd: order,
  op: 'd',
  ts,
  tx,
  image,
  previousKey: null,
  closedBy: 'd',
});

export class Model {
  readonly #events: readonly Event[];
  readonly #barriers: readonly Barrier[];
  readonly #rules: ModelRules;
  readonly #images = new Map<Event, Image>();

  constructor(events: readonly Event[], barriers: readonly Barrier[], rules: ModelRules) {
    const unique = new Map(events.map((event) => [`${event.key} ${event.order}`, event]));
    this.#events = [...unique.values()].sort(byOrder);
    this.#barriers = barriers;
    this.#rules = { collapse: true, ...rules };
    for (const event of this.#events) if (event.op !== 'd') this.#images.set(event, this.#complete(event));
  }

  keys(): string[] {
    return [...new Set(this.#events.map(({ key }) => key))].sort();
  }

  rows(): Row[] {
    return this.keys().flatMap((key) => this.#rowsOf(key));
  }

  /**
   * Key -> values after every transaction up to this order: what a reader of the database would have seen.
   */
  stateAt(order: string): Map<string, string> {
    const state = new Map<string, string>();
    for (const key of this.keys())
      for (const step of this.#steps(key)) {
        if (transaction(step.order) > transaction(order)) break;
        if (step.close !== null) state.delete(key);
        else state.set(key, JSON.stringify((this.#images.get(step.event as Event) as Image).values));
      }
    return state;
  }

  #complete(event: Event): Image {
    const lineage = event.origin ?? event.key;
    const base = this.#events
      .filter((other) => other.key === lineage && other.op !== 'd' && other.order < event.order)
      .at(-1);
    const before = base === undefined ? null : (this.#images.get(base) as Image);
    const lost = event.unchanged.filter((column) => before === null || before.incomplete.includes(column));
    return {
      values: event.values.map((value, column) =>
        event.unchanged.includes(column) ? (before?.values[column] ?? null) : value,
      ),
      incomplete: lost,
    };
  }

  #steps(key: string): Step[] {
    const own = this.#events.filter((event) => event.key === key);
    const steps: Step[] = own.map((event) => ({
      order: event.order,
      ts: event.ts,
      close: event.op !== 'd' ? null : event.moved ? 'k' : 'd',
      event,
    }));
    for (const { order, ts, kind } of this.#barriers) {
      const isSeen = own.some((event) => event.op === 'r' && transaction(event.order) === transaction(order));
      if (kind === 't' || !isSeen) steps.push({ order, ts, close: kind, event: null });
    }
    steps.sort(byOrder);
    if (!this.#rules.collapse) return steps;
    return steps.filter((step, at) => {
      const next = steps[at + 1];
      return next === undefined || transaction(next.order) !== transaction(step.order);
    });
  }

  /** A transaction that inserts and then updates has inserted. */
  #opOf(event: Event): string {
    if (!this.#rules.collapse) return event.op;
    const group = [
      ...this.#events.filter(({ key }) => key === event.key),
      ...this.#barriers.filter(({ kind }) => kind === 't').map((barrier) => ({ ...barrier, op: 't' })),
    ]
      .filter(({ order }) => transaction(order) === transaction(event.order) && order <= event.order)
      .sort(byOrder);
    const lastDelete = group.findLastIndex(({ op }) => op === 'd' || op === 't');
    return group.slice(lastDelete + 1).some(({ op }) => op === 'c') ? 'c' : event.op;
  }

  #rowsOf(key: string): Row[] {
    const rows: Row[] = [];
    let clock: bigint | null = null;
    let open: Row | null = null;
    for (const { order, ts, close, event } of this.#steps(key)) {
      const image = event === null ? undefined : this.#images.get(event);
      const isKept = this.#rules.keepNoops === true && event?.op !== 'r';
      const isNothing =
        close === null ? open !== null && !isKept && imagesEqual(open.image, image as Image) : open === null;
      if (isNothing) continue;
      const at: bigint = clock !== null && clock > ts ? clock : ts;
      clock = at;
      if (open !== null) Object.assign(open, { orderEnd: order, to: at, closedBy: close ?? 'u' });
      if (close === 'd' && this.#rules.markDeletes === true)
        rows.push({ ...deleteRow(open as Row, event as Event), from: at, to: at });
      open = null;
      if (close !== null || event === null) continue;
      open = {
        key,
        order,
        orderEnd: null,
        from: at,
        to: null,
        op: this.#opOf(event),
        ts,
        tx: event.tx,
        image: image as Image,
        previousKey: event.origin,
        closedBy: null,
      };
      rows.push(open);
    }
    return rows;
  }
}
