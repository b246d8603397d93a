// Owns one Kafka transaction from begin to end, https://kafka.apache.org/protocol. Nothing is begun in an
// epoch whose last outcome is unknown: on any error the producer is begun anew, which aborts what is open.
// Knows no record, no state, and not who waits.
import { addPartitionsToTxnV3, endTxnV3 } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import { unknownOutcome } from './errors.ts';
import { viaNode } from './leaders.ts';
import { libraryCall } from './library-call.ts';
import type { Sequenced } from './produce.ts';
import type { KafkaProducer, Written } from './producer.ts';

/** A partition that was left alone because another one was refused. */
const NOT_ATTEMPTED = 55;

type Added = ReturnType<typeof addPartitionsToTxnV3.parseResponse>;

const refusedCode = ({ errorCode, resultsByTransaction }: Added): number => {
  const codes = resultsByTransaction.flatMap(({ topicResults }) =>
    topicResults.flatMap(({ resultsByPartition }) =>
      resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode),
    ),
  );
  return [errorCode, ...codes].find((code) => code !== 0 && code !== NOT_ATTEMPTED) ?? 0;
};

const transactionalId = (producer: KafkaProducer): string => {
  const { transactionalId: id } = producer.identity;
  if (id === null)
    throw new VarveError('internal', 'A producer without a transactional id has no transactions.');
  return id;
};

/** Says which partitions will be written, so that the end can reach them. */
const addPartitions = async (
  producer: KafkaProducer,
  client: KafkaClient,
  batches: readonly Sequenced[],
): Promise<void> => {
  const { id, epoch } = producer.identity;
  const topics = [...Map.groupBy(batches, ({ topic }) => topic)].map(([name, those]) => ({
    name,
    partitions: [...new Set(those.map(({ partition }) => partition))],
  }));
  const one = {
    transactionalId: transactionalId(producer),
    producerId: id,
    producerEpoch: epoch,
    verifyOnly: false,
    topics,
  };
  await producer.askCoordinator('add partitions to a transaction', async (node) => {
    const answer = await libraryCall(viaNode(client, node), addPartitionsToTxnV3, [[one]]);
    return { errorCode: refusedCode(answer) };
  });
};

/**
 * Asked once: whether it was heard is not known when no answer comes, and a second one could hit too late.
 */
const endTransaction = async (producer: KafkaProducer, client: KafkaClient): Promise<void> => {
  const { id, epoch } = producer.identity;
  const question: [string, bigint, number, boolean] = [transactionalId(producer), id, epoch, true];
  let unknown: unknown;
  await producer.askCoordinator('commit a transaction', (node) =>
    libraryCall(viaNode(client, node), endTxnV3, question).catch((thrown: unknown) => {
      if (!unknownOutcome(thrown)) throw thrown;
      unknown = thrown;
      return { errorCode: 0 };
    }),
  );
  if (unknown !== undefined) throw unknown;
};

/**
 * A writer whose transaction took too long is told the same as one that was taken over; `begin` tells which.
 */
const withoutProof = (thrown: unknown): unknown => {
  if (!(thrown instanceof VarveError) || thrown.kind !== 'fenced') return thrown;
  const sentence =
    'The brokers have ended the transaction: it took too long, or another instance has taken over. What ' +
    'became of it is read again.';
  return new VarveError('topic_busy', sentence, { facts: thrown.facts, cause: thrown });
};

type TransactionWork = {
  batches: readonly Sequenced[];
  /** When all is written; what it throws leaves the transaction open, and it becomes this one's error. */
  beforeEnd: () => Promise<void>;
};

/**
 * All batches or none, as a read_committed reader sees it. Resolves when the coordinator has taken the
 * commit; the partitions show it a little later. After an error nobody knows the outcome: `producer.begin` is
 * next, and it alone tells whether somebody else has taken over.
 */
export const commitTransaction = async (
  producer: KafkaProducer,
  client: KafkaClient,
  { batches, beforeEnd }: TransactionWork,
): Promise<Written[]> => {
  try {
    await addPartitions(producer, client, batches);
    const written = await producer.produce(batches);
    await beforeEnd();
    await endTransaction(producer, client);
    return written;
  } catch (thrown) {
    throw withoutProof(thrown);
  }
};
