// Topics and transactions as things of the cluster, against real brokers; another client writes the records.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { suite, test } from 'node:test';
import kafkajs, { type Transaction } from 'kafkajs';
import { VarveError } from '../../../src/errors.ts';
import { createTopic, deleteTopics, describeTopic, listOffsets } from '../../../src/topic/kafka/admin.ts';
import { KafkaClient } from '../../../src/topic/kafka/client.ts';
import { type TopicRole, verifySettings } from '../../../src/topic/kafka/topic-settings.ts';
import {
  describeProducers,
  describeTransaction,
  writeTransactionMarkers,
} from '../../../src/topic/kafka/transaction-admin.ts';
import { deleteRecords } from '../../support/delete-records.ts';
import { type Broker, sharedKafka, startKafka } from '../../support/kafka.ts';
import { until } from '../../support/polling.ts';

const open = ({ brokers }: Broker): Promise<KafkaClient> =>
  KafkaClient.open({ brokers, clientId: 'varve-test' });

const makeTopic = async (client: KafkaClient, partitions = 1, config = {}): Promise<string> => {
  const name = `t-${randomUUID()}`;
  assert.equal(await createTopic(client, name, { partitions, replication: null, config }), true);
  return name;
};

const kafkaOf = ({ brokers }: Broker): kafkajs.Kafka =>
  new kafkajs.Kafka({ clientId: 'other', brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });

const produce = async (broker: Broker, topic: string, counts: readonly number[]): Promise<void> => {
  const producer = kafkaOf(broker).producer();
  await producer.connect();
  for (const [partition, count] of counts.entries()) {
    const messages = Array.from({ length: count }, (_, at) => ({ partition, value: `${at}` }));
    if (count > 0) await producer.send({ topic, messages });
  }
  await producer.disconnect();
};

type Writer = { transactionalId: string; transaction: Transaction; [Symbol.asyncDispose](): Promise<void> };

/** Two records in a transaction that nobody ends. */
const leaveOpen = async (broker: Broker, topic: string): Promise<Writer> => {
  const transactionalId = `x-${randomUUID()}`;
  const producer = kafkaOf(broker).producer({ transactionalId, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: [{ value: 'a' }, { value: 'b' }] });
  return { transactionalId, transaction, [Symbol.asyncDispose]: () => producer.disconnect() };
};

const refused = async (promise: Promise<unknown>, kind: string, says: RegExp): Promise<void> => {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof VarveError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, says);
    return true;
  });
};

suite('topics', () => {
  test('are made once, and the second maker is told', async () => {
    await using client = await open(await sharedKafka());
    const name = await makeTopic(client, 2);
    assert.equal(await createTopic(client, name, { partitions: 5, replication: null, config: {} }), false);
    assert.equal((await client.topic(name))?.partitions.length, 2);
    const racing = `t-${randomUUID()}`;
    const wanted = { partitions: 1, replication: null, config: {} };
    const made = await Promise.all([
      createTopic(client, racing, wanted),
      createTopic(client, racing, wanted),
    ]);
    assert.deepEqual(made.toSorted(), [false, true]);
  });

  test('what the cluster does not take is refused in its own words', async () => {
    await using client = await open(await sharedKafka());
    const make = (name: string, replication: number | null, config = {}): Promise<boolean> =>
      createTopic(client, name, { partitions: 1, replication, config });
    await refused(make('too-many-replicas', 3), 'topic_unfit', /INVALID_REPLICATION_FACTOR/);
    await refused(make('bad-setting', null, { 'cleanup.policy': 'burn' }), 'topic_unfit', /it says: .*burn/);
    await refused(make('bad name', null), 'topic_unfit', /INVALID_TOPIC_EXCEPTION/);
  });

  test('are described with the settings in effect, ours and the defaults', async () => {
    await using client = await open(await sharedKafka());
    assert.equal(await describeTopic(client, `t-${randomUUID()}`), null);
    const name = await makeTopic(client, 3, { 'cleanup.policy': 'compact' });
    const found = await describeTopic(client, name);
    assert.deepEqual([found?.partitions, found?.replication], [3, 1]);
    assert.equal(found?.config.get('cleanup.policy'), 'compact');
    assert.equal(found?.config.get('message.timestamp.type'), 'CreateTime');
  });

  test('what a real broker says of its defaults is judged', async () => {
    await using client = await open(await sharedKafka());
    const levels = async (role: TopicRole, config: Record<string, string>): Promise<string[]> => {
      const name = await makeTopic(client, 1, config);
      const found = await describeTopic(client, name);
      assert.ok(found);
      return verifySettings(name, found, { role, batchBytes: 1_048_576 }).map(({ level }) => level);
    };
    // One replica is all that one broker has.
    assert.deepEqual(await levels('table', {}), ['warning']);
    assert.deepEqual(await levels('state', { 'cleanup.policy': 'compact' }), ['warning']);
    assert.deepEqual(await levels('table', { 'cleanup.policy': 'compact' }), ['error', 'warning']);
    assert.deepEqual(await levels('state', {}), ['error', 'warning']);
    assert.deepEqual(await levels('table', { 'max.message.bytes': '1000' }), ['error', 'warning']);
  });

  test('a topic of the same name that was made again has another id', async () => {
    await using client = await open(await sharedKafka());
    const name = await makeTopic(client);
    const before = (await client.topic(name))?.id;
    await deleteTopics(client, [name, `t-${randomUUID()}`]);
    assert.equal(await client.topic(name), null);
    await createTopic(client, name, { partitions: 1, replication: null, config: {} });
    assert.notEqual((await client.topic(name))?.id, before);
  });
});

