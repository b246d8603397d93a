// A program that writes the same records in transactions of a fixed size, each with a state record in a
// second topic, by Varve's publisher, kafkajs or @platformatic/kafka, and prints what that cost.
import { Producer } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { createTopic } from '../src/topic/kafka/admin.ts';
import { KafkaClient } from '../src/topic/kafka/client.ts';
import { addCodecs } from './kafka-codecs.ts';
import { openVarve } from './kafka-produce-varve.ts';
import { makeRecords, stateOf, type TransactionWriter, topicsOf } from './kafka-records.ts';
import { answer, type Cost, readRequest } from './measure.ts';

export type ProduceRequest = {
  library: 'varve' | 'kafkajs' | 'platformatic';
  brokers: readonly string[];
  /** Of the topics, which it makes. */
  prefix: string;
  transactions: number;
  recordsPerTransaction: number;
};
/** Without the first transactions; `written` is all that the topic holds then. */
export type ProduceCost = Pick<Cost, 'seconds' | 'cpuSeconds'> & { written: number };

/** Programs are compiled while they run. */
const WARM_UP_RECORDS = 40_000;
/** kafkajs copies a list for each message of a call: with 20,000 of them that takes nearly all its time. */
const MOST_IN_A_CALL = 1000;

const { library, brokers, prefix, transactions, recordsPerTransaction } = readRequest<ProduceRequest>();
const { topic, stateTopic } = topicsOf(prefix);
const records = makeRecords();
const { keyAt, valueAt } = records;

const makeTopics = async (): Promise<void> => {
  await using client = await KafkaClient.open({ brokers, clientId: 'bench' });
  for (const name of [topic, stateTopic])
    await createTopic(client, name, { partitions: 1, replication: null, config: {} });
};

const openKafkajs = async (): Promise<TransactionWriter> => {
  await makeTopics();
  addCodecs();
  const kafka = new kafkajs.Kafka({
    clientId: 'bench',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.ERROR,
  });
  const settings = { transactionalId: prefix, idempotent: true, maxInFlightRequests: 1 };
  const producer = kafka.producer(settings);
  await producer.connect();
  return {
    window: 1,
    write: async (transaction) => {
      const open = await producer.transaction();
      const how = { acks: -1, compression: kafkajs.CompressionTypes.ZSTD };
      const end = (transaction + 1) * recordsPerTransaction;
      for (let from = end - recordsPerTransaction; from < end; from += MOST_IN_A_CALL) {
        const length = Math.min(MOST_IN_A_CALL, end - from);
        const messages = Array.from({ length }, (_, at) => ({
          key: keyAt(from + at),
          value: valueAt(from + at),
        }));
        await open.send({ ...how, topic, messages });
      }
      const state = [{ key: 'checkpoint', value: stateOf(transaction) }];
      await open.send({ ...how, topic: stateTopic, messages: state });
      await open.commit();
    },
    close: () => producer.disconnect(),
  };
};

const openPlatformatic = async (): Promise<TransactionWriter> => {
  await makeTopics();
  const producer = new Producer({
    clientId: 'bench',
    bootstrapBrokers: [...brokers],
    transactionalId: prefix,
    idempotent: true,
    compression: 'zstd',
    // Its defaults ask for another's producer id, and wait a second before each transaction after the first.
    producerId: -1n,
    producerEpoch: -1,
    retryDelay: 2,
    retries: 1000,
  });
  const stateKey = Buffer.from('checkpoint');
  return {
    window: 1,
    write: async (transaction) => {
      const from = transaction * recordsPerTransaction;
      const messages = Array.from({ length: recordsPerTransaction }, (_, at) => ({
        topic,
        key: keyAt(from + at),
        value: valueAt(from + at),
      }));
      messages.push({ topic: stateTopic, key: stateKey, value: Buffer.from(stateOf(transaction)) });
      const open = await producer.beginTransaction();
      await open.send({ messages });
      await open.commit();
    },
    close: () => producer.close(),
  };
};

const produce = async (
  writer: TransactionWriter,
  first: number,
  count: number,
): Promise<Omit<ProduceCost, 'written'>> => {
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const underWay: Promise<void>[] = [];
  for (let transaction = first; transaction < first + count; transaction++) {
    if (underWay.length >= writer.window) await underWay.shift();
    underWay.push(writer.write(transaction));
  }
  await Promise.all(underWay);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { seconds: (performance.now() - startedMs) / 1000, cpuSeconds: (user + system) / 1e6 };
};

const openers = {
  varve: () => openVarve({ brokers, prefix, recordsPerTransaction, records }),
  kafkajs: openKafkajs,
  platformatic: openPlatformatic,
};
const writer = await openers[library]();
const warmUp = Math.ceil(WARM_UP_RECORDS / recordsPerTransaction);
await produce(writer, 0, warmUp);
const cost = await produce(writer, warmUp, transactions);
await writer.close(warmUp + transactions);
await answer({ ...cost, written: (warmUp + transactions) * recordsPerTransaction });
process.exit(0);
