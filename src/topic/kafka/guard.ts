// Owns the look at what a new writer finds: that nothing stays undecided in the partitions which only this
// pipeline writes. A broker can lose the end of a transaction whose commit it acknowledged; readers then stop
// there for ever, and whatever is written behind it is never seen. Mends nothing.
import { VarveError } from '../../errors.ts';
import { listOffsets } from './admin.ts';
import type { KafkaClient } from './client.ts';
import type { TopicPartition } from './leaders.ts';
import { comesTrue } from './patience.ts';

/** Markers of an abort, and what replicas lack, arrive within this. */
const SETTLE_MS = 10_000;
const PAUSE_MS = { first: 2, most: 200 } as const;

const partitionsOf = async (client: KafkaClient, topics: readonly string[]): Promise<TopicPartition[]> => {
  await client.refresh(topics);
  const found = await Promise.all(topics.map((topic) => client.topic(topic)));
  return found.flatMap((topic) =>
    (topic?.partitions ?? []).map((_, partition) => ({ topic: topic?.name ?? '', partition })),
  );
};

/** Partitions with records that are neither committed nor aborted; topics that do not exist have none. */
export const findUndecided = async (
  client: KafkaClient,
  topics: readonly string[],
): Promise<TopicPartition[]> => {
  const partitions = await partitionsOf(client, topics);
  const ends = await listOffsets(client, partitions, 'end');
  const committed = await listOffsets(client, partitions, 'committed');
  return partitions.filter((_, at) => (committed[at] ?? -1n) < (ends[at] ?? 0n));
};

/**
 * To be called right after the producer's begin, which aborts what was open. Throws `hanging_transaction`.
 */
export const refuseHanging = async (
  client: KafkaClient,
  topics: readonly string[],
  closing: AbortSignal,
): Promise<void> => {
  let undecided: readonly TopicPartition[] = [];
  const isSettled = async (): Promise<boolean> => {
    undecided = await findUndecided(client, topics);
    return undecided.length === 0;
  };
  if (await comesTrue(isSettled, { limitMs: SETTLE_MS, pauseMs: PAUSE_MS, closing })) return;
  throw hanging(undecided[0] as TopicPartition, undecided.length - 1);
};

const hanging = ({ topic, partition }: TopicPartition, others: number): VarveError =>
  new VarveError(
    'hanging_transaction',
    `Partition ${partition} of ${topic}${others > 0 ? ` and ${others} more` : ''} holds a transaction that ` +
      'is neither committed nor aborted, and nobody is left to end it: a broker lost its end. Readers stop ' +
      'there for ever. Nothing was confirmed to the source: varve resume FILE --abort-hanging takes it ' +
      'back and goes on from the checkpoint before it.',
    { facts: { topic, partition, others } },
  );
