// Owns topics and records of a real broker for tests of what reads them, by kafkajs, which is none of ours:
// transactions included. Knows nothing of Varve but how a state record's value is written.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin, type Kafka, type Producer } from 'kafkajs';
import { crc32c } from '../../src/topic/crc32c.ts';
import type { Broker } from './kafka.ts';

export type KafkaWriter = {
  /** Fresh for each writer, so that tests can share a broker. */
  readonly prefix: string;
  readonly admin: Admin;
  /** `name` gets the prefix in front. */
  makeTopic(name: string, settings?: TopicMaking): Promise<string>;
  /** As retention would, in partition 0. */
  deleteBelow(topic: string, offset: number): Promise<void>;
  /** Not transactional; each once, through restarts of the broker. */
  send(topic: string, values: readonly string[], partition?: number): Promise<void>;
  /** As it is, whatever it means. */
  sendRaw(topic: string, key: string, value: string): Promise<void>;
  /** One transaction that is decided before it resolves; state records go with it. */
  transact(sends: readonly Sending[], decision: 'commit' | 'abort'): Promise<void>;
  /** One transaction that stays open until it is decided; its records are in the log. */
  open(sends: readonly Sending[]): Promise<OpenTransaction>;
  [Symbol.asyncDispose](): Promise<void>;
};

type OpenTransaction = { commit(): Promise<void>; abort(): Promise<void> };
type TopicMaking = {
  partitions?: number;
  replicas?: number;
  settings?: Readonly<Record<string, string>>;
  /** The nodes of the only partition, the preferred leader first; instead of the two numbers. */
  nodes?: number[];
};
/** `values` of a state topic are `key=text`, and `key=` deletes. */
type Sending = { topic: string; values: readonly string[]; partition?: number };

const messageOf = (topic: string, value: string) => {
  if (!topic.endsWith('.varve.state')) return { value };
  const [key = '', text = ''] = value.split('=');
  const sum = crc32c(new TextEncoder().encode(`${key}\n${text}`));
  return { key, value: text === '' ? null : `${sum.toString(16).padStart(8, '0')}:${text}` };
};

type Transactional = { readonly id: string; readonly producer: Producer };

/** For leaders and coordinators to be elsewhere. */
const MOVING_MS = 30_000;

/** Connects producers, as many as there are transactions at the same time. */
class Producers {
  readonly #kafka: Kafka;
  readonly #made: Producer[] = [];
  readonly #free: Transactional[] = [];

  constructor(kafka: Kafka) {
    this.#kafka = kafka;
  }

  async make(transactionalId?: string): Promise<Producer> {
    const id = transactionalId === undefined ? {} : { transactionalId };
    const producer = this.#kafka.producer({ ...id, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    this.#made.push(producer);
    return producer;
  }

  async open(sends: readonly Sending[]): Promise<OpenTransaction> {
    const until = performance.now() + MOVING_MS;
    const free = this.#free.pop();
    const id = free?.id ?? randomUUID();
    for (let one = free; ; one = undefined) {
      try {
        return await this.#begin(one ?? { id, producer: await this.make(id) }, sends);
      } catch (thrown) {
        // The library does not try again where a broker is gone, nor where a producer of that id connects.
        // Nothing was decided, so nothing is there twice: the next one ends what this one has begun.
        if (!(thrown instanceof kafkajs.KafkaJSConnectionError) || performance.now() > until) throw thrown;
        await sleep(100);
      }
    }
  }

  async #begin(one: Transactional, sends: readonly Sending[]): Promise<OpenTransaction> {
    const transaction = await one.producer.transaction();
    for (const { topic, values, partition = 0 } of sends) {
      const messages = values.map((value) => ({ ...messageOf(topic, value), partition }));
      await transaction.send({ topic, acks: -1, messages });
    }
    const decide = (end: () => Promise<void>) => async (): Promise<void> => {
      await end();
      this.#free.push(one);
    };
    return {
      commit: decide(() => transaction.commit()),
      abort: decide(() => transaction.abort()),
    };
  }

  async close(): Promise<void> {
    for (const producer of this.#made) await producer.disconnect();
  }
}

const topicMaker =
  (admin: Admin, prefix: string): KafkaWriter['makeTopic'] =>
  async (name, { partitions = 1, replicas = 1, settings = {}, nodes } = {}) => {
    const topic = `${prefix}.${name}`;
    const configEntries = Object.entries(settings).map(([key, value]) => ({ name: key, value }));
    const spread = nodes
      ? { replicaAssignment: [{ partition: 0, replicas: nodes }] }
      : { numPartitions: partitions, replicationFactor: replicas };
    await admin.createTopics({ topics: [{ topic, ...spread, configEntries }], waitForLeaders: false });
    while (!(await hasLeaders(admin, topic))) await sleep(50);
    return topic;
  };

/** Of two questions in a row, because the brokers hear of a topic one after the other. */
const hasLeaders = async (admin: Admin, topic: string): Promise<boolean> => {
  for (let question = 0; question < 2; question++) {
    const known = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => null);
    if (!known?.topics[0]?.partitions.every(({ leader }) => leader >= 0)) return false;
  }
  return true;
};

export const openKafkaWriter = async ({ brokers }: Broker): Promise<KafkaWriter> => {
  const kafka: Kafka = new kafkajs.Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
  });
  const admin = kafka.admin();
  await admin.connect();
  const producers = new Producers(kafka);
  const plain = await producers.make();
  const prefix = `t${randomUUID().slice(0, 8)}`;
  return {
    prefix,
    admin,
    makeTopic: topicMaker(admin, prefix),
    deleteBelow: async (topic, offset) => {
      // Makes the library know the topic, which its deletion does not.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] });
    },
    send: async (topic, values, partition = 0) => {
      const messages = values.map((value) => ({ ...messageOf(topic, value), partition }));
      await plain.send({ topic, acks: -1, messages });
    },
    sendRaw: async (topic, key, value) => {
      await plain.send({ topic, acks: -1, messages: [{ key, value }] });
    },
    open: (sends) => producers.open(sends),
    transact: async (sends, decision) => (await producers.open(sends))[decision](),
    [Symbol.asyncDispose]: async () => {
      await producers.close();
      await admin.disconnect();
    },
  };
};
