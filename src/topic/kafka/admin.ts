// Owns topics as things of the cluster: made, described, deleted, and where their partitions begin
// and end. Judges no setting and reads no record.
import { setTimeout as sleep } from 'node:timers/promises';
import { createTopicsV7, deleteTopicsV6, describeConfigsV4 } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import { actionOf, kafkaError } from './errors.ts';
import { askLeaders, type TopicPartition, viaNode } from './leaders.ts';
import { libraryCall } from './library-call.ts';
import { askEdges, type Edge } from './list-offsets.ts';

/** `replication` null: the cluster's default. */
type NewTopic = {
  partitions: number;
  replication: number | null;
  config: Readonly<Record<string, string>>;
};

/** `replication` of the partition that has least. `config`: what is in effect, defaults included. */
export type TopicDescription = {
  id: string;
  partitions: number;
  replication: number;
  config: ReadonlyMap<string, string>;
};

const SETTLE_MS = 15_000;
const PAUSE_MS = 50;
const [UNKNOWN_TOPIC, TOPIC_EXISTS] = [3, 36];
const TOPIC_RESOURCE = 2;

/** Again until `done`, which throws what does not pass by itself. */
const until = async (what: string, done: () => Promise<boolean>): Promise<void> => {
  const deadlineMs = performance.now() + SETTLE_MS;
  while (!(await done())) {
    if (performance.now() > deadlineMs) {
      throw new VarveError(
        'topic_busy',
        `The cluster did not ${what} within ${SETTLE_MS} ms. It is tried again.`,
      );
    }
    await sleep(PAUSE_MS);
  }
};

const said = (text: string | null | undefined): string =>
  text ? `; it says: ${text.replace(/\.?\s*$/, '')}` : '';

/**
 * Makes a topic and waits until it has leaders: true. False when there was one of that name, whatever its
 * settings. Throws `topic_unfit` for settings that the cluster does not take, `topic_denied`, `topic_busy`.
 */
export const createTopic = async (client: KafkaClient, name: string, wanted: NewTopic): Promise<boolean> => {
  const { partitions: numPartitions, replication, config } = wanted;
  const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }));
  const topic = { name, numPartitions, replicationFactor: replication ?? -1, assignments: [], configs };
  let isNew = false;
  await until(`create the topic ${name}`, async () => {
    const question: Parameters<typeof createTopicsV7.createRequest> = [[topic], SETTLE_MS, false];
    const [answer] = (await libraryCall(viaNode(client, await client.controller()), createTopicsV7, question))
      .topics;
    const { errorCode, errorMessage } = answer ?? { errorCode: -1, errorMessage: null };
    isNew = errorCode === 0;
    if (isNew || errorCode === TOPIC_EXISTS) return true;
    if (actionOf(errorCode) !== 'stop') return client.refresh([]).then(() => false);
    throw kafkaError(errorCode, `create the topic ${name}${said(errorMessage)}`, { topic: name });
  });
  await until(`spread the new topic ${name}`, async () => {
    await client.refresh([name]);
    return (await client.topic(name))?.partitions.every(({ leader }) => leader >= 0) ?? false;
  });
  return isNew;
};

/** As it is now, not as it was remembered. Null: there is none. */
export const describeTopic = async (client: KafkaClient, name: string): Promise<TopicDescription | null> => {
  await client.refresh([name]);
  const topic = await client.topic(name);
  if (!topic) return null;
  const resource = { resourceType: TOPIC_RESOURCE, resourceName: name, configurationKeys: null } as const;
  const question: Parameters<typeof describeConfigsV4.createRequest> = [[resource], false, false];
  const [result] = (await libraryCall(viaNode(client, 'any'), describeConfigsV4, question)).results;
  const { errorCode, errorMessage, configs } = result ?? { errorCode: -1, errorMessage: null, configs: [] };
  if (errorCode === UNKNOWN_TOPIC) return null;
  if (errorCode !== 0) {
    throw kafkaError(errorCode, `show the settings of the topic ${name}${said(errorMessage)}`, {
      topic: name,
    });
  }
  return {
    id: topic.id,
    partitions: topic.partitions.length,
    replication: Math.min(...topic.partitions.map(({ replicas }) => replicas)),
    config: new Map(
      configs.flatMap(({ name: key, value }) => (value == null ? [] : [[key, value] as const])),
    ),
  };
};

/** Deletes those that exist, and waits until they are gone. */
export const deleteTopics = async (client: KafkaClient, names: readonly string[]): Promise<void> => {
  const topics = names.map((name) => ({ name, topicId: null }));
  await until('delete topics', async () => {
    const node = await client.controller();
    const { responses } = await libraryCall(viaNode(client, node), deleteTopicsV6, [topics, SETTLE_MS]);
    const refused = responses.filter(({ errorCode }) => errorCode !== 0 && errorCode !== UNKNOWN_TOPIC);
    for (const { name, errorCode, errorMessage } of refused) {
      if (actionOf(errorCode) !== 'stop') continue;
      throw kafkaError(errorCode, `delete the topic ${name}${said(errorMessage)}`, { topic: name ?? '' });
    }
    if (refused.length > 0) await client.refresh([]);
    return refused.length === 0;
  });
  await until('forget deleted topics', async () => {
    await client.refresh(names);
    const left = await Promise.all(names.map((name) => client.topic(name)));
    return left.every((topic) => topic === null);
  });
};

/** One offset a partition, in the order given. */
export const listOffsets = async (
  client: KafkaClient,
  partitions: readonly TopicPartition[],
  edge: Edge,
): Promise<bigint[]> => {
  const answers = await askLeaders(client, partitions, {
    what: 'say the offsets',
    ask: (node, groups) => askEdges(client, { node, edge, groups }),
  });
  return answers.map(({ offset }) => offset);
};
