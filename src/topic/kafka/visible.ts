// Owns waiting until what was committed can be seen: the markers of a transaction reach its partitions one
// after the other, and a broker may lose them. Knows no transaction.
import { VarveError } from '../../errors.ts';
import { listOffsets } from './admin.ts';
import type { KafkaClient } from './client.ts';
import { comesTrue } from './patience.ts';
import { partitionKey, type Written } from './producer.ts';

const PAUSE_MS = { first: 1, most: 50 } as const;

/** Resolves when a read_committed reader sees all of `written`. Throws `topic_busy` after `limitMs`. */
export const untilVisible = async (
  client: KafkaClient,
  written: readonly Written[],
  { limitMs, closing }: { limitMs: number; closing: AbortSignal },
): Promise<void> => {
  // A partition's batches are in order, so the last one's end is its end.
  let left = [...new Map(written.map((one) => [partitionKey(one), one])).values()];
  const isVisible = async (): Promise<boolean> => {
    if (left.length === 0) return true;
    const committed = await listOffsets(client, left, 'committed');
    left = left.filter(({ offset, records }, at) => (committed[at] ?? -1n) < offset + BigInt(records));
    return left.length === 0;
  };
  if (!(await comesTrue(isVisible, { limitMs, pauseMs: PAUSE_MS, closing }))) throw hidden(left);
};

const hidden = (left: readonly Written[]): VarveError => {
  const names = left.map(({ topic, partition }) => `${partition} of ${topic}`).join(', ');
  return new VarveError(
    'topic_busy',
    `A transaction was committed, and does not become visible in partition ${names}. The source is not ` +
      'told; it is looked at again.',
    { facts: { partitions: left.length } },
  );
};