suite('offsets', () => {
  test('of many partitions come in the order asked, and records can be given up', async () => {
    const broker = await sharedKafka();
    await using client = await open(broker);
    const [one, two] = [await makeTopic(client, 3), await makeTopic(client)];
    await produce(broker, one, [3, 0, 5]);
    await produce(broker, two, [2]);
    const at = (topic: string, partition: number) => ({ topic, partition });
    const asked = [at(one, 2), at(two, 0), at(one, 0), at(one, 1)];
    assert.deepEqual(await listOffsets(client, asked, 'end'), [5n, 2n, 3n, 0n]);
    assert.deepEqual(await listOffsets(client, asked, 'committed'), [5n, 2n, 3n, 0n]);
    const given = [
      { ...at(one, 2), offset: 4n },
      { ...at(one, 0), offset: 1n },
    ];
    assert.deepEqual(await deleteRecords(client, given), [4n, 1n]);
    assert.deepEqual(await listOffsets(client, asked, 'start'), [4n, 0n, 1n, 0n]);
    await refused(
      deleteRecords(client, [{ ...at(one, 0), offset: 99n }]),
      'offset_lost',
      /OFFSET_OUT_OF_RANGE/,
    );
  });

  test('an open transaction is behind the committed end and before the end of the log', async () => {
    const broker = await sharedKafka();
    await using client = await open(broker);
    const topic = await makeTopic(client);
    await produce(broker, topic, [1]);
    await using writer = await leaveOpen(broker, topic);
    const asked = [{ topic, partition: 0 }];
    assert.deepEqual(await listOffsets(client, asked, 'committed'), [1n]);
    assert.deepEqual(await listOffsets(client, asked, 'end'), [3n]);
    await writer.transaction.commit();
  });

  test('are asked of the new leader when the old one is gone', async () => {
    await using cluster = await startKafka({ brokers: 3 });
    await using client = await open(cluster);
    const topic = await makeTopic(client, 3);
    await produce(cluster, topic, [1, 2, 3]);
    const asked = [0, 1, 2].map((partition) => ({ topic, partition }));
    assert.deepEqual(await listOffsets(client, asked, 'end'), [1n, 2n, 3n]);
    await cluster.kill(1);
    assert.deepEqual(await listOffsets(client, asked, 'end'), [1n, 2n, 3n]);
    const leaders = (await client.topic(topic))?.partitions.map(({ leader }) => leader) ?? [];
    assert.equal(leaders.length, 3);
    assert.ok(!leaders.includes(1), leaders.join());
  });
});

suite('transactions of others', () => {
  test('are seen from the partition, the list and the coordinator', async () => {
    const broker = await sharedKafka();
    await using client = await open(broker);
    const topic = await makeTopic(client, 2);
    await using writer = await leaveOpen(broker, topic);
    const { transactionalId } = writer;
    const found = await describeTransaction(client, transactionalId);
    assert.equal(found?.state, 'Ongoing');
    assert.ok(found.startedMs !== null && found.timeoutMs > 0);
    const [partition] = found.partitions;
    assert.ok(partition);
    const [producers] = await describeProducers(client, [partition]);
    assert.equal(producers?.length, 1);
    assert.deepEqual([producers[0]?.producerId, producers[0]?.openSince], [found.producerId, 0n]);
    await writer.transaction.commit();
    // The coordinator answers before its markers have arrived.
    await until(async () => (await describeProducers(client, [partition]))[0]?.[0]?.openSince === null);
    assert.equal(await describeTransaction(client, `x-${randomUUID()}`), null);
  });

  test('that hang are ended by a marker, and the committed end goes on', async () => {
    const broker = await sharedKafka();
    await using client = await open(broker);
    const topic = await makeTopic(client);
    await using _writer = await leaveOpen(broker, topic);
    const at = { topic, partition: 0 };
    const [[producer] = []] = await describeProducers(client, [at]);
    assert.ok(producer);
    const { producerId, producerEpoch, coordinatorEpoch } = producer;
    const marker = {
      producerId,
      producerEpoch,
      coordinatorEpoch: Math.max(0, coordinatorEpoch),
      commit: false,
    };
    await writeTransactionMarkers(client, marker, [at]);
    assert.equal((await describeProducers(client, [at]))[0]?.[0]?.openSince, null);
    // The two records and the marker.
    assert.deepEqual(await listOffsets(client, [at], 'committed'), [3n]);
  });
});
