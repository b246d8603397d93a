// Owns where one event of a table came from: its place in the topic and the table commit that folded it. What
// is not known any more is said to be so; nothing is inferred from what usually holds.
import type { Order } from '../change/order.ts';
import type { EngineValue } from '../sinks/parquet/columns-value.ts';
import { type FoundCommit, findCommit } from '../sinks/parquet/iceberg/past-state.ts';
import { summaryValue } from '../sinks/parquet/iceberg/table-state.ts';
import { readMemory } from '../sinks/parquet/table-memory.ts';
import type { Asking, NamedTable } from './asked.ts';
import { findRecord, type TopicPlace, type TopicRange } from './topic-place.ts';

export type Provenance = {
  /** A sentence where it is not known. */
  topic: TopicPlace | string;
  commit: FoundCommit | string;
};

type Event = { order: Order; key: readonly EngineValue[]; isDelete: boolean };
type Summary = Readonly<Record<string, string>>;

const offsetsOf = (summary: Summary): ReadonlyMap<number, bigint> | null =>
  summary['varve.offsets'] === undefined ? null : readMemory((key) => summary[key] ?? null).offsets;

/** Whether some partition had come to this order by a commit; events that come late make it too early. */
const hasReached =
  (order: Order) =>
  (summary: Summary): boolean | null => {
    if (summary['varve.highs'] === undefined) return null;
    const { highs } = readMemory((key) => summary[key] ?? null);
    return [...highs.values()].some((high) => high.order >= order);
  };

/** What the commit that came to this order read: the first place to look, and not more than that. */
const likelyRanges = ({ state }: NamedTable, order: Order): TopicRange[] => {
  const commit = findCommit(state, hasReached(order));
  if (commit.kind !== 'found') return [];
  const { snapshot } = commit;
  const parent = state.metadata.snapshots.find(
    (one) => BigInt(one['snapshot-id']) === BigInt(snapshot['parent-snapshot-id'] ?? -1),
  );
  const before = parent === undefined ? null : offsetsOf(parent.summary);
  return [...(offsetsOf(snapshot.summary) ?? [])].map(([partition, to]) => ({
    partition,
    from: before?.get(partition) ?? 0n,
    to,
  }));
};

type Kept = { ranges: TopicRange[]; text: string };

/** What the topic still has, and how that is said. */
const keptRanges = async ({ feed }: Asking, { topic }: NamedTable): Promise<Kept> => {
  const ranges: TopicRange[] = [];
  for (let partition = 0; partition < (await feed.partitions(topic)); partition++) {
    const { start, end } = await feed.ends(topic, partition);
    ranges.push({ partition, from: start, to: end });
  }
  const texts = ranges.map(({ partition, from }) => `partition ${partition} from offset ${from}`);
  return { ranges, text: texts.join(', ') };
};

const byValue = (one: bigint, other: bigint): number => (one < other ? -1 : 1);

/** The parts of the first ranges that lie in the others. */
const within = (likely: readonly TopicRange[], kept: readonly TopicRange[]): TopicRange[] =>
  likely.flatMap(({ partition, from, to }) => {
    const range = kept.find((one) => one.partition === partition);
    if (range === undefined || from >= range.to || to <= range.from) return [];
    return [
      {
        partition,
        from: [from, range.from].sort(byValue)[1] ?? from,
        to: [to, range.to].sort(byValue)[0] ?? to,
      },
    ];
  });

const findInTopic = async (all: Asking, table: NamedTable, event: Event): Promise<TopicPlace | string> => {
  const { topicId } = readMemory((key) => summaryValue(table.state, key));
  const { feed } = all;
  if (topicId !== (await feed.topicId(table.topic)))
    return `${table.topic} was deleted and made again since; the one that this came from is gone`;
  const { ranges, text } = await keptRanges(all, table);
  const parts = { feed, table };
  const likely = within(likelyRanges(table, event.order), ranges);
  const found = (await findRecord(parts, likely, event)) ?? (await findRecord(parts, ranges, event));
  if (found !== null) return found;
  return ranges.some(({ from }) => from > 0n)
    ? `not known any more: the topic keeps ${text} only, and it is not there`
    : `not in the topic, which keeps ${text}`;
};

/** The commit that folded an offset: offsets ride in the same commit as the rows. */
const commitOf = ({ state }: NamedTable, place: TopicPlace): FoundCommit =>
  findCommit(state, (summary) => {
    const offsets = offsetsOf(summary);
    return offsets === null ? null : (offsets.get(place.partition) ?? 0n) > place.offset;
  });

/** Where the event of this order came from. */
export const provenanceOf = async (all: Asking, table: NamedTable, event: Event): Promise<Provenance> => {
  const topic = await findInTopic(all, table, event);
  if (typeof topic !== 'string') return { topic, commit: commitOf(table, topic) };
  return { topic, commit: 'not known: only an offset of the topic tells which commit folded it' };
};
