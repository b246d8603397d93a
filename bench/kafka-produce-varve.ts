// Owns Varve's publisher as a contender of the producer bench: the built one, with a transaction for every
// write. Knows no other client.
import { listOffsets } from '../src/topic/kafka/admin.ts';
import { KafkaClient } from '../src/topic/kafka/client.ts';
import type { Publisher } from '../src/topic/publisher.ts';
import { stateOf, type TransactionPlan, type TransactionWriter, topicsOf } from './kafka-records.ts';
import { builtUrl } from './measure.ts';

/** State, the publisher's own record, the end of the transaction. */
const STATE_OFFSETS = 3n;
const TIMEOUT_MS = 60_000;

/** Of the built package, as people install it. */
const openPublisher = async (brokers: readonly string[], prefix: string): Promise<Publisher> => {
  const { openKafkaPublisher }: typeof import('../src/topic/kafka/publisher.ts') = await import(
    builtUrl('topic/kafka/publisher.js').href
  );
  const { KafkaClient: BuiltClient }: typeof import('../src/topic/kafka/client.ts') = await import(
    builtUrl('topic/kafka/client.js').href
  );
  return openKafkaPublisher({
    client: await BuiltClient.open({ brokers, clientId: 'bench' }),
    registry: { register: () => Promise.reject(new Error('These records have no schema.')) },
    prefix,
    delivery: 'exactly_once',
    replication: null,
    retentionMs: null,
    transactionTimeoutMs: TIMEOUT_MS,
    now: Date.now,
  });
};

/** What was asked for is checked in the end: writes that wait could share a transaction. */
export const openVarve = async (plan: TransactionPlan): Promise<TransactionWriter> => {
  const { brokers, prefix, recordsPerTransaction, records } = plan;
  const { topic, stateTopic } = topicsOf(prefix);
  const [{ Batches }, { sealRecords }, { COMPRESSIONS }]: [
    typeof import('../src/topic/batches.ts'),
    typeof import('../src/topic/record-batch.ts'),
    typeof import('../src/topic/compression.ts'),
  ] = await Promise.all([
    import(builtUrl('topic/batches.js').href),
    import(builtUrl('topic/record-batch.js').href),
    import(builtUrl('topic/compression.js').href),
  ]);
  const publisher = await openPublisher(brokers, prefix);
  await publisher.recover();
  const batches = new Batches((taken) => sealRecords(taken, COMPRESSIONS.zstd));
  const [builder] = batches.of(topic, await publisher.ensureTopic(topic, { partitions: 1 }));
  if (builder === undefined) throw new Error('A topic without partition.');
  const fill = (transaction: number): void => {
    const nowMs = Date.now();
    for (let at = 0; at < recordsPerTransaction; at++) {
      builder.beginRecord(nowMs);
      builder.beginKey();
      builder.writer.raw(records.keyAt(transaction * recordsPerTransaction + at));
      builder.endKey();
      builder.beginValue();
      builder.writer.raw(records.valueAt(transaction * recordsPerTransaction + at));
      builder.endValue();
      builder.endRecord();
    }
  };
  let handedOver: Promise<unknown> = Promise.resolve();
  return {
    window: 2,
    write: (transaction) => {
      fill(transaction);
      const state = [{ key: 'checkpoint', value: stateOf(transaction) }];
      // Packed in any order, handed over in this one.
      const written = Promise.all([batches.take(), handedOver]).then(([slices]) => ({
        done: publisher.write({ slices, state }),
      }));
      handedOver = written;
      return written.then(({ done }) => done);
    },
    close: async (count) => {
      await publisher.close();
      await using client = await KafkaClient.open({ brokers, clientId: 'bench' });
      const [end = 0n] = await listOffsets(client, [{ topic: stateTopic, partition: 0 }], 'committed');
      if (end !== STATE_OFFSETS * BigInt(count))
        throw new Error(`${end} state offsets: not ${count} writes.`);
    },
  };
};
