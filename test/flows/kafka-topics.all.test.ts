// Topics that somebody changes under a pipeline that runs, and a record that no topic takes: the pipeline
// stops with the reason, and what cannot be published is not forgotten.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import kafkajs from 'kafkajs';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { readByKafkajs } from '../support/kafka-reader.ts';
import { KAFKA_PARTITIONS, startKafkaStage } from '../support/kafka-stage.ts';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, RUN, statusOf, UNTIL } from '../support/stage.ts';

const stage = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());
const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const TABLE_BLOCK = 'table:\n  location: ./tables\n  commit_interval_ms: 200\n';
const streaming = /"msg":"streaming"/;

const flowOf = (more: readonly string[] = []): Promise<KafkaFlow> =>
  KafkaFlow.set(server, { brokers: stage.kafka.brokers, registry: stage.registry.url, more });

const withAdmin = async (act: (admin: kafkajs.Admin) => Promise<unknown>): Promise<void> => {
  const kafka = new kafkajs.Kafka({ brokers: [...stage.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  await act(admin).finally(() => admin.disconnect());
};

const maxBytes = (topic: string, value: string) => (admin: kafkajs.Admin) =>
  admin.alterConfigs({
    validateOnly: false,
    resources: [
      {
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name: topic,
        configEntries: [{ name: 'max.message.bytes', value }],
      },
    ],
  });

// Where nothing is folded the writer alone meets it, with a write that cannot be ended.
for (const isFolded of [true, false]) {
  const what = isFolded ? 'table' : 'topic';
  test(`a topic deleted under the running pipeline stops it, and is not made anew (${what})`, async () => {
    await using flow = await flowOf();
    if (!isFolded) await amend(flow.pipeline, TABLE_BLOCK, '');
    await flow.pipeline.run(UNTIL);
    const running = flow.pipeline.start(RUN);
    await running.saw(streaming);
    const load = flow.startLoad();
    const topic = `${flow.name}.public.ledger`;
    await withAdmin((admin) => admin.deleteTopics({ topics: [topic] }));
    const { code, stderr } = await running.finished;
    await load.stop();
    assert.equal(code, 1);
    assert.match(stderr, /topic_changed/);
    assert.match(stderr, new RegExp(`${flow.name}\\.public\\.ledger was deleted`));
    const { state, reason } = await statusOf(flow.pipeline, 1);
    assert.deepEqual([state, reason], ['failed', 'topic_changed'], stderr);
    const again = await flow.pipeline.run([...UNTIL, '--json'], 1);
    assert.equal(JSON.parse(again.stdout).error, 'topic_changed', again.stderr);
    await withAdmin(async (admin) => assert.ok(!(await admin.listTopics()).includes(topic), 'it was made'));
  });
}

test('a topic that was deleted and made again is refused until its table is read again', async () => {
  await using flow = await flowOf();
  await amend(flow.pipeline, TABLE_BLOCK, '');
  await flow.pipeline.run(UNTIL);
  const topic = `${flow.name}.public.ledger`;
  await withAdmin(async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    await until(async () => !(await admin.listTopics()).includes(topic));
    await admin.createTopics({ topics: [{ topic, numPartitions: KAFKA_PARTITIONS }] });
  });
  await flow.sql("insert into ledger (id, name) values (900, 'after')");
  const { stdout, stderr } = await flow.pipeline.run([...UNTIL, '--json'], 1);
  assert.equal(JSON.parse(stdout).error, 'topic_changed', stderr);
  assert.match(stdout, /was deleted and made again/);
  await flow.pipeline.run(['snapshot', 'pipeline.yaml', 'public.ledger']);
  const [counted] = await flow.sql('select count(*)::int as rows from ledger');
  await flow.sql("insert into ledger (id, name) values (901, 'later')");
  await flow.pipeline.run(UNTIL);
  // The one that was refused, and the last one.
  const expected = Number(counted?.rows) + 2;
  const [values] = await readByKafkajs(stage.kafka.brokers, [topic], [expected]);
  assert.equal(values?.length, expected);
});

test('partitions that are added to a live topic are refused, with both numbers', async () => {
  await using flow = await flowOf();
  await flow.pipeline.run(UNTIL);
  const topic = `${flow.name}.public.ledger`;
  const count = KAFKA_PARTITIONS + 2;
  await withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic, count }] }));
  await flow.sql("insert into ledger (id, name) values (900, 'after')");
  const { stdout, stderr } = await flow.pipeline.run([...RUN, '--json'], 1);
  assert.equal(JSON.parse(stdout).error, 'topic_changed', stderr);
  assert.match(stdout, new RegExp(`${KAFKA_PARTITIONS}.*${count}`));
});

test('a record that its topic does not take stops the pipeline; with a higher limit it goes on', async () => {
  await using flow = await flowOf();
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  const topic = `${flow.name}.public.pairs`;
  await withAdmin(maxBytes(topic, '20000'));
  await flow.sql("insert into pairs values (1, 1, 'small') on conflict do nothing");
  await flow.sql(
    `insert into pairs values
       (77, 78, (select string_agg(md5(g::text), '') from generate_series(1, 2000) g))`,
  );
  const { stdout, stderr } = await flow.pipeline.run([...RUN, '--json'], 1);
  assert.equal(JSON.parse(stdout).error, 'record_too_large', stderr);
  assert.match(stdout, /77.*78/, 'the key is not named');
  assert.match(stdout, /6[4-9][0-9,]{3,4}/, 'the size is not named');
  const { state, reason } = await statusOf(flow.pipeline, 1);
  assert.deepEqual([state, reason], ['failed', 'record_too_large']);
  await withAdmin(maxBytes(topic, '2000000'));
  await flow.assertWhole();
});
