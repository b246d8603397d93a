// That a writer whose epochs are used up, after some 32,000 recoveries, goes on under another producer id.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTopic } from '../../../src/topic/kafka/admin.ts';
import { KafkaProducer } from '../../../src/topic/kafka/producer.ts';
import { commitTransaction } from '../../../src/topic/kafka/transaction.ts';
import { sharedKafka } from '../../support/kafka.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { readByKafkajs } from '../../support/kafka-reader.ts';
import { sliceOf } from '../../support/topic-records.ts';

const EPOCHS = 2 ** 15;

test('the epochs of a producer id run out', { timeout: 3_600_000 }, async (context) => {
  await using bench = await kafkaBench();
  const topic = bench.topic('a');
  const config = { 'cleanup.policy': 'delete' };
  await createTopic(bench.client, topic, { partitions: 1, replication: null, config });
  const producer = new KafkaProducer({
    client: bench.client,
    transactionalId: bench.topic('id'),
    transactionTimeoutMs: 10_000,
    patienceMs: 5000,
    closing: new AbortController().signal,
  });
  const commit = (value: string): Promise<unknown> =>
    commitTransaction(producer, bench.client, {
      batches: producer.sequence([sliceOf(topic, [value])]),
      beforeEnd: async () => undefined,
    });
  await producer.begin();
  const { id: first } = producer.identity;
  await commit('first');
  let begun = 1;
  while (producer.identity.id === first) {
    await producer.begin();
    begun++;
    assert.ok(begun <= EPOCHS, `${begun} epochs of one id`);
  }
  context.diagnostic(`${begun} epochs; id ${first} became ${producer.identity.id}`);
  await commit('second');
  const { brokers } = await sharedKafka();
  assert.deepEqual(await readByKafkajs(brokers, [topic], [2]), [['first', 'second']]);
});
