// Owns asking one broker where partitions start and end. Knows no retry and no leader.
import { listOffsetsV7 } from '@platformatic/kafka';
import type { KafkaClient } from './client.ts';
import { kafkaError } from './errors.ts';
import type { PartitionGroup } from './leaders.ts';
import { libraryCall } from './library-call.ts';
import type { Place } from './pinned-topic.ts';

/**
 * start: the oldest offset that is kept; end: behind the newest record that all replicas have, decided or
 * not; committed: below it all transactions are decided.
 */
export type Edge = 'start' | 'end' | 'committed';

const NO_REPLICA = -1;
/** As the protocol spells them. */
const TIMESTAMP = { start: -2n, end: -1n, committed: -1n } as const;
/** Written out, because the library's writer takes an absent number for 0, which a broker may fence. */
const ANY_EPOCH = -1;

type Asked = {
  node: number;
  edge: Edge;
  groups: readonly PartitionGroup[];
  /** Makes a broker refuse that is no longer the leader of that epoch. */
  leaderEpoch?: number;
  timeoutMs?: number;
};

type Answered = { name: string; partitions: { partitionIndex: number; errorCode: number; offset: bigint }[] };

/** The broker's answer for each partition, refusals included. */
export const askEdges = async (client: KafkaClient, asked: Asked): Promise<Answered[]> => {
  const { node, edge, groups, leaderEpoch = ANY_EPOCH, timeoutMs } = asked;
  const topics = groups.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map((partitionIndex) => ({
      partitionIndex,
      currentLeaderEpoch: leaderEpoch,
      timestamp: TIMESTAMP[edge],
    })),
  }));
  const isolation = edge === 'committed' ? 1 : 0;
  const limit = timeoutMs === undefined ? {} : { timeoutMs };
  const ask: Parameters<typeof libraryCall>[0] = (api, write) =>
    client.request(node, { ...api, ...limit }, write);
  return (await libraryCall(ask, listOffsetsV7, [NO_REPLICA, isolation, topics])).topics;
};

type AskedOne = Place & { topic: string; partition: number; edge: Edge; timeoutMs: number };

/** Throws the broker's refusal. */
export const askEdge = async (client: KafkaClient, asked: AskedOne): Promise<bigint> => {
  const { topic, partition, edge } = asked;
  const groups = [{ name: topic, partitions: [partition] }];
  const [answer] = await askEdges(client, { ...asked, groups });
  const { errorCode: code = -1, offset = -1n } = answer?.partitions[0] ?? {};
  if (code === 0) return offset;
  throw kafkaError(code, `tell the ${edge} of partition ${partition} of ${topic}`, { topic, partition });
};
