// The whole pipeline over Kafka against a real server and its own audit: the topics hold exactly what was
// committed, read by a client that is none of Varve's, and the table every version of every row.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { startPostgres } from '../support/postgres.ts';
import { UNTIL } from '../support/stage.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));

const stage = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());

type Case = { major: 15 | 17 | 18; delivery: 'exactly_once' | 'at_least_once' };
const CASES: readonly Case[] = [
  { major: 15, delivery: 'exactly_once' },
  { major: 17, delivery: 'exactly_once' },
  { major: 18, delivery: 'exactly_once' },
  { major: 17, delivery: 'at_least_once' },
];

for (const { major, delivery } of CASES) {
  test(`topics and table hold what PostgreSQL ${major} committed, ${delivery} (seed ${SEED})`, async () => {
    await using server = await startPostgres({ major });
    const { kafka, registry } = stage;
    const more = [`delivery: ${delivery}`];
    await using flow = await KafkaFlow.set(server, {
      brokers: kafka.brokers,
      registry: registry.url,
      more,
      seed: SEED,
    });
    const load = flow.startLoad();
    // Twice under load: the seam of the first snapshot, and a resume in the middle of everything.
    await flow.pipeline.run(UNTIL);
    await flow.noteSeam();
    await flow.pipeline.run(UNTIL);
    await load.stop();
    await flow.assertWhole();
  });
}

test('without transactions changes may come twice to the topics, and never to the table', async () => {
  await using server = await startPostgres({ major: 17 });
  const { kafka, registry } = stage;
  const more = ['delivery: at_least_once'];
  await using flow = await KafkaFlow.set(server, { brokers: kafka.brokers, registry: registry.url, more });
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  const load = flow.startLoad();
  for (const point of [
    'topic.write:after:2',
    'source.confirm:before',
    'topic.write:before',
    'table.commit:after',
  ]) {
    const { signal, stderr } = await flow.pipeline.start(UNTIL, { VARVE_CRASH_AT: point }).finished;
    assert.equal(signal, 'SIGKILL', `${point} was not reached: ${stderr}`);
  }
  await load.stop();
  await flow.assertWhole({ repeats: true });
});
