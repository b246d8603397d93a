// The broker is killed, restarted, away at the start, frozen, while three tables are
// changed: the pipeline waits and goes on, and a stranger finds every committed change once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { goOn } from '../support/kafka-go-on.ts';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN, UNTIL } from '../support/stage.ts';
import { endOf } from '../support/varve.ts';

const ROUNDS = atLevel({ test: 1, all: 2, deep: 20 });
/** So that a broker which is frozen is given up soon. */
const TIMES = ['request_timeout_ms: 3000', 'transaction_timeout_ms: 10000', 'max_transaction_ms: 2000'];

const stage = await startKafkaStage();
const { kafka, registry } = stage;
test.after(() => stage[Symbol.asyncDispose]());
const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;

const flowOf = (brokers = kafka.brokers): Promise<KafkaFlow> =>
  KafkaFlow.set(server, { brokers, registry: registry.url, more: TIMES });

test(`a broker that is killed ${ROUNDS} times under load`, async (t) => {
  await using flow = await flowOf();
  let running = await flow.stream();
  const load = flow.startLoad();
  let mended = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await sleep(1000);
    await kafka.kill();
    await sleep(500);
    await kafka.restart();
    const next = await goOn(flow, running);
    running = next.running;
    mended += next.mended;
  }
  await load.stop();
  t.diagnostic(`hanging transactions taken back: ${mended}`);
  await endOf(running);
  await flow.assertWhole();
});

test(`a broker that is restarted ${ROUNDS} times under load`, async () => {
  await using flow = await flowOf();
  const running = await flow.stream();
  const load = flow.startLoad();
  for (let round = 0; round < ROUNDS; round++) {
    await sleep(1000);
    await kafka.stop();
    await kafka.restart();
    await flow.movesOn(running);
  }
  await load.stop();
  await endOf(running);
  await flow.assertWhole();
});

test('a broker that is down at the start is waited for', async () => {
  await using flow = await flowOf();
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  await flow.sql("insert into notes values (1, 'meanwhile')");
  await kafka.stop();
  const running = flow.pipeline.start(RUN);
  try {
    await running.saw(/"kind":"topic_unreachable"/);
    await sleep(2000);
    assert.equal(running.child.exitCode, null, 'it did not wait');
  } finally {
    await kafka.restart();
  }
  await running.saw(streaming);
  await endOf(running);
  await flow.assertWhole();
});

test('a broker that stands still for longer than any answer may take', async () => {
  await using flow = await flowOf();
  const running = await flow.stream();
  const load = flow.startLoad();
  await sleep(1000);
  kafka.pause();
  await sleep(12_000);
  kafka.resume();
  await flow.movesOn(running);
  await load.stop();
  await endOf(running);
  await flow.assertWhole();
});
