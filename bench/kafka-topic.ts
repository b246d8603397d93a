// Owns a pipeline's topics in Kafka for the benches: every repetition gets a prefix of its own, which begins
// with the state records that were kept. Knows no bench.
import { deleteTopics } from '../src/topic/kafka/admin.ts';
import { KafkaClient } from '../src/topic/kafka/client.ts';
import { openKafkaFeed } from '../src/topic/kafka/feed.ts';
import { openKafkaPublisher } from '../src/topic/kafka/publisher.ts';
import type { StateRecord } from '../src/topic/publisher.ts';
import { PIPELINE } from './database.ts';
import type { BenchTopic, TopicPlace } from './varve-pipeline.ts';

/** What `startKafka` and `startRegistry` gave. */
export type KafkaServices = { brokers: readonly string[]; registry: string };
type KafkaPlace = Extract<TopicPlace, { kind: 'kafka' }>;
type Delivery = KafkaPlace['delivery'];

const PARTITIONS = 6;
const TRANSACTION_TIMEOUT_MS = 60_000;
let prefixes = 0;

const openClient = (brokers: readonly string[]): Promise<KafkaClient> =>
  KafkaClient.open({ brokers, clientId: 'bench' });

const noSchemas = (): Promise<never> => Promise.reject(new Error('State records need no schema.'));

/** Space and caches are for the runs that come. */
export const dropTopics = async (brokers: readonly string[], prefix: string): Promise<void> => {
  await using client = await openClient(brokers);
  const names = (await client.topics()).filter((name) => name.startsWith(`${prefix}.`));
  await deleteTopics(client, names);
};

export class KafkaTopic implements BenchTopic {
  readonly #services: KafkaServices;
  readonly #delivery: Delivery;
  #kept: readonly StateRecord[];
  #prefix = '';

  constructor(
    services: KafkaServices,
    delivery: Delivery = 'exactly_once',
    kept: readonly StateRecord[] = [],
  ) {
    this.#services = services;
    this.#delivery = delivery;
    this.#kept = kept;
    this.#takePrefix();
  }

  /** Another one that begins with the same records. */
  alike(delivery: Delivery): KafkaTopic {
    return new KafkaTopic(this.#services, delivery, this.#kept);
  }

  place(): KafkaPlace {
    const { brokers, registry } = this.#services;
    return {
      kind: 'kafka',
      brokers,
      prefix: this.#prefix,
      registry: { url: registry },
      delivery: this.#delivery,
      partitions: PARTITIONS,
    };
  }

  async keep(): Promise<void> {
    await using client = await openClient(this.#services.brokers);
    const feed = await openKafkaFeed({ client, prefix: this.#prefix, schema: noSchemas });
    this.#kept = [...(await feed.state())].map(([key, value]) => ({ key, value }));
    await feed.close();
    // They name topics of the prefix, and go to another.
    const foreign = this.#kept.find(({ key }) => key.startsWith('schema/'));
    if (foreign) throw new Error(`${foreign.key}: a pipeline that has published rows cannot be put back.`);
  }

  async putBack(): Promise<void> {
    await dropTopics(this.#services.brokers, this.#prefix);
    this.#takePrefix();
    if (this.#kept.length === 0) return;
    await using client = await openClient(this.#services.brokers);
    const publisher = await openKafkaPublisher({
      client,
      registry: { register: noSchemas },
      prefix: this.#prefix,
      delivery: this.#delivery,
      replication: null,
      retentionMs: null,
      transactionTimeoutMs: TRANSACTION_TIMEOUT_MS,
      now: Date.now,
    });
    await publisher.recover();
    await publisher.write({ slices: [], state: this.#kept });
    await publisher.close();
  }

  #takePrefix(): void {
    this.#prefix = `${PIPELINE}-${++prefixes}`;
  }
}
