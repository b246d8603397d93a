// Killed before and after every durable effect there is, over Kafka: a stranger who reads the topics finds every
// committed change once, too.
import { test } from 'node:test';
import { crashPointSuite } from '../support/crash-points.ts';
import { KAFKA_PARTITIONS, startKafkaStage } from '../support/kafka-stage.ts';
import { checkTopics } from '../support/topic-check.ts';
import { AUDITED, installTopicOracle, readSource } from '../support/topic-oracle.ts';
import { readTopics } from '../support/topic-reader.ts';

const { kafka, registry, topic, ...stage } = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());

crashPointSuite({
  install: installTopicOracle,
  options: () => ({ topic: topic() }),
  check: async ({ name, admin, since }) => {
    const records = await readTopics({ brokers: kafka.brokers, registry: registry.url, prefix: name });
    const audited = records.filter(({ table }) => AUDITED.includes(table));
    checkTopics(await readSource(admin), audited, { since, partitions: KAFKA_PARTITIONS });
  },
});
