// Owns what the contract suites run on with a real broker and a real registry: both shared by the process,
// topics under a prefix of their own.
import { randomUUID } from 'node:crypto';
import { KafkaClient } from '../../src/topic/kafka/client.ts';
import { openKafkaFeed } from '../../src/topic/kafka/feed.ts';
import { type KafkaPublisherOptions, openKafkaPublisher } from '../../src/topic/kafka/publisher.ts';
import { openRegistry, type Registry } from '../../src/topic/kafka/registry.ts';
import type { Publisher } from '../../src/topic/publisher.ts';
import { deleteRecords } from './delete-records.ts';
import { sharedKafka } from './kafka.ts';
import { startRegistry } from './schema-registry.ts';
import type { TopicBench } from './topic-bench.ts';

export type KafkaBench = TopicBench & {
  readonly prefix: string;
  readonly client: KafkaClient;
  readonly registry: Registry;
  /** Reads the state and takes nothing over. */
  peek(options?: Partial<KafkaPublisherOptions>): Promise<Publisher>;
};

let registryServer: ReturnType<typeof startRegistry> | undefined;

/** One for all tests of this process; it ends with the process. */
const sharedRegistry = (): ReturnType<typeof startRegistry> => {
  registryServer ??= startRegistry();
  return registryServer;
};

export const kafkaBench = async (brokers?: readonly string[]): Promise<KafkaBench> => {
  const prefix = `p${randomUUID().slice(0, 8)}`;
  const settings = { brokers: brokers ?? (await sharedKafka()).brokers, clientId: 'test' };
  const client = await KafkaClient.open(settings);
  const { url } = await sharedRegistry();
  const registry = await openRegistry({ url, auth: null, tls: null, timeoutMs: 10_000, compatibility: null });
  const released = new Map<string, bigint>();
  const peek: KafkaBench['peek'] = (options = {}) =>
    openKafkaPublisher({
      client,
      prefix,
      delivery: 'exactly_once',
      registry,
      replication: null,
      retentionMs: null,
      transactionTimeoutMs: 60_000,
      now: Date.now,
      ...options,
    });
  return {
    prefix,
    client,
    registry,
    peek,
    topic: (name) => `${prefix}.${name}`,
    openPublisher: async () => {
      const publisher = await peek();
      await publisher.recover();
      return publisher;
    },
    openFeed: async () => {
      const feed = await openKafkaFeed({ client, prefix, schema: (id) => registry.schema(id) });
      const release = feed.release.bind(feed);
      feed.release = async (topic, partition, offset) => {
        await release(topic, partition, offset);
        if (offset > (released.get(topic) ?? 0n)) released.set(topic, offset);
      };
      return feed;
    },
    expire: async () => {
      const below = [...released].map(([topic, offset]) => ({ topic, partition: 0, offset }));
      await deleteRecords(client, below);
    },
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await client.close();
    },
  };
};
