// Owns random histories for the scd2 laws: a small database is changed by random transactions, now and then
// looked at by a snapshot, and what a log would say of it is written down.
import fc from 'fast-check';
import { formatOrder } from '../../src/change/order.ts';
import type { Barrier } from '../../src/sinks/parquet/scd2-version.ts';
import type { Event, ModelRules } from './scd2-model.ts';

type History = { events: Event[]; barriers: Barrier[]; lastOrder: string };

type Operation = { action: number; key: number; target: number; values: [number, number]; unchanged: number };
type Transaction = { kind: 'plain' | 'snapshot'; ts: number; operations: Operation[]; sweep: boolean };

const KEYS = 4;
const operation = fc.record({
  action: fc.nat(11),
  key: fc.nat(KEYS - 1),
  target: fc.nat(KEYS - 1),
  values: fc.tuple(fc.nat(2), fc.nat(2)),
  unchanged: fc.nat(7),
});
const transaction = fc.record({
  kind: fc.constantFrom<('plain' | 'snapshot')[]>('plain', 'plain', 'plain', 'plain', 'snapshot'),
  ts: fc.nat(12),
  operations: fc.array(operation, { minLength: 1, maxLength: 4 }),
  sweep: fc.boolean(),
});

const UNCHANGED: readonly (readonly number[])[] = [[], [], [], [], [0], [1], [1], [0, 1]];

class Database {
  readonly history: History = { events: [], barriers: [], lastOrder: '' };
  readonly #rows = new Map<string, [number, number]>();
  #position = 0n;
  #phase: 0 | 1 = 1;
  #ordinal = 0;
  #ts = 0n;
  /** Keys that this transaction has changed: a log cannot lack what it shows itself. */
  readonly #touched = new Set<string>();
  /** Keys that this transaction moved away from, and those of them that it then used again. */
  readonly #left = new Set<string>();
  readonly #reused = new Set<string>();
  readonly #mayReuse: boolean;

  constructor(mayReuse: boolean) {
    this.#mayReuse = mayReuse;
  }

