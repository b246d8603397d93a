// A program that writes the same records in transactions of a fixed size, each with a state record in a second
// topic, by Varve's publisher, kafkajs or @platformatic/kafka, and prints what that cost.
import { Producer } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { createTopic, listOffsets } from '../src/topic/kafka/admin.ts';
import { KafkaClient } from '../src/topic/kafka/client.ts';
import type { Publisher } from '../src/topic/publisher.ts';
import { addCodecs } from './kafka-codecs.ts';
import { makeKeys, makeValues } from './kafka-records.ts';
import { answer, builtUrl, type Cost, readRequest } from './measure.ts';

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

type Writer = {
  /** Transactions that may be under way: one is being committed, one waits, where the library can. */
  window: number;
  write(transaction: number): Promise<void>;
  /** Throws when the transactions were other ones than asked for. */
  close(transactions: number): Promise<void>;
};

/** Programs are compiled while they run. */
const WARM_UP_RECORDS = 40_000;
/** State, the publisher's own record, the end of the transaction. */
const STATE_OFFSETS = 3n;
const TIMEOUT_MS = 60_000;

const { library, brokers, prefix, transactions, recordsPerTransaction } = readRequest<ProduceRequest>();
const [topic, stateTopic] = [`${prefix}.records`, `${prefix}.varve.state`];
const [keys, values] = [makeKeys(), makeValues()];
const client = await KafkaClient.open({ brokers, clientId: 'bench' });

const stateOf = (transaction: number): string => JSON.stringify({ resume: transaction });
const keyAt = (at: number): Buffer => keys[at % keys.length]!;
const valueAt = (at: number): Buffer => values[at % values.length]!;

/** Of the built package, as people install it. */
const openPublisher = async (): Promise<Publisher> => {
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

const openVarve = async (): Promise<Writer> => {
  const [{ Batches }, { sealRecords }, { COMPRESSIONS }]: [
    typeof import('../src/topic/batches.ts'),
    typeof import('../src/topic/record-batch.ts'),
    typeof import('../src/topic/compression.ts'),
  ] = await Promise.all([
    import(builtUrl('topic/batches.js').href),
    import(builtUrl('topic/record-batch.js').href),
    import(builtUrl('topic/compression.js').href),
  ]);
  const publisher = await openPublisher();
  await publisher.recover();
  const batches = new Batches((taken) => sealRecords(taken, COMPRESSIONS.zstd));
  const [builder] = batches.of(topic, await publisher.ensureTopic(topic, { partitions: 1 }));
  if (builder === undefined) throw new Error('A topic without partition.');
  const fill = (transaction: number): void => {
    const nowMs = Date.now();
    for (let at = 0; at < recordsPerTransaction; at++) {
      builder.beginRecord(nowMs);
      builder.beginKey();
      builder.writer.raw(keyAt(transaction * recordsPerTransaction + at));
      builder.endKey();
      builder.beginValue();
      builder.writer.raw(valueAt(transaction * recordsPerTransaction + at));
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
      const [end = 0n] = await listOffsets(client, [{ topic: stateTopic, partition: 0 }], 'committed');
      if (end !== STATE_OFFSETS * BigInt(count))
        throw new Error(`${end} state offsets: not ${count} writes.`);
    },
  };
};

const makeTopics = async (): Promise<void> => {
  for (const name of [topic, stateTopic])
    await createTopic(client, name, { partitions: 1, replication: null, config: {} });
};

const openKafkajs = async (): Promise<Writer> => {
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
      const from = transaction * recordsPerTransaction;
      const messages = Array.from({ length: recordsPerTransaction }, (_, at) => ({
        key: keyAt(from + at),
        value: valueAt(from + at),
      }));
      const state = { topic: stateTopic, messages: [{ key: 'checkpoint', value: stateOf(transaction) }] };
      const open = await producer.transaction();
      const compression = kafkajs.CompressionTypes.ZSTD;
      await open.sendBatch({ acks: -1, compression, topicMessages: [{ topic, messages }, state] });
      await open.commit();
    },
    close: () => producer.disconnect(),
  };
};

const openPlatformatic = async (): Promise<Writer> => {
  await makeTopics();
  const producer = new Producer({
    clientId: 'bench',
    bootstrapBrokers: [...brokers],
    transactionalId: prefix,
    idempotent: true,
    compression: 'zstd',
    // Without these two it cannot start twice under one id; without the third it makes one transaction a second.
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
  writer: Writer,
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

const writer = await { varve: openVarve, kafkajs: openKafkajs, platformatic: openPlatformatic }[library]();
const warmUp = Math.ceil(WARM_UP_RECORDS / recordsPerTransaction);
await produce(writer, 0, warmUp);
const cost = await produce(writer, warmUp, transactions);
await writer.close(warmUp + transactions);
await answer({ ...cost, written: (warmUp + transactions) * recordsPerTransaction });
process.exit(0);
