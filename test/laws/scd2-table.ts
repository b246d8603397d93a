// Owns a table in memory for the scd2 laws: it keeps rows and marks, and hands `fold` exactly what its
// contract asks for, no more, so that a rule that needs more fails here.
import { transactionOf } from '../../src/change/order.ts';
import { fold } from '../../src/sinks/parquet/scd2.ts';
import type {
  Barrier,
  Change,
  Images,
  KeyInput,
  Mark,
  StoredVersion,
  VersionRules,
} from '../../src/sinks/parquet/scd2-version.ts';
import { type Event, type Image, imagesEqual, type ModelRules, type Row } from './scd2-model.ts';

const DEFAULT_RULES: VersionRules = { collapse: true, late: 'apply', keepNoops: false, markDeletes: false };

/** What the code under test calls the model's rules. */
const versionRules = (rules: ModelRules): VersionRules => ({ ...DEFAULT_RULES, ...rules });

export type Delivery = { kind: 'event'; event: Event } | { kind: 'barrier'; barrier: Barrier };

export const eventsOf = (items: readonly Delivery[]): Event[] =>
  items.flatMap((item) => (item.kind === 'event' ? [item.event] : []));

export const deliveries = (events: readonly Event[], barriers: readonly Barrier[]): Delivery[] => [
  ...events.map((event) => ({ kind: 'event', event }) as const),
  ...barriers.map((barrier) => ({ kind: 'barrier', barrier }) as const),
];

const images: Images<Image> = {
  same: imagesEqual,
  seenAt: (image) => image,
  carry: (previous, partial, columns) => ({
    values: partial.values.map((value, at) =>
      columns.includes(at) ? (previous?.values[at] ?? null) : value,
    ),
    incomplete: columns.filter((column) => previous === null || previous.incomplete.includes(column)),
  }),
  isWhole: ({ incomplete }) => incomplete.length === 0,
};

type Keep = { versions: StoredVersion<Image>[]; marks: Mark<Image>[] };

export class MemoryTable {
  readonly counts = {
    duplicates: 0,
    late: 0,
    conflicts: 0,
    noops: 0,
    opened: 0,
    closed: 0,
    incomplete: 0,
  };
  dead: string[] = [];
  readonly #keys = new Map<string, Keep>();
  readonly #barriers = new Map<string, Barrier>();
  readonly #rules: VersionRules;
  #horizon: string | null = null;
  #nextRow = 0;

  constructor(rules: ModelRules = {}) {
    this.#rules = versionRules(rules);
  }

