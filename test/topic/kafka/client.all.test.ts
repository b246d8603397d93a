// The client against real brokers: what it knows of the cluster, the order of requests, and what is left of
// it after brokers hang, die, move and come back.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { suite, test } from 'node:test';
import { fetchV12, type Reader } from '@platformatic/kafka';
import { VarveError } from '../../../src/errors.ts';
import { createTopic } from '../../../src/topic/kafka/admin.ts';
import { KafkaClient, type KafkaSettings } from '../../../src/topic/kafka/client.ts';
import { unknownOutcome } from '../../../src/topic/kafka/errors.ts';
import { type Broker, sharedKafka, startKafka } from '../../support/kafka.ts';
import { until } from '../../support/polling.ts';

const VERSIONS = { key: 18, version: 0, flexible: false } as const;
const nothing = (): void => undefined;

const open = (
  { brokers }: Pick<Broker, 'brokers'>,
  more: Partial<KafkaSettings> = {},
): Promise<KafkaClient> => KafkaClient.open({ brokers, clientId: 'varve-test', ...more });

const failure = async (promise: Promise<unknown>): Promise<VarveError> => {
  const thrown = await promise.then(
    () => assert.fail('it resolved'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof VarveError, String(thrown));
  return thrown;
};

suite('one plain broker', () => {
  test('knows the cluster: brokers, controller, versions, features', async () => {
    await using client = await open(await sharedKafka());
    assert.deepEqual(client.nodes(), [1]);
    assert.equal(await client.controller(), 1);
    assert.equal(await client.feature('transaction.version'), 2);
    assert.equal(await client.feature('no.such.feature'), 0);
    const produce = await client.supports(1, 0);
    assert.ok(produce.min <= 11 && produce.max >= 12, JSON.stringify(produce));
    assert.deepEqual(await client.supports('any', 9999), { min: 0, max: -1 });
  });

  test('a topic is null until it exists, then has an id, leaders and partitions', async () => {
    await using client = await open(await sharedKafka());
    const name = `t-${randomUUID()}`;
    assert.equal(await client.topic(name), null);
    await createTopic(client, name, { partitions: 3, replication: null, config: {} });
    const topic = await client.topic(name);
    assert.match(topic?.id ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.deepEqual(
      topic?.partitions.map(({ leader, replicas, inSync }) => [leader, replicas, inSync]),
      Array.from({ length: 3 }, () => [1, 1, 1]),
    );
    assert.ok((await client.topics()).includes(name));
  });

  test('a coordinator is found while the cluster still makes its own topic for it', async () => {
    await using broker = await startKafka();
    await using client = await open(broker);
    assert.equal(await client.coordinator('a', 'transaction'), 1);
    assert.equal(await client.coordinator('a', 'group'), 1);
    client.forgetCoordinator('a');
    assert.equal(await client.coordinator('a', 'transaction'), 1);
  });

  test('requests go out in the order of the calls, from the first one on', async () => {
    await using client = await open(await sharedKafka());
    client.drop();
    const arrived: number[] = [];
    const ask = (at: number): Promise<Reader> =>
      client.request(1, VERSIONS, nothing).then((answer) => {
        arrived.push(at);
        return answer;
      });
    const answers = await Promise.all(Array.from({ length: 500 }, (_, at) => ask(at)));
    assert.deepEqual(arrived, [...arrived.keys()]);
    // Read after all others have come: an answer keeps its bytes.
    for (const answer of answers) assert.equal(answer.readInt16(), 0);
  });

  test('what the writer of a request throws reaches the caller, and nobody else', async () => {
    await using client = await open(await sharedKafka());
    const bad = client.request(1, VERSIONS, () => {
      throw new RangeError('bad request');
    });
    const good = client.request(1, VERSIONS, nothing);
    await assert.rejects(bad, /bad request/);
    assert.equal((await good).readInt16(), 0);
  });

  test('a cut connection leaves unknown outcomes, and the next request makes a new one', async () => {
    await using client = await open(await sharedKafka());
    await client.supports(1, 0);
    const asked = failure(client.request(1, VERSIONS, nothing));
    client.drop(1);
    assert.equal(unknownOutcome(await asked), true);
    assert.equal((await client.request(1, VERSIONS, nothing)).readInt16(), 0);
  });

  test('a broker that nobody knows is an error without effect', async () => {
    await using client = await open(await sharedKafka());
    const error = await failure(client.request(77, VERSIONS, nothing));
    assert.equal(error.kind, 'topic_unreachable');
    assert.equal(unknownOutcome(error), false);
  });

  test('after closing nothing is sent', async () => {
    const client = await open(await sharedKafka());
    await client.close();
    assert.match((await failure(client.request(1, VERSIONS, nothing))).message, /closed by this process/);
    assert.match((await failure(client.topics())).message, /closed by this process/);
  });
});

test('a question that waits at the broker holds up its own lane only', async () => {
  await using client = await open(await sharedKafka());
  const name = `t-${randomUUID()}`;
  await createTopic(client, name, { partitions: 1, replication: null, config: {} });
  const arrived: string[] = [];
  const { key, version } = fetchV12.api;
  const partition = { partition: 0, currentLeaderEpoch: -1, fetchOffset: 0n, lastFetchedEpoch: -1 };
  const topics = [{ topicId: name, partitions: [{ ...partition, partitionMaxBytes: 1000 }] }];
  const waiting = client.request(1, { key, version, flexible: true, lane: 'poll' }, (out) => {
    out.appendFrom(fetchV12.createRequest(1000, 1, 1000, 0, 0, -1, topics, [], ''));
  });
  const waited = waiting.then(() => arrived.push('waiting'));
  await client.supports(1, key);
  await client.request(1, VERSIONS, nothing).then(() => arrived.push('other lane'));
  await waited;
  assert.deepEqual(arrived, ['other lane', 'waiting']);
});

suite('settings', () => {
  test('brokers that cannot be', async () => {
    for (const brokers of [[], ['http://host:9092'], ['user:secret@host:9092'], ['host:port']]) {
      const error = await failure(open({ brokers }));
      assert.equal(error.kind, 'config_invalid');
      assert.doesNotMatch(error.message, /secret/);
    }
  });

  test('nobody answers: each address is named', async () => {
    const error = await failure(open({ brokers: ['127.0.0.1:1', '127.0.0.1:2'] }));
    assert.equal(error.kind, 'topic_unreachable');
    assert.match(error.message, /127\.0\.0\.1:1 .*ECONNREFUSED.*127\.0\.0\.1:2 /);
  });

  test('the first address that answers is enough', async () => {
    const { brokers } = await sharedKafka();
    await using client = await open({ brokers: ['127.0.0.1:1', ...brokers] });
    assert.deepEqual(client.nodes(), [1]);
  });
});

suite('faults', () => {
  test('a broker that hangs costs its time limit, and is reached again when it goes on', async () => {
    await using broker = await startKafka();
    await using client = await open(broker, { requestTimeoutMs: 1500 });
    await client.supports(1, 0);
    broker.pause();
    const short = failure(client.request(1, { ...VERSIONS, timeoutMs: 300 }, nothing));
    const behind = failure(client.request(1, VERSIONS, nothing));
    assert.match((await short).message, /did not answer within 300 ms/);
    assert.equal(unknownOutcome(await short), true);
    assert.equal(unknownOutcome(await behind), true);
    const unconnected = await failure(client.request(1, { ...VERSIONS, timeoutMs: 300 }, nothing));
    assert.equal(unknownOutcome(unconnected), false);
    broker.resume();
    assert.equal((await client.request(1, VERSIONS, nothing)).readInt16(), 0);
  });

  test('a broker that dies and comes back is reached by the same client', async () => {
    await using broker = await startKafka();
    await using client = await open(broker);
    await client.supports(1, 0);
    await broker.kill();
    assert.equal((await failure(client.topics())).kind, 'topic_unreachable');
    assert.equal((await failure(client.request(1, VERSIONS, nothing))).kind, 'topic_unreachable');
    await broker.restart();
    assert.equal((await client.request(1, VERSIONS, nothing)).readInt16(), 0);
  });

  test('an announced address that cannot be reached is named beside the one that can', async () => {
    const announced = 'CLIENT://127.0.0.1:1,INTERNAL://127.0.0.1:2';
    await using broker = await startKafka({ settings: { 'advertised.listeners': announced } });
    await using client = await open(broker);
    const { message } = await failure(client.request(1, VERSIONS, nothing));
    assert.match(message, /announces itself as 127\.0\.0\.1:1 \(advertised\.listeners\)/);
    assert.ok(message.includes(broker.brokers[0] ?? ''), message);
  });

  test('a broker of three that hangs does not hold up what others can answer', async () => {
    await using cluster = await startKafka({ brokers: 3 });
    await using client = await open(cluster, { requestTimeoutMs: 2000 });
    assert.deepEqual([...client.nodes()].sort(), [1, 2, 3]);
    // The one that was asked first, over the connection that is open.
    cluster.pause(1);
    assert.ok(Array.isArray(await client.topics()));
    // Nobody has asked for one before, so its topic is made first, by brokers of which one hangs.
    await until(async () => {
      const found = await client.coordinator('x', 'transaction').catch((thrown: unknown) => thrown);
      if (found instanceof VarveError && found.kind === 'topic_busy') return false;
      assert.ok(Number(found) > 0, String(found));
      return true;
    });
    cluster.resume();
  });

  test('when a leader dies its successor is found, and coordinators move', async () => {
    await using cluster = await startKafka({ brokers: 3 });
    await using client = await open(cluster);
    const name = `t-${randomUUID()}`;
    await createTopic(client, name, { partitions: 1, replication: 3, config: {} });
    const leaderOf = async (): Promise<number> => (await client.topic(name))?.partitions[0]?.leader ?? -1;
    const [leader, coordinator] = [await leaderOf(), await client.coordinator(name, 'transaction')];
    await client.supports(leader, 0);
    await cluster.kill(leader);
    await failure(client.request(leader, VERSIONS, nothing));
    await until(async () => {
      await client.refresh([name]);
      return ![leader, -1].includes(await leaderOf());
    });
    assert.equal((await client.request(await leaderOf(), VERSIONS, nothing)).readInt16(), 0);
    if (coordinator !== leader) return;
    await until(async () => {
      client.forgetCoordinator(name);
      return (await client.coordinator(name, 'transaction')) !== leader;
    });
  });
});
