// A program that prints when each row can be read from a topic by kafkajs, which is none of ours: committed
// records only, all partitions, from the topic's begin.
import kafkajs from 'kafkajs';
import { AvroCursor } from '../src/topic/avro-cursor.ts';
import { addCodecs } from './kafka-codecs.ts';
import { announce, answer, readRequest } from './measure.ts';

export type KafkaWatchRequest = {
  brokers: readonly string[];
  topic: string;
  /** Bytes before the Avro of a key, whose first field is the id. */
  frameBytes: number;
  firstId: number;
  rows: number;
};

const { brokers, topic, frameBytes, firstId, rows } = readRequest<KafkaWatchRequest>();
addCodecs();
const kafka = new kafkajs.Kafka({
  clientId: 'bench-reader',
  brokers: [...brokers],
  logLevel: kafkajs.logLevel.ERROR,
});
const consumer = kafka.consumer({ groupId: `bench-reader-${process.pid}`, readUncommitted: false });
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
consumer.on(consumer.events.GROUP_JOIN, announce);

const cursor = new AvroCursor();
const seen: [id: number, atUs: number][] = [];
await new Promise<void>((resolve, reject) => {
  consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
    if (!restart) reject(error);
  });
  const run = consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      for (const { key } of batch.messages) {
        if (key === null) continue;
        cursor.load(key, frameBytes, key.length);
        const id = Number(cursor.long());
        if (id >= firstId) seen.push([id, Number(process.hrtime.bigint() / 1000n)]);
      }
      if (seen.length >= rows) resolve();
    },
  });
  run.catch(reject);
});
await answer(seen);
process.exit(0);
