// Owns a feed of a real broker for tests, beside a writer that is none of ours: reading alone is under test.
import type { Feed } from '../../src/topic/feed.ts';
import { KafkaClient } from '../../src/topic/kafka/client.ts';
import { openKafkaFeed } from '../../src/topic/kafka/feed.ts';
import type { Broker } from './kafka.ts';
import { type KafkaWriter, openKafkaWriter } from './kafka-writer.ts';

export type KafkaFeedBench = {
  writer: KafkaWriter;
  feed: Feed;
  state: string;
  /** Another one; all are closed at the end. */
  open: (limits?: { undecidedMs?: number; patienceMs?: number }) => Promise<Feed>;
};

/** Gives `body` a feed, and what writes to it, on a prefix of their own. */
export const withKafkaFeed = async (
  broker: Broker,
  body: (bench: KafkaFeedBench) => Promise<void>,
): Promise<void> => {
  await using writer = await openKafkaWriter(broker);
  const state = await writer.makeTopic('varve.state', { replicas: Math.min(3, broker.brokers.length) });
  await using client = await KafkaClient.open({ brokers: broker.brokers, clientId: 'test' });
  const feeds: Feed[] = [];
  const open: KafkaFeedBench['open'] = async (limits = {}) => {
    const schema = async (id: number): Promise<string> => `"${id}"`;
    const feed = await openKafkaFeed({ client, prefix: writer.prefix, schema, ...limits });
    feeds.push(feed);
    return feed;
  };
  await body({ writer, state, feed: await open(), open });
  for (const feed of feeds) await feed.close();
};
