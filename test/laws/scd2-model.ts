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
  image: Image;
  previousKey: string | null;
  closedBy: string | null;
};

export const imagesEqual = (one: Image, other: Image): boolean =>
  JSON.stringify([one.values, one.incomplete]) === JSON.stringify([other.values, other.incomplete]);

const transaction = (order: string): string => order.split('.').slice(0, 3).join('.');

const byOrder = (one: { order: string }, other: { order: string }): number =>
  one.order < other.order ? -1 : one.order > other.order ? 1 : 0;

type Step = { order: string; ts: bigint; close: string | null; event: Event | null };

export class Model {
  readonly #events: readonly Event[];
  readonly #barriers: readonly Barrier[];
  readonly #collapse: boolean;
  readonly #images = new Map<Event, Image>();

  constructor(events: readonly Event[], barriers: readonly Barrier[], collapse: boolean) {
    const unique = new Map(events.map((event) => [`${event.key} ${event.order}`, event]));
    this.#events = [...unique.values()].sort(byOrder);
    this.#barriers = barriers;
    this.#collapse = collapse;
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
    if (!this.#collapse) return steps;
    return steps.filter((step, at) => {
      const next = steps[at + 1];
      return next === undefined || transaction(next.order) !== transaction(step.order);
    });
  }

  /** A transaction that inserts and then updates has inserted. */
  #opOf(event: Event): string {
    if (!this.#collapse) return event.op;
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
      const isNothing =
        close === null ? open !== null && imagesEqual(open.image, image as Image) : open === null;
      if (isNothing) continue;
      const at: bigint = clock !== null && clock > ts ? clock : ts;
      clock = at;
      if (open !== null) Object.assign(open, { orderEnd: order, to: at, closedBy: close ?? 'u' });
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
        image: image as Image,
        previousKey: event.origin,
        closedBy: null,
      };
      rows.push(open);
    }
    return rows;
  }
}
