// Owns what Kafka's retention does in time, at once: the records below some offsets go. Varve never asks it.
import { deleteRecordsV2 } from '@platformatic/kafka';
import type { KafkaClient } from '../../src/topic/kafka/client.ts';
import { askLeaders, type TopicPartition, viaNode } from '../../src/topic/kafka/leaders.ts';
import { libraryCall } from '../../src/topic/kafka/library-call.ts';

const SETTLE_MS = 15_000;

/** The first retained offset of each partition, in order. */
export const deleteRecords = async (
  client: KafkaClient,
  below: readonly (TopicPartition & { offset: bigint })[],
): Promise<bigint[]> => {
  const offsets = new Map(below.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
  const answers = await askLeaders(client, below, {
    what: 'delete the records',
    ask: async (node, groups) => {
      const topics = groups.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((partitionIndex) => ({
          partitionIndex,
          offset: offsets.get(`${name}/${partitionIndex}`) ?? 0n,
        })),
      }));
      return (await libraryCall(viaNode(client, node), deleteRecordsV2, [topics, SETTLE_MS])).topics;
    },
  });
  return answers.map(({ lowWatermark }) => lowWatermark);
};
