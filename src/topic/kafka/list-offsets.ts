// Owns asking where one partition starts and ends. Knows no retry.
import { listOffsetsV7, type Reader, type Writer } from '@platformatic/kafka';
import type { KafkaClient } from './client.ts';
import type { ApiCall } from './connections.ts';
import { kafkaError } from './errors.ts';
import { libraryCall } from './library-call.ts';
import type { Place } from './pinned-topic.ts';

/**
 * start: the oldest offset that is kept; end: behind the newest record that all replicas have, decided or
 * not; committed: below it all transactions are decided.
 */
export type Edge = 'start' | 'end' | 'committed';

type Asked = Place & { topic: string; partition: number; edge: Edge; timeoutMs: number };

const NO_REPLICA = -1;
/** As the protocol spells them. */
const TIMESTAMP = { start: -2n, end: -1n, committed: -1n } as const;

/** Throws the broker's refusal. */
export const askEdge = async (
  client: KafkaClient,
  { node, leaderEpoch, topic, partition, edge, timeoutMs }: Asked,
): Promise<bigint> => {
  const asked = { partitionIndex: partition, currentLeaderEpoch: leaderEpoch, timestamp: TIMESTAMP[edge] };
  const question: Parameters<typeof listOffsetsV7.createRequest> = [
    NO_REPLICA,
    edge === 'committed' ? 1 : 0,
    [{ name: topic, partitions: [asked] }],
  ];
  const ask = (api: ApiCall, write: (out: Writer) => void): Promise<Reader> =>
    client.request(node, { ...api, timeoutMs }, write);
  const answer = await libraryCall(ask, listOffsetsV7, question);
  const { errorCode: code = -1, offset = -1n } = answer.topics[0]?.partitions[0] ?? {};
  if (code === 0) return offset;
  throw kafkaError(code, `tell the ${edge} of partition ${partition} of ${topic}`, { topic, partition });
};
