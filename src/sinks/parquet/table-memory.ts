// Owns what a table remembers beside its rows: the `varve.*` keys that ride in each snapshot's summary.
// Whoever reads the table sees rows and memory of one and the same commit. Knows no file.
import type { Order } from '../../change/order.ts';
import { VarveError } from '../../errors.ts';
import type { High } from './engine/protocol.ts';
import type { Barrier } from './scd2-version.ts';

export type TableMemory = {
  topicId: string | null;
  /** Next offset to read, by partition. */
  offsets: ReadonlyMap<number, bigint>;
  /** The newest event folded, by partition. */
  highs: ReadonlyMap<number, High>;
  barriers: readonly Barrier[];
  /** State files, oldest first. */
  stateFiles: readonly string[];
  /** Rising: up to which order everything was folded at which commit time; how lateness is told. */
  clock: readonly High[];
  /** Number of the newest schema record that the columns follow. */
  schema: number;
  /**
   * The rows are what all events up to this order make, and no other: the end of a source's transaction, and
   * so a moment that the source was in. Null: they are of no one moment, or that is not known.
   */
  cut: Order | null;
};

export const EMPTY_MEMORY: TableMemory = {
  topicId: null,
  offsets: new Map(),
  highs: new Map(),
  barriers: [],
  stateFiles: [],
  clock: [],
  schema: 0,
  cut: null,
};

const KEYS = {
  topicId: 'varve.topic-id',
  offsets: 'varve.offsets',
  highs: 'varve.highs',
  barriers: 'varve.barriers',
  stateFiles: 'varve.state-files',
  clock: 'varve.clock',
  schema: 'varve.schema',
  cut: 'varve.cut',
} as const;

/** So many steps divide the late window: the horizon is that exact. */
const CLOCK_STEPS = 48n;

/**
 * Kept in the properties alone, which ride in the same commit: it is long, and each version would repeat it
 * for every snapshot. Whoever went back to an older snapshot has newer steps then, which say nothing of it.
 */
export const UNREPEATED = KEYS.clock;

type WireHigh = { order: Order; ts: string };
const toWire = ({ order, ts }: High): WireHigh => ({ order, ts: ts.toString() });
const fromWire = ({ order, ts }: WireHigh): High => ({ order, ts: BigInt(ts) });

export const printMemory = (memory: TableMemory): Record<string, string> => ({
  [KEYS.topicId]: memory.topicId ?? '',
  [KEYS.offsets]: JSON.stringify(
    Object.fromEntries([...memory.offsets].map(([at, offset]) => [at, offset.toString()])),
  ),
  [KEYS.highs]: JSON.stringify(Object.fromEntries([...memory.highs].map(([at, high]) => [at, toWire(high)]))),
  [KEYS.barriers]: JSON.stringify(memory.barriers.map(({ kind, ...high }) => ({ ...toWire(high), kind }))),
  [KEYS.stateFiles]: JSON.stringify(memory.stateFiles),
  [KEYS.clock]: JSON.stringify(memory.clock.map(toWire)),
  [KEYS.schema]: String(memory.schema),
  [KEYS.cut]: memory.cut ?? '',
});

/**
 * `value` gives the newest text of a key. Throws `table_corrupt` when what is there was not written by
 * `printMemory`.
 */
export const readMemory = (value: (key: string) => string | null): TableMemory => {
  const offsets = value(KEYS.offsets);
  if (offsets === null) return EMPTY_MEMORY;
  const json = <Body>(key: string, empty: string): Body => JSON.parse(value(key) ?? empty) as Body;
  try {
    return {
      topicId: value(KEYS.topicId) || null,
      offsets: new Map(
        Object.entries(JSON.parse(offsets) as Record<string, string>).map(([at, text]) => [
          Number(at),
          BigInt(text),
        ]),
      ),
      highs: new Map(
        Object.entries(json<Record<string, WireHigh>>(KEYS.highs, '{}')).map(([at, high]) => [
          Number(at),
          fromWire(high),
        ]),
      ),
      barriers: json<(WireHigh & Pick<Barrier, 'kind'>)[]>(KEYS.barriers, '[]').map((one) => ({
        ...fromWire(one),
        kind: one.kind,
      })),
      stateFiles: json<string[]>(KEYS.stateFiles, '[]'),
      clock: json<WireHigh[]>(KEYS.clock, '[]').map(fromWire),
      schema: Number(value(KEYS.schema) ?? 0),
      cut: value(KEYS.cut) || null,
    };
  } catch (cause) {
    throw new VarveError(
      'table_corrupt',
      'The varve.* keys of a table are damaged. Restore its newest metadata file.',
      { cause },
    );
  }
};

/** What all partitions have passed; null while one has not begun. */
const lowest = (highs: ReadonlyMap<number, High>): High | null => {
  const sorted = [...highs.values()].sort((a, b) => (a.order < b.order ? -1 : 1));
  return sorted[0] ?? null;
};

/**
 * The clock after a commit: a new step when enough time has passed, and none that is older than the window
 * needs.
 */
export const advanceClock = (
  clock: readonly High[],
  highs: ReadonlyMap<number, High>,
  windowUs: bigint,
): readonly High[] => {
  const now = lowest(highs);
  const last = clock.at(-1);
  if (now === null || (last !== undefined && now.ts - last.ts < windowUs / CLOCK_STEPS)) return clock;
  const steps = [...clock, now];
  const keepFrom = steps.findLastIndex(({ ts }) => ts <= now.ts - windowUs);
  return steps.slice(Math.max(0, keepFrom));
};

/** Events at or below this order are later than the window allows; null: nothing is that late yet. */
export const horizonOf = ({ clock, highs }: TableMemory, windowUs: bigint): Order | null => {
  const now = lowest(highs);
  if (now === null) return null;
  return clock.findLast(({ ts }) => ts <= now.ts - windowUs)?.order ?? null;
};

/** `whole`, where the table holds nothing above it. */
export const cutOf = (highs: ReadonlyMap<number, High>, whole: Order | null): Order | null =>
  whole !== null && [...highs.values()].every(({ order }) => order <= whole) ? whole : null;

/** Barriers that a late event may still meet. */
export const keptBarriers = (barriers: readonly Barrier[], horizon: Order | null): readonly Barrier[] =>
  barriers.filter(({ order }) => horizon === null || order > horizon);
