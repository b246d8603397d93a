// Owns what the commands do with all topics of a pipeline in Kafka: look at their settings, take them away.
import type { Config } from '../config.ts';
import type { Finding } from '../connector.ts';
import { deleteTopics, describeTopic } from '../topic/kafka/admin.ts';
import type { KafkaClient } from '../topic/kafka/client.ts';
import { stateTopic } from '../topic/kafka/state-topic.ts';
import { verifySettings } from '../topic/kafka/topic-settings.ts';
import { ofKafka, openClient } from './kafka-client.ts';
import type { Removal } from './topic-kind.ts';

/** A broker's own topics are never a pipeline's. */
const ownTopics = async (client: KafkaClient, prefix: string): Promise<string[]> => {
  const state = stateTopic(prefix);
  const names = (await client.topics()).filter((name) => name.startsWith(`${prefix}.`));
  // Without a state nothing under the prefix is known to be ours.
  return names.includes(state) ? names : [];
};

const checkTopics = async (config: Config, client: KafkaClient): Promise<Finding[]> => {
  const { prefix } = ofKafka(config);
  const findings: Finding[] = [];
  for (const name of await ownTopics(client, prefix)) {
    const found = await describeTopic(client, name);
    const role = name === stateTopic(prefix) ? 'state' : 'table';
    if (found !== null) findings.push(...verifySettings(name, found, { role, batchBytes: 0 }));
  }
  const found = findings.length === 0 ? 'no setting of a topic is in the way' : 'its topics:';
  return [{ level: 'ok', what: `Kafka answers; ${found}`, fix: null }, ...findings];
};

export const checkKafka = async (config: Config): Promise<Finding[]> => {
  const client = await openClient(config);
  try {
    return await checkTopics(config, client);
  } finally {
    await client.close();
  }
};

export const planKafkaReset = async (config: Config): Promise<Removal> => {
  const { prefix } = ofKafka(config);
  const client = await openClient(config);
  const topics = await ownTopics(client, prefix).finally(() => client.close());
  const what = topics.length === 0 ? `no topic of ${prefix}` : topics.join(', ');
  const run = async (): Promise<void> => {
    const other = await openClient(config);
    await deleteTopics(other, topics).finally(() => other.close());
  };
  return { what, run };
};