  rows(): Row[] {
    return [...this.#keys]
      .flatMap(([key, { versions }]) =>
        versions.map(({ stored: _stored, ...version }) => ({ key, ...version })),
      )
      .sort((a, b) => (a.key === b.key ? (a.order < b.order ? -1 : 1) : a.key < b.key ? -1 : 1));
  }

  marks(): number {
    return [...this.#keys.values()].reduce((sum, { marks }) => sum + marks.length, 0);
  }

  /**
   * From now on nothing may change at or below this order's transaction; what only such changes need goes.
   */
  raiseHorizon(order: string): void {
    this.#horizon = order;
    const isPast = (mark: { order: string }) => transactionOf(mark.order) <= transactionOf(order);
    for (const keep of this.#keys.values()) keep.marks = keep.marks.filter((mark) => !isPast(mark));
    for (const barrier of [...this.#barriers.values()])
      if (isPast(barrier)) this.#barriers.delete(barrier.order);
  }

  commit(batch: readonly Delivery[]): void {
    const since = new Map<string, string>();
    const changes = new Map<string, Change<Image>[]>();
    const lower = (key: string, order: string) => {
      const known = since.get(key);
      if (known === undefined || transactionOf(order) < known) since.set(key, transactionOf(order));
    };
    const forced = new Set<string>();
    batch.forEach((delivery, rank) => {
      if (delivery.kind === 'barrier') this.#barriers.set(delivery.barrier.order, delivery.barrier);
      else {
        const change = toChange(delivery.event, rank);
        changes.set(delivery.event.key, [...(changes.get(delivery.event.key) ?? []), change]);
      }
    });
    for (const delivery of batch)
      if (delivery.kind === 'barrier' && !this.#isPast(delivery.barrier.order))
        for (const key of new Set([...this.#keys.keys(), ...changes.keys()])) {
          lower(key, delivery.barrier.order);
          forced.add(key);
        }
    for (const [key, list] of changes)
      for (const { order, origin } of list) {
        lower(key, order);
        if (origin !== null) lower(origin, order);
      }
    this.#addRelated(lower, since);
    const inputs = new Map<string, KeyInput<Image>>();
    for (const [key, first] of since)
      inputs.set(key, {
        ...this.#load(key, first),
        changes: changes.get(key) ?? [],
        since: forced.has(key) ? first : null,
      });
    const result = fold(inputs, {
      images,
      barriers: [...this.#barriers.values()],
      horizon: this.#horizon,
      rules: this.#rules,
    });
    this.dead.push(...result.dead.map(({ reason }) => reason));
    for (const name of Object.keys(this.counts) as (keyof typeof this.counts)[])
      this.counts[name] += result.counts[name];
    for (const key of result.keys) this.#apply(key);
  }

  #isPast(order: string): boolean {
    return this.#horizon !== null && transactionOf(order) <= transactionOf(this.#horizon);
  }

  /** Keys whose images rest on a touched key, and the keys that their images rest on in turn. */
  #addRelated(lower: (key: string, order: string) => void, since: Map<string, string>): void {
    for (let size = -1, sum = ''; size !== since.size || sum !== [...since.values()].join(); ) {
      size = since.size;
      sum = [...since.values()].join();
      for (const [key, { marks }] of this.#keys)
        for (const { order, origin } of marks) {
          if (origin === null) continue;
          const first = since.get(origin);
          const own = since.get(key);
          if (first !== undefined && order > first) lower(key, order);
          if (own !== undefined && order > own) lower(origin, order);
        }
    }
  }

  #load(key: string, first: string): Pick<KeyInput<Image>, 'stored' | 'marks'> {
    const { versions, marks } = this.#keys.get(key) ?? { versions: [], marks: [] };
    const recent = versions.filter(({ orderEnd }) => orderEnd === null || orderEnd >= first);
    const past = versions
      .filter((version) => !recent.includes(version) && version.order !== version.orderEnd)
      .sort((a, b) => (a.order < b.order ? -1 : 1));
    return { stored: [...past.slice(-1), ...recent], marks: marks.filter(({ order }) => order >= first) };
  }

  #apply({
    key,
    removed,
    written,
    marksAdded,
    marksRemoved,
  }: ReturnType<typeof fold<Image>>['keys'][number]): void {
    const keep = this.#keys.get(key) ?? { versions: [], marks: [] };
    const gone = new Set(removed.map(({ stored }) => stored));
    keep.versions = keep.versions.filter(({ stored }) => !gone.has(stored));
    keep.versions.push(...written.map((version) => ({ ...version, stored: this.#nextRow++ })));
    const named = new Set([...marksRemoved, ...marksAdded].map(({ order, kind }) => order + kind));
    keep.marks = keep.marks.filter(({ order, kind }) => !named.has(order + kind));
    keep.marks.push(...marksAdded.filter(({ order }) => !this.#isPast(order)));
    this.#keys.set(key, keep);
  }
}

const toChange = (event: Event, rank: number): Change<Image> => ({
  order: event.order,
  op: event.op,
  ts: event.ts,
  tx: event.tx,
  image: event.op === 'd' ? null : { values: event.values, incomplete: [] },
  unchanged: event.unchanged,
  moved: event.moved,
  origin: event.origin,
  previousKey: event.origin,
  rank,
});
