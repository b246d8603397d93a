// That the brokers of the tests do what tests ask of them: start, crash, freeze, elect, refuse. The client is
// kafkajs, which is none of ours.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { suite, test } from 'node:test';
import kafkajs, { type Kafka, type KafkaConfig, type SASLOptions } from 'kafkajs';
import { type SecureBroker, sharedKafka, startKafka } from './kafka.ts';
import type { KafkaSecurity } from './kafka-security.ts';
import { until } from './polling.ts';

const clientOf = (brokers: readonly string[], config: Partial<KafkaConfig> = {}): Kafka =>
  new kafkajs.Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 30 },
    ...config,
  });

const makeTopic = async (kafka: Kafka, replicationFactor = 1): Promise<string> => {
  const topic = `t-${randomUUID()}`;
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    topics: [{ topic, numPartitions: 1, replicationFactor }],
    waitForLeaders: true,
  });
  await admin.disconnect();
  return topic;
};

const produce = async (kafka: Kafka, topic: string, values: readonly string[]): Promise<void> => {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, acks: -1, messages: values.map((value) => ({ value })) });
  await producer.disconnect();
};

/** The values of the topic's first `count` records. */
const consume = async (kafka: Kafka, topic: string, count: number): Promise<string[]> => {
  const consumer = kafka.consumer({ groupId: randomUUID() });
  const values: string[] = [];
  const enough = Promise.withResolvers<void>();
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.push(String(message.value));
      if (values.length === count) enough.resolve();
    },
  });
  await enough.promise;
  await consumer.disconnect();
  return values;
};

suite('one plain broker', () => {
  test('takes records and gives them back', async () => {
    const kafka = clientOf((await sharedKafka()).brokers);
    const topic = await makeTopic(kafka);
    await produce(kafka, topic, ['a', 'b']);
    assert.deepEqual(await consume(kafka, topic, 2), ['a', 'b']);
  });

  test('is the same one for every test of a process', async () => {
    assert.equal(await sharedKafka(), await sharedKafka());
  });

  test('comes back on its port with what it acknowledged, after a kill and after a stop', async () => {
    await using broker = await startKafka();
    const kafka = clientOf(broker.brokers);
    const topic = await makeTopic(kafka);
    await produce(kafka, topic, ['before']);
    await broker.kill();
    assert.deepEqual(broker.pids(), []);
    await broker.restart();
    await produce(kafka, topic, ['after the kill']);
    await broker.stop();
    await broker.restart();
    assert.match(await broker.logTail(), /Kafka Server started/);
    await produce(kafka, topic, ['after the stop']);
    assert.deepEqual(await consume(kafka, topic, 3), ['before', 'after the kill', 'after the stop']);
  });

  test('answers nothing while it is frozen, and goes on afterwards', async () => {
    await using broker = await startKafka();
    const kafka = clientOf(broker.brokers);
    const topic = await makeTopic(kafka);
    broker.pause();
    const [pid] = broker.pids();
    assert.ok(pid !== undefined);
    const once = clientOf(broker.brokers, {
      requestTimeout: 300,
      connectionTimeout: 300,
      retry: { retries: 0 },
    });
    await assert.rejects(produce(once, topic, ['lost']));
    broker.resume();
    await produce(kafka, topic, ['kept']);
    assert.deepEqual((await consume(kafka, topic, 1)).slice(0, 1), ['kept']);
    assert.deepEqual(broker.pids(), [pid]);
  });

  test('two have different cluster ids, and settings of their own', async () => {
    await using broker = await startKafka({ settings: { 'num.partitions': '3' } });
    const ids: string[] = [];
    for (const { brokers } of [broker, await sharedKafka()]) {
      const admin = clientOf(brokers).admin();
      await admin.connect();
      ids.push((await admin.describeCluster()).clusterId);
      await admin.disconnect();
    }
    assert.notEqual(ids[0], ids[1]);
    const admin = clientOf(broker.brokers).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'three', numPartitions: -1 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: ['three'] });
    assert.equal(topics[0]?.partitions.length, 3);
    await admin.disconnect();
  });
});

