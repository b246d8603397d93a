// Owns Kafka as the commands use it. Loaded only for a file that says so, because the registry's client is
// large.
import type { Config } from '../config.ts';
import type { Graveyard } from '../topic/dead-letters.ts';
import { openKafkaFeed } from '../topic/kafka/feed.ts';
import { GroupMembership } from '../topic/kafka/group.ts';
import { type KafkaPublisherOptions, openKafkaPublisher } from '../topic/kafka/publisher.ts';
import type { Publisher } from '../topic/publisher.ts';
import type { JoinWorkers } from '../workers.ts';
import { HOUR_MS } from './command.ts';
import { ofKafka, openClient, openEnd } from './kafka-client.ts';
import { abortKafkaHanging, checkKafka, planKafkaReset } from './kafka-own-topics.ts';
import { checkClaims, openClaims } from './topic-claims.ts';
import type { TopicKind } from './topic-kind.ts';

type Delivery = KafkaPublisherOptions['delivery'];

const openPublisher = (config: Config, delivery: Delivery): Promise<Publisher> => {
  const topic = ofKafka(config);
  return openEnd(config, (client, registry) =>
    openKafkaPublisher({
      client,
      registry,
      prefix: topic.prefix,
      delivery,
      replication: topic.replication,
      retentionMs: topic.retention_hours === null ? null : topic.retention_hours * HOUR_MS,
      transactionTimeoutMs: topic.transaction_timeout_ms,
      patienceMs: Math.min(topic.request_timeout_ms, topic.transaction_timeout_ms / 2),
      now: Date.now,
    }),
  );
};

/** Without transactions nobody is fenced: every worker has its own, beside the one that captures. */
const openGraveyard = async (config: Config): Promise<Graveyard> => {
  const publisher = await openPublisher(config, 'at_least_once');
  return {
    ensureTopic: (name, settings) => publisher.ensureTopic(name, settings),
    write: async (write) => {
      await publisher.recover();
      await publisher.write(write);
    },
    close: () => publisher.close(),
  };
};

const joinWorkers =
  (config: Config): JoinWorkers =>
  async (topics, onStanding) => {
    const client = await openClient(config);
    const group = `${ofKafka(config).prefix}.varve.tables`;
    const membership = new GroupMembership({ client, group, topics, onStanding });
    const close = membership.close.bind(membership);
    membership.close = () => close().finally(() => client.close());
    return membership;
  };

export const kafkaTopic: TopicKind = {
  openPublisher: (config) => openPublisher(config, ofKafka(config).delivery),
  openGraveyard,
  openClaims: (config) => openClaims(ofKafka(config).claim_check),
  joinWorkers,
  openFeed: (config) =>
    openEnd(config, (client, registry) =>
      openKafkaFeed({ client, prefix: ofKafka(config).prefix, schema: (id) => registry.schema(id) }),
    ),
  findRunner: async () => undefined,
  check: async (config) => [
    ...(await checkKafka(config)),
    ...(await checkClaims(ofKafka(config).claim_check)),
  ],
  abortHanging: abortKafkaHanging,
  planReset: planKafkaReset,
};
