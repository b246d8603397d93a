// Owns the words of a table that remembers: versions, changes, barriers, and marks (what has no visible row
// but must be known when an earlier change comes late). Knows no column: an image is opaque.
import type { Order } from '../../change/order.ts';

/** u: superseded, d: deleted, k: its key changed, t: truncated, s: gone when a snapshot looked. */
export type CloseReason = 'u' | 'd' | 'k' | 't' | 's';

/** Times are microseconds since 1970-01-01 UTC; intervals are half-open. */
export type Version<Image> = {
  order: Order;
  orderEnd: Order | null;
  from: bigint;
  to: bigint | null;
  op: string;
  /** Commit time as the source said it; `from` is the same, unless its clock went back. */
  ts: bigint;
  tx: string;
  image: Image;
  previousKey: string | null;
  closedBy: CloseReason | null;
  /** Identity of the row that holds exactly this payload; null: there is none yet. */
  stored: number | null;
};

export type StoredVersion<Image> = Version<Image> & { stored: number };

/** A row of no length that says of a delete that it was: only a table that marks deletes has them. */
export const isDeleteMarker = ({ op }: Pick<Version<unknown>, 'op'>): boolean => op === 'd';

/** What people decide about versions. */
export type VersionRules = {
  /** Several changes of a key in one transaction make one version. */
  collapse: boolean;
  /** What becomes of a change that comes after one of a later transaction of its key. */
  late: 'apply' | 'drop' | 'dlq';
  /** A change that changes nothing is a version; a snapshot's row that does is none. */
  keepNoops: boolean;
  /** A delete leaves a row of no length, with the values that the row had. */
  markDeletes: boolean;
};

export type Change<Image> = {
  order: Order;
  op: 'c' | 'u' | 'd' | 'r';
  ts: bigint;
  tx: string;
  /** Null for a delete. Columns in `unchanged` hold anything. */
  image: Image | null;
  /** Ids of columns that the source did not send; sorted. */
  unchanged: readonly number[];
  /** A delete that is the first half of a changed key. */
  moved: boolean;
  /** The create of a changed key: the old key, for carrying columns, and as text for people. */
  origin: string | null;
  previousKey: string | null;
  /** Position in what is folded now: rises with (partition, offset). */
  rank: number;
};

/**
 * noop: an upsert equal to the version before it. delete: one that closed nothing, or whose own time no row
 * shows. carried: an upsert with a row, some of whose columns came from before. hidden: an upsert that its
 * own transaction replaced, kept because other images may rest on it.
 */
export type MarkKind = 'noop' | 'delete' | 'carried' | 'hidden';

export type Mark<Image> = {
  order: Order;
  kind: MarkKind;
  /** c, u, r; a delete's is d, or k for the first half of a changed key. */
  op: string;
  ts: bigint;
  tx: string;
  unchanged: readonly number[];
  origin: string | null;
  previousKey: string | null;
  /** Hidden ones only. */
  image: Image | null;
};

/**
 * t: every row below is gone. s: likewise the rows whose key has no `r` change in the barrier's own
 * transaction.
 */
export type Barrier = { order: Order; ts: bigint; kind: 't' | 's' };

/**
 * What the rules ask of an image. `same`: columns that the source no longer had at `order`, when the other
 * came, make no difference. `seenAt`: of an image, what the source still had at `order`. `carry` never
 * changes its arguments, nor does `seenAt`; without `previous` the columns are unknown.
 */
export type Images<Image> = {
  same(one: Image, other: Image, order: Order): boolean;
  seenAt(image: Image, order: Order): Image;
  carry(previous: Image | null, partial: Image, columns: readonly number[]): Image;
  /** Whether the value of every column is known. */
  isWhole(image: Image): boolean;
};

/** What is known of one key, and what is new. See `fold` for how much must be known. */
export type KeyInput<Image> = {
  stored: readonly StoredVersion<Image>[];
  marks: readonly Mark<Image>[];
  changes: readonly Change<Image>[];
  /**
   * Derive anew from this order's transaction on, although no change says so (a barrier came, an origin
   * changed).
   */
  since: Order | null;
};

/** The smallest difference to what was stored. A written version may say by `stored` whose payload it has. */
export type KeyResult<Image> = {
  key: string;
  removed: readonly StoredVersion<Image>[];
  written: readonly Version<Image>[];
  marksAdded: readonly Mark<Image>[];
  marksRemoved: readonly Mark<Image>[];
};

/**
 * late: came after a change of a later transaction of its key. conflicts: two payloads of one order.
 * incomplete: versions opened with a column whose value could not be had.
 */
export type FoldCounts = {
  duplicates: number;
  late: number;
  conflicts: number;
  noops: number;
  opened: number;
  closed: number;
  incomplete: number;
};

/** too_late: below what the table remembers; late: late, in a table that takes no late changes. */
export type DeadReason = 'too_late' | 'late' | 'order_conflict';

export type FoldResult<Image> = {
  keys: readonly KeyResult<Image>[];
  dead: readonly { rank: number; reason: DeadReason }[];
  counts: FoldCounts;
};
