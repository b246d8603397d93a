// A program that reads a topic to its end, committed records only, by Varve's feed down to keys and values in
// place, by kafkajs or by @platformatic/kafka, and prints what that cost from the first records on.
import { Consumer } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { addCodecs } from './kafka-codecs.ts';
import { KEY_BYTES, VALUE_BYTES } from './kafka-records.ts';
import { answer, builtUrl, type Cost, readRequest } from './measure.ts';

export type FetchRequest = {
  library: 'varve' | 'kafkajs' | 'platformatic';
  brokers: readonly string[];
  prefix: string;
  topic: string;
  records: number;
};
/** `records`: those behind the first that came, where the clock begins. */
export type FetchCost = Pick<Cost, 'seconds' | 'cpuSeconds'> & { records: number };

const READ_BYTES = 4 << 20;
const READ_COMMITTED = 1;

const { library, brokers, prefix, topic, records } = readRequest<FetchRequest>();

/** Joining a group takes seconds and is no part of reading: the clock begins with what comes first. */
class Clock {
  #startedMs = 0;
  #cpuBefore = process.cpuUsage();
  #first = 0;
  #records = 0;

  /** Of as many records as came together; true: these were the last. */
  count(came: number): boolean {
    if (came > 0 && this.#records === 0) {
      this.#startedMs = performance.now();
      this.#cpuBefore = process.cpuUsage();
      this.#first = came;
    }
    this.#records += came;
    if (this.#records > records) throw new Error(`${this.#records} records came of ${records}.`);
    return this.#records === records;
  }

  read(): FetchCost {
    const { user, system } = process.cpuUsage(this.#cpuBefore);
    const seconds = (performance.now() - this.#startedMs) / 1000;
    return { records: records - this.#first, seconds, cpuSeconds: (user + system) / 1e6 };
  }
}

const expectSizes = (key: number | undefined, value: number | undefined): void => {
  if (key !== KEY_BYTES || value !== VALUE_BYTES) throw new Error(`A record of ${key} and ${value} bytes.`);
};

const readByVarve = async (clock: Clock): Promise<void> => {
  const [{ KafkaClient }, { openKafkaFeed }, { readRecords }, { codecById }]: [
    typeof import('../src/topic/kafka/client.ts'),
    typeof import('../src/topic/kafka/feed.ts'),
    typeof import('../src/topic/record-batch.ts'),
    typeof import('../src/topic/compression.ts'),
  ] = await Promise.all([
    import(builtUrl('topic/kafka/client.js').href),
    import(builtUrl('topic/kafka/feed.js').href),
    import(builtUrl('topic/record-batch.js').href),
    import(builtUrl('topic/compression.js').href),
  ]);
  const client = await KafkaClient.open({ brokers, clientId: 'bench-reader' });
  const schema = (id: number): Promise<string> => Promise.reject(new Error(`schema ${id} is not needed`));
  const feed = await openKafkaFeed({ client, prefix, schema });
  const codec = { codec: codecById };
  for (let from = 0n, isDone = false; !isDone; ) {
    const { batches, nextOffset } = await feed.read(topic, 0, { from, maxBytes: READ_BYTES });
    if (nextOffset === from) throw new Error(`The topic ends at ${from}.`);
    from = nextOffset;
    for (const batch of batches) {
      let came = 0;
      readRecords(
        batch,
        ({ keyStart, keyEnd, valueStart, valueEnd }) => {
          came++;
          expectSizes(keyEnd - keyStart, valueEnd - valueStart);
        },
        codec,
      );
      isDone = clock.count(came);
    }
  }
};

const readByKafkajs = async (clock: Clock): Promise<void> => {
  addCodecs();
  const kafka = new kafkajs.Kafka({
    clientId: 'bench-reader',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.ERROR,
  });
  const consumer = kafka.consumer({ groupId: `bench-${process.pid}`, maxBytesPerPartition: READ_BYTES });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
      if (!restart) reject(error);
    });
    const run = consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch: { messages } }) => {
        for (const { key, value } of messages) expectSizes(key?.length, value?.length);
        if (clock.count(messages.length)) resolve();
      },
    });
    run.catch(reject);
  });
};

const readByPlatformatic = async (clock: Clock): Promise<void> => {
  const consumer = new Consumer({
    clientId: 'bench-reader',
    bootstrapBrokers: [...brokers],
    groupId: `bench-${process.pid}`,
    isolationLevel: READ_COMMITTED,
    autocommit: false,
    maxBytes: READ_BYTES,
  });
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest' });
  for await (const { key, value } of stream) {
    expectSizes(key?.length, value?.length);
    if (clock.count(1)) return;
  }
};

const clock = new Clock();
await { varve: readByVarve, kafkajs: readByKafkajs, platformatic: readByPlatformatic }[library](clock);
await answer(clock.read());
process.exit(0);
