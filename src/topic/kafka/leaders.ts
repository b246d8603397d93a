// Owns questions that only the leader of a partition answers: many partitions, one request a broker, and
// again where a leader has moved meanwhile. Knows no question.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Reader, Writer } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import type { ApiCall } from './connections.ts';
import { kafkaError, mayRepeat } from './errors.ts';

export type TopicPartition = { topic: string; partition: number };

/** As every such request and answer is nested on the wire. */
export type PartitionGroup = { name: string; partitions: number[] };
type AnswerGroup<Answer> = { name: string; partitions: readonly Answer[] };
type PartitionAnswer = { partitionIndex: number; errorCode: number };

type LeaderQuestion<Answer> = {
  /** Completes "Kafka refused to ...". */
  what: string;
  /** One request to one broker, about the partitions that it leads. Asked twice, it must do no harm. */
  ask: (node: number, groups: PartitionGroup[]) => Promise<readonly AnswerGroup<Answer>[]>;
  withinMs?: number;
};

/** Where `libraryCall` sends its request. */
export const viaNode =
  (client: KafkaClient, node: number | 'any') =>
  (...request: [ApiCall, (out: Writer) => void]): Promise<Reader> =>
    client.request(node, ...request);

const WITHIN_MS = 10_000;
const PAUSE_MS = 50;
const [UNKNOWN_PARTITION, LEADER_NOT_AVAILABLE] = [3, 5];

/** A topic's name holds no slash. */
const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

const grouped = (partitions: readonly TopicPartition[]): PartitionGroup[] =>
  [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, those]) => ({
    name,
    partitions: those.map(({ partition }) => partition),
  }));

const refusal = (code: number, what: string, at: TopicPartition): VarveError => {
  const error = kafkaError(code, `${what} of ${nameOf(at)}`, { ...at });
  if (!mayRepeat(error)) throw error;
  return error;
};

/**
 * One answer a partition, in the order given. Throws the last refusal of a partition whose leader gave no
 * answer within the time, and at once what does not pass by itself.
 */
export const askLeaders = async <Answer extends PartitionAnswer>(
  client: KafkaClient,
  partitions: readonly TopicPartition[],
  { what, ask, withinMs = WITHIN_MS }: LeaderQuestion<Answer>,
): Promise<Answer[]> => {
  const deadlineMs = performance.now() + withinMs;
  const answers = new Map<string, Answer>();
  for (;;) {
    let last: VarveError | null = null;
    const led = new Map<number, TopicPartition[]>();
    for (const at of partitions) {
      if (answers.has(nameOf(at))) continue;
      const found = (await client.topic(at.topic))?.partitions[at.partition];
      if (found && found.leader >= 0) led.set(found.leader, [...(led.get(found.leader) ?? []), at]);
      else last = refusal(found ? LEADER_NOT_AVAILABLE : UNKNOWN_PARTITION, what, at);
    }
    const askOne = async ([node, those]: [number, TopicPartition[]]): Promise<void> => {
      const answered = await ask(node, grouped(those)).catch((thrown: unknown) => {
        if (!mayRepeat(thrown)) throw thrown;
        last = thrown;
        return [];
      });
      for (const { name: topic, partitions: items } of answered) {
        for (const item of items) {
          const at = { topic, partition: item.partitionIndex };
          if (item.errorCode === 0) answers.set(nameOf(at), item);
          else last = refusal(item.errorCode, what, at);
        }
      }
    };
    await Promise.all([...led].map(askOne));
    const found = partitions.flatMap((at) => answers.get(nameOf(at)) ?? []);
    if (found.length === partitions.length) return found;
    last ??= new VarveError('protocol_error', `A broker left out a partition when asked to ${what}.`);
    if (performance.now() > deadlineMs) throw last;
    await sleep(PAUSE_MS);
    await client.refresh([...new Set(partitions.map(({ topic }) => topic))]);
  }
};
