// Owns reading a topic by kafkajs, which is none of ours: committed records only, from the beginning.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';

/**
 * The values of partition 0 of each topic, once `counts` of them, and nothing more for a while, are there.
 */
export const readByKafkajs = async (
  brokers: readonly string[],
  topics: readonly string[],
  counts: readonly number[],
): Promise<string[][]> => {
  const kafka = new kafkajs.Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const consumer = kafka.consumer({ groupId: randomUUID(), readUncommitted: false, maxWaitTimeInMs: 100 });
  const found = topics.map((): string[] => []);
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ topic, message }) => {
        found[topics.indexOf(topic)]?.push(message.value?.toString() ?? '');
      },
    });
    while (found.some((values, at) => values.length < (counts[at] ?? 0))) await sleep(50);
    await sleep(500);
  } finally {
    await consumer.disconnect();
  }
  return found;
};
