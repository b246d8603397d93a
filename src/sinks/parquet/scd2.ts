// Owns the rules that turn changes into versions: a pure function of the set of changes and barriers, so
// that neither their order of arrival, nor repetition, nor where a batch was cut shows in the table. No
// I/O, no clock, no column.
import { type Order, transactionOf } from '../../change/order.ts';
import { carryImages } from './scd2-carry.ts';
import { deriveNext, deriveVersions } from './scd2-intervals.ts';
import { assemble, type FoldContext, type Timeline } from './scd2-timeline.ts';
import type { Barrier, FoldResult, Images, KeyInput, KeyResult, VersionRules } from './scd2-version.ts';

type FoldOptions<Image> = {
  images: Images<Image>;
  /** All barriers above the horizon, in any order. */
  barriers: readonly Barrier[];
  /** Changes of this order's transaction or below are too late, marks there may be gone; null: none is. */
  horizon: Order | null;
  rules: VersionRules;
};

/** Whether an image of one key may rest on another key's. */
const hasOrigins = <Image>(keys: ReadonlyMap<string, KeyInput<Image>>): boolean => {
  for (const { changes, marks } of keys.values())
    if (changes.some(({ origin }) => origin !== null) || marks.some(({ origin }) => origin !== null))
      return true;
  return false;
};

/**
 * Folds new changes into what is known of their keys. A key's input must hold, with `first` the transaction
 * of its earliest change (or `since`): every stored version that ends at `first` or later or is open, the
 * newest one that ended before (no marker of a delete), and every mark from `first` on. Keys that partial
 * images come from (`origin`) belong in, likewise, with the order of those images for `first`; and so do keys
 * whose marks have one of these keys for origin.
 * One thing needs the order that a partition has: a transaction that moves a row away from a key, uses the
 * key again and changes it again, whose changes of that key come out of order in different folds, loses the
 * columns that the moved row did not send: they are NULL and named.
 */
export const fold = <Image>(
  keys: ReadonlyMap<string, KeyInput<Image>>,
  { images, barriers, horizon, rules }: FoldOptions<Image>,
): FoldResult<Image> => {
  const floor = horizon === null ? null : transactionOf(horizon);
  const standing = barriers
    .filter(({ order }) => floor === null || transactionOf(order) > floor)
    .sort((a, b) => (a.order < b.order ? -1 : 1));
  const context: FoldContext<Image> = {
    images,
    rules,
    horizon: floor,
    barriers: new Set(standing.map(({ order }) => order)),
    last: transactionOf(standing.at(-1)?.order ?? ''),
    dead: [],
    counts: { duplicates: 0, late: 0, conflicts: 0, noops: 0, opened: 0, closed: 0, incomplete: 0 },
  };
  const timelines = new Map<string, Timeline<Image>>();
  const results: KeyResult<Image>[] = [];
  const isAlone = !hasOrigins(keys);
  for (const [key, input] of keys) {
    const next = isAlone ? deriveNext(key, input, context) : null;
    if (next !== null) results.push(next);
    else timelines.set(key, assemble(key, input, context));
  }
  carryImages(timelines, context);
  for (const timeline of timelines.values()) {
    const result = deriveVersions(timeline, standing, context);
    if (result !== null) results.push(result);
  }
  return { keys: results, dead: context.dead, counts: context.counts };
};
