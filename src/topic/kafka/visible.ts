// Owns waiting until what was committed can be seen: the markers of a transaction reach its partitions one
// after the other, and a broker may lose them. Knows no transaction.
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../errors.ts';
import { listOffsets } from './admin.ts';
import type { KafkaClient } from './client.ts';
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
  const until = performance.now() + limitMs;
  for (
    let pauseMs: number = PAUSE_MS.first;
    left.length > 0;
    pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most)
  ) {
    const committed = await listOffsets(client, left, 'committed');
    left = left.filter(({ offset, records }, at) => (committed[at] ?? -1n) < offset + BigInt(records));
    if (left.length === 0) return;
    if (performance.now() > until || closing.aborted) throw hidden(left);
    await sleep(pauseMs, undefined, { signal: closing }).catch(() => undefined);
  }
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
