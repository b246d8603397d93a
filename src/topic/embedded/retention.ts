// Owns which of the oldest segments may go: too old or too much, and never what a sink has still to read.
// Pure.
import type { TopicState } from './log-state.ts';
import type { Segment } from './recovery.ts';
import type { Released } from './released.ts';

/** What is older, or what does not fit, goes. */
export type Retention = {
  ageMs: number;
  bytes: number;
};

/** True for a topic that a sink reads: nothing of it goes before it was released. */
export type Hold = (topic: string) => boolean;

type Holders = { topics: ReadonlyMap<string, TopicState>; released: Released; hold: Hold };

/** True when no sink waits for anything that lies between the two ends. */
const isFree = (
  from: ReadonlyMap<string, number>,
  to: Iterable<readonly [topic: string, end: number]>,
  safe: (topic: string) => number,
): boolean => {
  for (const [topic, end] of to) if ((from.get(topic) ?? 0) < end && safe(topic) < end) return false;
  return true;
};

const safeOffset =
  ({ topics, released, hold }: Holders) =>
  (topic: string): number =>
    hold(topic) ? (released.get(topics.get(topic)?.id ?? '') ?? 0) : Number.POSITIVE_INFINITY;

/** How many segments may go, oldest first, for `need` more bytes to fit; never the one being written. */
export const countDroppable = (
  segments: readonly Segment[],
  holders: Holders,
  { now, need, retention }: { now: number; need: number; retention: Retention },
): number => {
  const safe = safeOffset(holders);
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, need);
  let count = 0;
  for (; count < segments.length - 1; count++) {
    const [segment, next] = [segments[count] as Segment, segments[count + 1] as Segment];
    if (bytes <= retention.bytes && next.at >= now - retention.ageMs) break;
    if (!isFree(segment.ends, next.ends, safe)) break;
    bytes -= segment.bytes;
  }
  return count;
};

/** True when the segment being written could go, were it sealed. */
export const isCurrentFree = (current: Segment, holders: Holders): boolean =>
  isFree(
    current.ends,
    [...holders.topics].map(([name, { end }]) => [name, end] as const),
    safeOffset(holders),
  );
