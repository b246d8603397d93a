// Records in a table's topic that nobody can fold, written by a stranger on a real broker: they go to the
// dead letters with their place, the reason and their bytes, and the rest flows; or they stop the table. And
// records that are gone before they were folded: the table stops, and names the offset.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import kafkajs, { type KafkaMessage, type Message } from 'kafkajs';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { assertSameRows, readCurrent, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

let kafka: Awaited<ReturnType<typeof startKafkaStage>>;
let server: TestPostgres;
let client: kafkajs.Kafka;
before(async () => {
  kafka = await startKafkaStage();
  server = await startPostgres({ major: 17 });
  client = new kafkajs.Kafka({ brokers: [...kafka.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error('this side only reads')),
  decompress: async (bytes: Buffer) => zstdDecompressSync(bytes),
});

const setPlain = (extra = ''): Promise<Stage> => setStage(server, { topic: kafka.topic(), extra });
const topicOf = ({ name }: Stage): string => `${name}.public.items`;

type Found = KafkaMessage & { partition: number };

const readAll = async (topic: string, count: number): Promise<Found[]> => {
  const consumer = client.consumer({ groupId: randomUUID(), readUncommitted: false });
  const found: Found[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
      void consumer.run({
        eachMessage: async ({ partition, message }) => {
          if (found.push({ ...message, partition }) === count) resolve();
        },
      });
    });
  } finally {
    await consumer.disconnect();
  }
  return found;
};

const produce = async (topic: string, messages: readonly Message[]): Promise<bigint> => {
  const producer = client.producer();
  await producer.connect();
  try {
    const [sent] = await producer.send({ topic, messages: [...messages] });
    return BigInt(sent?.baseOffset ?? -1);
  } finally {
    await producer.disconnect();
  }
};

/** As retention does in time. */
const deleteAll = async (topic: string): Promise<void> => {
  const admin = client.admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    const partitions = offsets.map(({ partition, high }) => ({ partition, offset: high }));
    await admin.deleteTopicRecords({ topic, partitions });
  } finally {
    await admin.disconnect();
  }
};

const withId = (bytes: Buffer, id: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed.writeInt32BE(id, 1);
  return changed;
};

/** What strangers write, made of a record that is right. */
const poisonOf = ({ key, value, headers }: KafkaMessage): Record<string, Message & { value: Buffer }> => {
  const good = value ?? assert.fail('a record of a row has a value');
  const from = { partition: 0, key, headers: headers ?? {} };
  return {
    'bytes do not fit': { ...from, value: Buffer.concat([Buffer.of(9), good.subarray(1)]) },
    'names a schema': { ...from, value: withId(good, 1_000_000) },
    'bytes do not fit its schema': { ...from, value: good.subarray(0, good.length - 3) },
    'no varve.order': { ...from, headers: {}, value: Buffer.from('{"id":1}') },
  };
};

test('what a stranger writes goes to the dead letters as it is, and the rest flows', async () => {
  await using stage = await setPlain();
  await stage.pipeline.run(UNTIL);
  const topic = topicOf(stage);
  const [good] = await readAll(topic, 20);
  const poison = Object.entries(poisonOf(good ?? assert.fail('no record')));
  const first = await produce(
    topic,
    poison.map(([, message]) => message),
  );
  await stage.sql("insert into items values (700, 'behind it'); update items set v = 'too' where id <= 9");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const dead = await readAll(`${stage.name}.varve.dead`, poison.length);
  for (const [at, [reason, message]] of poison.entries()) {
    const found = dead.find(({ key }) => String(key) === `${topic}/0/${first + BigInt(at)}`);
    assert.ok(found, `${reason}: ${dead.map(({ key }) => String(key))}`);
    assert.ok(String(found.headers?.['varve.reason']).includes(reason), String(found.headers));
    assert.deepEqual(found.value, message.value);
    assert.deepEqual(found.headers?.['varve.key'], message.key);
  }
});

test('on_poison: stop: the table stops before it, and says where it stands', async () => {
  await using stage = await setPlain('  on_poison: stop\n');
  await stage.pipeline.run(UNTIL);
  const topic = topicOf(stage);
  const [good] = await readAll(topic, 20);
  const [[, message] = assert.fail('none')] = Object.entries(poisonOf(good ?? assert.fail('no record')));
  const offset = await produce(topic, [message]);
  await stage.sql("insert into items values (700, 'behind it')");
  const before = await readCurrent(stage);
  const { stderr } = await stage.pipeline.run(UNTIL, 1);
  assert.match(stderr, new RegExp(`offset ${offset} of partition 0 of ${topic} cannot be folded`));
  const { state, reason } = await statusOf(stage.pipeline, 1);
  assert.deepEqual([state, reason], ['failed', 'record_corrupt']);
  assert.deepEqual(await readCurrent(stage), before);
});

test('records that are gone before they were folded: offset_lost, and no jump over them', async () => {
  await using stage = await setPlain();
  await stage.pipeline.run(UNTIL);
  await stage.pipeline.run(['pause', 'pipeline.yaml', 'items']);
  await stage.sql("insert into items select g, 'lost' from generate_series(800, 850) g");
  await stage.pipeline.run(UNTIL);
  const topic = topicOf(stage);
  const before = await readCurrent(stage);
  await deleteAll(topic);
  await stage.pipeline.run(['resume', 'pipeline.yaml', 'items']);
  const { stderr } = await stage.pipeline.run(UNTIL, 1);
  assert.match(stderr, /offset/);
  const { state, reason, sentence } = await statusOf(stage.pipeline, 1);
  assert.deepEqual([state, reason], ['failed', 'offset_lost']);
  assert.match(String(sentence), new RegExp(topic.replaceAll('.', '\\.')));
  assert.deepEqual(await readCurrent(stage), before);
});
