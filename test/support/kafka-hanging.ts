// Owns transactions that hang, made on purpose: written by the pipeline's own producer past its coordinator,
// as is left when brokers lose an end. Needs a broker that does not ask the coordinator about every write.
// Knows no repair.
import { setTimeout as sleep } from 'node:timers/promises';
import { listOffsets } from '../../src/topic/kafka/admin.ts';
import type { KafkaClient } from '../../src/topic/kafka/client.ts';
import { KafkaProducer } from '../../src/topic/kafka/producer.ts';
import {
  LAST_TRANSACTION,
  printPlaces,
  stateBatches,
  stateTopic,
  transactionalId,
} from '../../src/topic/kafka/state-topic.ts';
import { commitTransaction } from '../../src/topic/kafka/transaction.ts';
import { writeTransactionMarkers } from '../../src/topic/kafka/transaction-admin.ts';
import type { Slice } from '../../src/topic/publisher.ts';

/** Settings of a broker that lets writes pass of which the coordinator knows nothing. */
export const UNVERIFIED = { 'transaction.partition.verification.enable': 'false' };

type Left = {
  slices: readonly Slice[];
  checkpoint: string;
  /** Without its state: the writer came to its end before. */
  isPartial?: boolean;
  /** Where its end has arrived all the same. */
  ended?: { topics: readonly string[]; commit: boolean };
  /** A whole one of the same writer, before it. */
  before?: readonly Slice[];
};

const sleepUntil = async (isSo: () => Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await sleep(20);
};

/** Takes the prefix over and leaves this behind, of which the coordinator never hears. */
export const leaveHanging = async (
  client: KafkaClient,
  prefix: string,
  { slices, checkpoint, isPartial = false, ended, before }: Left,
): Promise<void> => {
  const producer = new KafkaProducer({
    client,
    transactionalId: transactionalId(prefix),
    transactionTimeoutMs: 60_000,
    patienceMs: 10_000,
    closing: new AbortController().signal,
  });
  await producer.begin();
  const withState = (data: readonly Slice[], n: number) => {
    const batches = producer.sequence(data);
    const state = [
      { key: 'checkpoint', value: checkpoint },
      { key: LAST_TRANSACTION, value: printPlaces(n, batches) },
    ];
    const place = { topic: stateTopic(prefix), partition: 0 };
    return [...batches, ...producer.sequence(stateBatches(state, 0).map((one) => ({ ...place, ...one })))];
  };
  if (before)
    await commitTransaction(producer, client, {
      batches: withState(before, 1),
      beforeEnd: async () => undefined,
    });
  if (before)
    await sleepUntil(async () => {
      const at = [{ topic: stateTopic(prefix), partition: 0 }];
      const [end] = await listOffsets(client, at, 'end');
      return (await listOffsets(client, at, 'committed'))[0] === end;
    });
  await producer.produce(isPartial ? producer.sequence(slices) : withState(slices, 2));
  if (!ended) return;
  const { id: producerId, epoch: producerEpoch } = producer.identity;
  const marker = { producerId, producerEpoch, coordinatorEpoch: 0, commit: ended.commit };
  await writeTransactionMarkers(
    client,
    marker,
    ended.topics.map((topic) => ({ topic, partition: 0 })),
  );
};
