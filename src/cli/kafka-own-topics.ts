// Owns what the commands do with all topics of a pipeline in Kafka: look at their settings, take them away.
import type { Config } from '../config.ts';
import type { Finding } from '../connector.ts';
import { VarveError } from '../errors.ts';
import { deleteTopics, describeTopic } from '../topic/kafka/admin.ts';
import type { KafkaClient } from '../topic/kafka/client.ts';
import { openKafkaFeed } from '../topic/kafka/feed.ts';
import { abortHanging } from '../topic/kafka/hanging.ts';
import { stateTopic } from '../topic/kafka/state-topic.ts';
import { verifySettings } from '../topic/kafka/topic-settings.ts';
import { ownNames } from '../topic/naming.ts';
import { ofKafka, openClient } from './kafka-client.ts';
import type { Removal } from './topic-kind.ts';

const noSchema = (): Promise<string> =>
  Promise.reject(new VarveError('internal', 'The state has no schema of its own.'));

/**
 * What the state says is this pipeline's, as far as it is there: a longer prefix may be another pipeline's.
 */
const ownTopics = async (client: KafkaClient, prefix: string): Promise<string[]> => {
  const there = await client.topics();
  if (!there.includes(stateTopic(prefix))) return [];
  const feed = await openKafkaFeed({ client, prefix, schema: noSchema });
  const state = await feed.state().finally(() => feed.close());
  const tables = [...state.keys()].flatMap((key) => /^(?:schema|parked)\/([^/]+)/.exec(key)?.[1] ?? []);
  const own = new Set([...ownNames(prefix), ...tables]);
  return there.filter((name) => own.has(name) || name.startsWith(`${prefix}.varve.parked.`)).sort();
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

/** As `TopicKind.abortHanging`. */
export const abortKafkaHanging = async (config: Config): Promise<readonly string[]> => {
  const { prefix } = ofKafka(config);
  const client = await openClient(config);
  try {
    const { aborted } = await abortHanging({ client, prefix, topics: await ownTopics(client, prefix) });
    return aborted.map(({ topic, partition }) => `${topic}/${partition}`);
  } finally {
    await client.close();
  }
};
