// Killed before and after every durable effect there is, over Kafka: a stranger who reads the topics finds
// every committed change once, too.
import { test } from 'node:test';
import { crashPointSuite } from '../support/crash-points.ts';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { checkPublished } from '../support/kafka-whole.ts';
import { installTopicOracle } from '../support/topic-oracle.ts';

const { kafka, registry, topic, ...stage } = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());

crashPointSuite({
  install: installTopicOracle,
  options: () => ({ topic: topic() }),
  check: async ({ name, admin, since }) => {
    await checkPublished(admin, { brokers: kafka.brokers, registry: registry.url, prefix: name }, { since });
  },
});