  run({ kind, ts, operations, sweep }: Transaction): void {
    this.#position++;
    this.#ordinal = 0;
    this.#ts = BigInt(ts);
    for (const set of [this.#touched, this.#left, this.#reused]) set.clear();
    this.#phase = kind === 'plain' ? 1 : 0;
    if (kind === 'snapshot') this.#snapshot(operations, sweep);
    else for (const operation of operations) this.#change(operation);
    this.history.lastOrder = this.#order();
  }

  #order(): string {
    return formatOrder({ epoch: 1, position: this.#position, phase: this.#phase, ordinal: this.#ordinal });
  }

  #emit(key: string, event: Partial<Event> & Pick<Event, 'op'>): void {
    const empty = { values: [], unchanged: [], moved: false, origin: null };
    this.#touched.add(key);
    if (event.moved) this.#left.add(key);
    else if (this.#left.has(key)) this.#reused.add(key);
    this.history.events.push({
      key,
      order: this.#order(),
      ts: this.#ts,
      tx: `tx${this.#position}`,
      ...empty,
      ...event,
    });
  }

  #barrier(kind: 't' | 's'): void {
    this.history.barriers.push({ order: this.#order(), ts: this.#ts, kind });
  }

  /** Rows as they are, except that the log may have missed changes: these differ, or are gone. */
  #snapshot(operations: Operation[], sweep: boolean): void {
    if (sweep) {
      this.#barrier('s');
      for (const { action, key, values } of operations)
        if (action < 3) this.#rows.delete(`${key}`);
        else if (action < 5) this.#rows.set(`${key}`, values);
    }
    for (const [key, values] of this.#rows) {
      this.#ordinal++;
      this.#emit(key, { op: 'r', values });
    }
  }

  #change({ action, key, target, values, unchanged }: Operation): void {
    this.#ordinal++;
    const [name, other] = [`${key}`, `${target}`];
    const row = this.#rows.get(name);
    if (this.#reused.has(name) && !this.#mayReuse) return;
    if (action === 11 && key === 0) {
      this.#barrier('t');
      this.#rows.clear();
    } else if (action === 10 && row === undefined) {
      if (!this.#touched.has(name)) this.#emit(name, { op: 'd' });
    } else if (row === undefined) {
      this.#rows.set(name, values);
      this.#emit(name, { op: 'c', values });
    } else if (action < 2) {
      this.#rows.delete(name);
      this.#emit(name, { op: 'd' });
    } else {
      const columns = UNCHANGED[unchanged] as readonly number[];
      const isMove = action < 5 && !this.#rows.has(other);
      const next = values.map((value, at) => (columns.includes(at) ? row[at] : value)) as [number, number];
      const sent = {
        values: values.map((value, at) => (columns.includes(at) ? 99 : value)),
        unchanged: columns,
      };
      if (isMove) {
        this.#rows.delete(name);
        this.#emit(name, { op: 'd', moved: true });
      }
      this.#rows.set(isMove ? other : name, next);
      this.#emit(isMove ? other : name, isMove ? { op: 'c', ...sent, origin: name } : { op: 'u', ...sent });
    }
  }
}

type HistoryOptions = {
  /** A key may be left by a changed key, used again and changed again, all in one transaction. */
  mayReuse?: boolean;
};

export const histories = (maxLength: number, { mayReuse = false }: HistoryOptions = {}) =>
  fc.array(transaction, { minLength: 1, maxLength }).map((transactions): History => {
    const database = new Database(mayReuse);
    for (const transaction of transactions) database.run(transaction);
    return database.history;
  });

/** What a table may be told to do, late changes refused in half of the tables. */
export const rules: fc.Arbitrary<Required<ModelRules>> = fc.record({
  collapse: fc.boolean(),
  late: fc.constantFrom<Required<ModelRules>['late'][]>('apply', 'apply', 'drop', 'dlq'),
  keepNoops: fc.boolean(),
  markDeletes: fc.boolean(),
});

/** For tables that refuse late changes: what rests on a refused one is older than it was. */
export const wholeImages = (events: readonly Event[]): Event[] =>
  events.map((event) => ({ ...event, unchanged: [] }));

/**
 * In what order things come, and where batches are cut: positions may repeat; what is never named comes
 * last.
 */
type Arrival = { picks: number[]; cuts: number[]; shuffle: number[] };

export const arrivals: fc.Arbitrary<Arrival> = fc.record({
  picks: fc.array(fc.nat(60), { maxLength: 25 }),
  cuts: fc.array(fc.nat(80), { maxLength: 12 }),
  shuffle: fc.array(fc.nat(1000), { minLength: 60, maxLength: 60 }),
});

/** Every item at least once, in shuffled order, some repeated, cut into batches. */
export const deliver = <Item>(items: readonly Item[], { picks, cuts, shuffle }: Arrival): Item[][] => {
  if (items.length === 0) return [];
  const whole = items
    .map((item, at) => ({ item, place: shuffle[at % shuffle.length] as number }))
    .sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
  for (const pick of picks) whole.splice((pick * 7) % whole.length, 0, items[pick % items.length] as Item);
  const ends = [...new Set(cuts.map((cut) => cut % whole.length)), whole.length].sort((a, b) => a - b);
  return ends
    .map((end, at) => whole.slice(at === 0 ? 0 : ends[at - 1], end))
    .filter(({ length }) => length > 0);
};

/** Every item once, as partitions carry them: lanes interleave in any way, but none is out of order. */
export const deliverLanes = <Item>(
  items: readonly Item[],
  laneOf: (item: Item) => string,
  { cuts, shuffle }: Arrival,
): Item[][] => {
  const lanes = [...Map.groupBy(items, laneOf).values()];
  const whole: Item[] = [];
  for (let at = 0; lanes.some(({ length }) => length > 0); at++) {
    const waiting = lanes.filter(({ length }) => length > 0);
    const lane = waiting[(shuffle[at % shuffle.length] as number) % waiting.length] as Item[];
    whole.push(lane.shift() as Item);
  }
  const straight = { picks: [], cuts, shuffle: whole.slice(0, 1).map(() => 0) };
  return deliver(whole, straight);
};