test('a broker ends, frozen or not, when its test process is killed', async () => {
  const module = new URL('./kafka.ts', import.meta.url).href;
  const script = `const { startKafka } = await import('${module}');
    const broker = await startKafka();
    broker.pause();
    console.log(JSON.stringify(broker.pids()));
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [pid] = JSON.parse(line.toString()) as [number];
  process.kill(pid, 0);
  child.kill('SIGKILL');
  await until(async () => !existsSync(`/proc/${pid}`));
});

test('three brokers elect another leader when one is killed, and take it back', async () => {
  await using cluster = await startKafka({ brokers: 3 });
  const kafka = clientOf(cluster.brokers);
  const topic = await makeTopic(kafka, 3);
  const admin = kafka.admin();
  await admin.connect();
  const leader = async (): Promise<number> => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]?.partitions[0]?.leader ?? -1;
  };
  await produce(kafka, topic, ['first']);
  const before = await leader();
  await cluster.kill(before);
  await produce(kafka, topic, ['second']);
  assert.notEqual(await leader(), before);
  await cluster.restart(before);
  const { brokers } = await admin.describeCluster();
  assert.deepEqual(brokers.map(({ nodeId }) => nodeId).sort(), [1, 2, 3]);
  await admin.disconnect();
  assert.deepEqual(await consume(kafka, topic, 2), ['first', 'second']);
});

suite('secure brokers', () => {
  const sslOf = ({ tls }: SecureBroker): NonNullable<KafkaConfig['ssl']> => {
    assert.ok(tls);
    return { ca: [tls.ca], ...(tls.cert && tls.key ? { cert: tls.cert, key: tls.key } : {}) };
  };
  const saslOf = (
    { users: [user], token }: SecureBroker,
    mechanism: NonNullable<KafkaSecurity['sasl']>,
  ): SASLOptions =>
    mechanism === 'oauthbearer'
      ? { mechanism, oauthBearerProvider: async () => ({ value: token('varve') }) }
      : { mechanism, ...user };
  const never = { requestTimeout: 2000, connectionTimeout: 2000, retry: { retries: 0 } };

  for (const sasl of ['scram-sha-512', 'scram-sha-256', 'plain', 'oauthbearer'] as const) {
    test(`TLS and ${sasl}: lets its users in, and nobody else`, async () => {
      await using broker = await startKafka({ security: { tls: true, sasl } });
      const ssl = sslOf(broker);
      const kafka = clientOf(broker.brokers, { ssl, sasl: saslOf(broker, sasl) });
      const topic = await makeTopic(kafka);
      await produce(kafka, topic, ['secret']);
      assert.deepEqual(await consume(kafka, topic, 1), ['secret']);
      const wrong: SASLOptions =
        sasl === 'oauthbearer'
          ? { mechanism: sasl, oauthBearerProvider: async () => ({ value: broker.token('varve', -60) }) }
          : { mechanism: sasl, username: 'varve', password: 'wrong' };
      await assert.rejects(produce(clientOf(broker.brokers, { ...never, ssl, sasl: wrong }), topic, ['no']));
      await assert.rejects(produce(clientOf(broker.brokers, { ...never, ssl }), topic, ['no']));
      await assert.rejects(produce(clientOf(broker.brokers, never), topic, ['no']));
    });
  }

  test('mTLS: asks for a certificate of its authority, and ours is checked against it', async () => {
    await using broker = await startKafka({ security: { tls: true, mtls: true } });
    const kafka = clientOf(broker.brokers, { ssl: sslOf(broker) });
    const topic = await makeTopic(kafka);
    await produce(kafka, topic, ['mutual']);
    assert.deepEqual(await consume(kafka, topic, 1), ['mutual']);
    const ca = [broker.tls?.ca ?? ''];
    await assert.rejects(produce(clientOf(broker.brokers, { ...never, ssl: { ca } }), topic, ['no']));
    await assert.rejects(produce(clientOf(broker.brokers, { ...never, ssl: true }), topic, ['no']));
  });
});
