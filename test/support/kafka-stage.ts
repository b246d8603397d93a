// Owns what a flow over Kafka needs beside its source: a broker and a registry, and the lines of the pipeline
// file that name them.
import { type SecureBroker, startKafka } from './kafka.ts';
import { startRegistry } from './schema-registry.ts';

type KafkaStage = {
  readonly kafka: SecureBroker;
  readonly registry: Awaited<ReturnType<typeof startRegistry>>;
  /** For `PipelineOptions.topic`; `more` is YAML of the `topic:` block, a line each. */
  topic(more?: readonly string[]): string;
  [Symbol.asyncDispose](): Promise<void>;
};

export const KAFKA_PARTITIONS = 3;

type Addresses = { readonly brokers?: readonly string[]; readonly registry: string };

export const kafkaTopic = ({ brokers = [], registry }: Addresses, more: readonly string[] = []): string =>
  [
    'kind: kafka',
    `brokers: ${JSON.stringify(brokers)}`,
    `registry: { url: "${registry}" }`,
    `partitions: ${KAFKA_PARTITIONS}`,
    ...more,
  ].join('\n');

export const startKafkaStage = async (): Promise<KafkaStage> => {
  const [kafka, registry] = await Promise.all([startKafka(), startRegistry()]);
  return {
    kafka,
    registry,
    topic: (more) => kafkaTopic({ brokers: kafka.brokers, registry: registry.url }, more),
    [Symbol.asyncDispose]: async () => {
      await kafka[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
};
