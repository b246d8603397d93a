// Values that no topic takes, kept in a real object store: a consumer that knows nothing of Varve finds the
// whole value where the record's header says, and `check` has tried the place out before.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import kafkajs, { type KafkaMessage } from 'kafkajs';
import { kafkaTopic, startKafkaStage } from '../support/kafka-stage.ts';
import { startPostgres } from '../support/postgres.ts';
import { openTestStore, S3_ENVIRONMENT, startS3 } from '../support/s3.ts';
import { readCurrent, setStage, UNTIL } from '../support/stage.ts';

/** Text that the limit below does not take. */
const LARGE = `(select string_agg(md5(g::text), '') from generate_series(1, 2000) g)`;
const LARGE_BYTES = 64_000;
const LIMIT = '20000';

const takeAtMost = async (kafka: kafkajs.Kafka, topic: string, value: string): Promise<void> => {
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: 'max.message.bytes', value }];
  const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }];
  await admin.alterConfigs({ validateOnly: false, resources }).finally(() => admin.disconnect());
};

/** The first record with this header, whoever's key it has. */
const findByHeader = async (kafka: kafkajs.Kafka, topic: string, header: string): Promise<KafkaMessage> => {
  const consumer = kafka.consumer({ groupId: randomUUID(), readUncommitted: false });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    return await new Promise<KafkaMessage>((found, lost) => {
      consumer.on('consumer.crash', ({ payload }) => lost(payload.error));
      void consumer.run({
        eachMessage: async ({ message }) => {
          if (message.headers?.[header] !== undefined) found(message);
        },
      });
    });
  } finally {
    await consumer.disconnect();
  }
};

test('a value that its topic does not take is an object, and the record says which', async () => {
  Object.assign(process.env, S3_ENVIRONMENT);
  await using s3 = await startS3();
  await using kafka = await startKafkaStage();
  await using server = await startPostgres({ major: 17 });
  const location = `s3://${s3.bucket}/large`;
  const topic = kafkaTopic({ brokers: kafka.kafka.brokers, registry: kafka.registry.url }, [
    'compression: none',
    'oversized: claim_check',
    `claim_check: { location: "${location}/", s3: { endpoint: "${s3.endpoint}" } }`,
  ]);
  await using stage = await setStage(server, { topic });
  const { stdout } = await stage.pipeline.run(['check', 'pipeline.yaml']);
  assert.match(stdout, /ok +s3:\/\/lake\/large\/?: values that no topic takes are written/);
  await stage.pipeline.run(UNTIL);
  const client = new kafkajs.Kafka({
    brokers: [...kafka.kafka.brokers],
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const name = `${stage.name}.public.items`;
  await takeAtMost(client, name, LIMIT);
  await stage.sql(`insert into items values (501, ${LARGE}), (502, 'small')`);
  await stage.pipeline.run(UNTIL);
  const record = await findByHeader(client, name, 'varve.claim');
  assert.ok((record.value?.length ?? 0) < 1000);
  const claim = JSON.parse(String(record.headers?.['varve.claim'])) as { location: string; bytes: number };
  assert.ok(claim.location.startsWith(`${location}/${name}/`), claim.location);
  const store = openTestStore(location, { s3: { endpoint: s3.endpoint }, copies: null });
  const value = Buffer.from((await store.read(claim.location)) ?? assert.fail('there is no such object'));
  store.close();
  assert.equal(value.length, claim.bytes);
  assert.ok(value.length > LARGE_BYTES);
  // The value is framed as in the topic: a consumer decodes it by the schema that it names.
  const id = value.readInt32BE(1);
  const answer = await fetch(`${kafka.registry.url}/schemas/ids/${id}`);
  assert.match(await answer.text(), /items/);
  const [row] = (await stage.sql('select v from items where id = 501')) as { v: string }[];
  assert.ok(value.includes(row?.v ?? 'nothing'));
  const rows = await readCurrent(stage);
  assert.deepEqual(
    rows.filter(([key]) => Number(key) > 500),
    [
      ['501', null],
      ['502', 'small'],
    ],
  );
});
