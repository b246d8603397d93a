// Owns what the cluster knows of producers and their transactions, and the marker that ends a transaction
// which nobody else will end. Decides nothing: who may be ended is for the caller.
import { describeProducersV0, describeTransactionsV0, type Reader, type Writer } from '@platformatic/kafka';
import type { KafkaClient } from './client.ts';
import { actionOf, kafkaError } from './errors.ts';
import { askLeaders, type PartitionGroup, type TopicPartition, viaNode } from './leaders.ts';
import { libraryCall } from './library-call.ts';

/** `openSince`: offset of the first record of its open transaction in this partition; null: none is open. */
export type ActiveProducer = {
  producerId: bigint;
  producerEpoch: number;
  coordinatorEpoch: number;
  lastTimestampMs: number;
  openSince: bigint | null;
};

/** `state` as Kafka writes it: Empty, Ongoing, PrepareCommit, CompleteAbort... */
type DescribedTransaction = {
  transactionalId: string;
  producerId: bigint;
  state: string;
  producerEpoch: number;
  timeoutMs: number;
  /** Milliseconds since 1970-01-01 UTC; null: none is under way. */
  startedMs: number | null;
  partitions: readonly TopicPartition[];
};

type TransactionMarker = {
  producerId: bigint;
  producerEpoch: number;
  coordinatorEpoch: number;
  commit: boolean;
};

const TRANSACTIONAL_ID_NOT_FOUND = 105;
const MARKERS = { key: 27, version: 1, flexible: true } as const;

/** Who writes to each partition, in the order given. */
export const describeProducers = async (
  client: KafkaClient,
  partitions: readonly TopicPartition[],
): Promise<ActiveProducer[][]> => {
  const answers = await askLeaders(client, partitions, {
    what: 'name the producers',
    ask: async (node, groups) => {
      const topics = groups.map(({ name, partitions: partitionIndexes }) => ({ name, partitionIndexes }));
      return (await libraryCall(viaNode(client, node), describeProducersV0, [topics])).topics;
    },
  });
  return answers.map(({ activeProducers }) =>
    activeProducers.map(
      ({ producerId, producerEpoch, coordinatorEpoch, lastTimestamp, currentTxnStartOffset }) => ({
        producerId,
        producerEpoch,
        coordinatorEpoch,
        lastTimestampMs: Number(lastTimestamp),
        openSince: currentTxnStartOffset < 0n ? null : currentTxnStartOffset,
      }),
    ),
  );
};

/** What the coordinator knows of this transactional id; null: nothing. */
export const describeTransaction = async (
  client: KafkaClient,
  transactionalId: string,
): Promise<DescribedTransaction | null> => {
  const node = await client.coordinator(transactionalId, 'transaction');
  const [found] = (await libraryCall(viaNode(client, node), describeTransactionsV0, [[transactionalId]]))
    .transactionStates;
  const code = found?.errorCode ?? -1;
  if (code === TRANSACTIONAL_ID_NOT_FOUND) return null;
  if (!found || code !== 0) {
    if (actionOf(code) === 'refresh') client.forgetCoordinator(transactionalId);
    throw kafkaError(code, `describe the transaction ${transactionalId}`, { transactionalId });
  }
  return {
    transactionalId,
    producerId: found.producerId,
    state: found.transactionState,
    producerEpoch: found.producerEpoch,
    timeoutMs: found.transactionTimeoutMs,
    startedMs: found.transactionStartTimeMs < 0n ? null : Number(found.transactionStartTimeMs),
    partitions: found.topics.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
  };
};

/** https://kafka.apache.org/protocol#The_Messages_WriteTxnMarkers */
const writeMarker = (out: Writer, marker: TransactionMarker, groups: PartitionGroup[]): void => {
  out
    .appendArray([marker], (w, { producerId, producerEpoch, coordinatorEpoch, commit }) =>
      w
        .appendInt64(producerId)
        .appendInt16(producerEpoch)
        .appendBoolean(commit)
        .appendArray(groups, (g, { name, partitions }) =>
          g.appendString(name).appendArray(partitions, (p, index) => p.appendInt32(index), true, false),
        )
        .appendInt32(coordinatorEpoch),
    )
    .appendTaggedFields();
};

type MarkerAnswer = { name: string; partitions: { partitionIndex: number; errorCode: number }[] };

const readMarkers = (body: Reader): MarkerAnswer[] =>
  body
    .readArray((r) => {
      r.readInt64();
      return r.readArray((t) => ({
        name: t.readString(),
        partitions: t.readArray((p) => ({ partitionIndex: p.readInt32(), errorCode: p.readInt16() })),
      }));
    })
    .flat();

/**
 * Ends this producer's open transaction on these partitions, past its coordinator. Needs the right to act as
 * the cluster does (CLUSTER_ACTION, or ALTER on the cluster).
 */
export const writeTransactionMarkers = async (
  client: KafkaClient,
  marker: TransactionMarker,
  partitions: readonly TopicPartition[],
): Promise<void> => {
  await askLeaders(client, partitions, {
    what: `${marker.commit ? 'commit' : 'abort'} a hanging transaction`,
    ask: async (node, groups) =>
      readMarkers(await client.request(node, MARKERS, (out) => writeMarker(out, marker, groups))),
  });
};
