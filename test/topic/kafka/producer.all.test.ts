// That the producer gets each batch into its partition once and in order, on a real broker: across the wrap
// of the sequence, with many batches under way, and when answers are lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTopic, deleteTopics } from '../../../src/topic/kafka/admin.ts';
import { nextSequence, type Sequenced } from '../../../src/topic/kafka/produce.ts';
import { KafkaProducer } from '../../../src/topic/kafka/producer.ts';
import { commitTransaction } from '../../../src/topic/kafka/transaction.ts';
import { type KafkaBench, kafkaBench } from '../../support/kafka-bench.ts';
import { API, type Cut, cutLine } from '../../support/kafka-cut.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

const producerOf = ({ client }: KafkaBench, transactionalId: string | null): KafkaProducer =>
  new KafkaProducer({
    client,
    transactionalId,
    transactionTimeoutMs: 10_000,
    patienceMs: 5000,
    closing: new AbortController().signal,
  });

const makeTopic = async ({ client, topic }: KafkaBench): Promise<string> => {
  const config = { 'cleanup.policy': 'delete' };
  await createTopic(client, topic('a'), { partitions: 1, replication: null, config });
  return topic('a');
};

const valuesOf = async (bench: KafkaBench): Promise<string[]> => {
  await (await bench.peek()).close();
  const feed = await bench.openFeed();
  const values = await readValues(feed, bench.topic('a'));
  await feed.close();
  return values;
};

const numbered = (count: number): string[] => Array.from({ length: count }, (_, at) => `${at}`);

/** From `first` on; the third and last of these begins behind the wrap. */
const aroundTheWrap = (topic: string, first: number): Sequenced[] => {
  let sequence = first;
  return [['0', '1'], ['2', '3', '4'], ['5', '6'], ['7']].map((values) => {
    const slice = { ...sliceOf(topic, values), sequence };
    sequence = nextSequence(sequence, values.length);
    return slice;
  });
};

for (const transactional of [false, true]) {
  test(`a broker takes the sequence across its wrap, ${transactional ? 'in' : 'without'} transactions`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await kafkaBench();
    const topic = await makeTopic(bench);
    const producer = producerOf(bench, transactional ? bench.topic('id') : null);
    await producer.begin();
    // A producer that the partition does not know may begin anywhere.
    const [before, across, behind, last] = aroundTheWrap(topic, 2 ** 31 - 3) as [
      Sequenced,
      Sequenced,
      Sequenced,
      Sequenced,
    ];
    assert.deepEqual([before.sequence, across.sequence, behind.sequence], [2 ** 31 - 3, 2 ** 31 - 1, 2]);
    const put = async (batches: Sequenced[]): Promise<void> => {
      if (!transactional) await producer.produce(batches);
      else await commitTransaction(producer, bench.client, { batches, beforeEnd: async () => undefined });
    };
    await put([before, across]);
    await put([behind]);
    // The same again is recognised, a gap is not taken.
    if (!transactional) await put([across]);
    await assert.rejects(put([{ ...last, sequence: last.sequence + 1 }]), /OUT_OF_ORDER_SEQUENCE_NUMBER/);
    assert.deepEqual(await valuesOf(bench), numbered(7));
  });
}

test('answers that get lost leave each batch there once, in order, with five under way', {
  timeout: 60_000,
}, async () => {
  for (const cut of ['unsent', 'under_way', 'answered'] satisfies Cut[]) {
    await using bench = await kafkaBench();
    const topic = await makeTopic(bench);
    const producer = producerOf(bench, null);
    await producer.begin();
    const cutter = cutLine(bench.client);
    let requests = 0;
    cutter.plan = (key) => (key === API.produce && ++requests % 4 === 0 ? cut : null);
    const batches = producer.sequence(numbered(40).map((value) => sliceOf(topic, [value])));
    const written = await producer.produce(batches);
    assert.ok(cutter.cuts > 2, `${cutter.cuts} cuts`);
    assert.deepEqual(
      written.map(({ offset }) => Number(offset)),
      numbered(40).map(Number),
    );
    assert.deepEqual(await valuesOf(bench), numbered(40));
  }
});

test('a topic that is deleted and made again under its name is refused', { timeout: 60_000 }, async () => {
  await using bench = await kafkaBench();
  const topic = await makeTopic(bench);
  const producer = producerOf(bench, null);
  await producer.begin();
  await producer.produce(producer.sequence([sliceOf(topic, ['1'])]));
  await deleteTopics(bench.client, [topic]);
  await makeTopic(bench);
  await assert.rejects(producer.produce(producer.sequence([sliceOf(topic, ['2'])])), {
    kind: 'topic_changed',
  });
});
