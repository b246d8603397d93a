// Two processes of one pipeline over Kafka, and one that stood still for too long: whoever is at work is
// never disturbed, who takes over fences who was there before, and what a stranger reads is whole and there
// once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN, statusOf, UNTIL } from '../support/stage.ts';
import { endOf } from '../support/varve.ts';

/** A walsender whose client stands still is gone after this. */
const SENDER_MS = 2000;
/** The broker aborts after this. */
const TRANSACTION_MS = 5000;

const stage = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());
const server = await startPostgres({ major: 17, settings: { wal_sender_timeout: `${SENDER_MS}` } });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;
const waiting = /"kind":"log_busy"/;

const flowOf = (): Promise<KafkaFlow> =>
  KafkaFlow.set(server, {
    brokers: stage.kafka.brokers,
    registry: stage.registry.url,
    more: [`transaction_timeout_ms: ${TRANSACTION_MS}`, 'max_transaction_ms: 1000'],
  });

test('a second process waits with log_busy, and takes over when the first one is killed', async () => {
  await using flow = await flowOf();
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  const load = flow.startLoad();
  const first = flow.pipeline.start(RUN);
  await first.saw(streaming);
  const second = flow.pipeline.start(RUN);
  await second.saw(waiting);
  await sleep(3000);
  assert.equal(first.child.exitCode, null, 'the first one was disturbed');
  assert.equal((await statusOf(flow.pipeline)).state, 'running');
  first.kill('SIGKILL');
  await first.finished;
  await second.saw(streaming);
  await load.stop();
  await endOf(second);
  await flow.assertWhole();
});

test('two that start at the same moment: one captures, one waits, none is stopped', async () => {
  await using flow = await flowOf();
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  for (let round = 0; round < 4; round++) {
    const both = [flow.pipeline.start(RUN), flow.pipeline.start(RUN)];
    await Promise.any(both.map((one) => one.saw(streaming)));
    await Promise.any(both.map((one) => one.saw(waiting)));
    await flow.sql(`insert into notes values (${round}, 'round')`);
    await sleep(1000);
    for (const one of both) assert.equal(one.child.exitCode, null, 'one was stopped');
    for (const one of both) await endOf(one);
  }
  await flow.pipeline.run(UNTIL);
  await flow.assertWhole();
});

test('a second process never fences the first during its initial snapshot', async () => {
  await using flow = await flowOf();
  const { sql, pipeline } = flow;
  await sql("insert into notes select g, repeat('x', 500) from generate_series(1, 60000) g");
  const first = pipeline.start(RUN);
  await first.saw(/"msg":"snapshot of/);
  const second = pipeline.start(RUN);
  await second.saw(waiting);
  await first.saw(streaming);
  await flow.noteSeam();
  await sleep(1000);
  assert.equal(first.child.exitCode, null, 'the first one was disturbed');
  await endOf(second);
  await endOf(first);
  await flow.assertWhole();
});

test('a process that stood still for longer than a transaction may take goes on by itself', async () => {
  await using flow = await flowOf();
  const running = await flow.stream();
  const load = flow.startLoad();
  for (let round = 0; round < 2; round++) {
    await sleep(700);
    running.kill('SIGSTOP');
    await sleep(TRANSACTION_MS + SENDER_MS);
    running.kill('SIGCONT');
    await sleep(2000);
    assert.equal(running.child.exitCode, null, 'it did not go on');
  }
  await load.stop();
  await endOf(running);
  await flow.assertWhole();
});

test('a zombie whose place was taken writes nothing more', async (t) => {
  await using flow = await flowOf();
  const zombie = await flow.stream();
  const load = flow.startLoad();
  await sleep(700);
  zombie.kill('SIGSTOP');
  const second = flow.pipeline.start(RUN);
  await second.saw(streaming);
  zombie.kill('SIGCONT');
  const said = await Promise.race([
    zombie.finished.then(({ code, stdout, stderr }) => `${code} ${stdout} ${stderr}`),
    zombie.saw(waiting).then(() => 'log_busy'),
  ]);
  t.diagnostic(`the zombie: ${said}`);
  assert.match(said, /fenced|log_busy/);
  await sleep(2000);
  assert.equal(second.child.exitCode, null, 'who took over was disturbed');
  await load.stop();
  zombie.kill('SIGTERM');
  await zombie.finished;
  await endOf(second);
  await flow.assertWhole();
});

test('status is of the one at work, whoever else waits', async () => {
  await using flow = await flowOf();
  const first = flow.pipeline.start(RUN);
  await first.saw(streaming);
  const second = flow.pipeline.start(RUN);
  await second.saw(waiting);
  await endOf(second);
  assert.equal((await statusOf(flow.pipeline)).state, 'running', 'the one that waited said it was stopped');
  first.kill('SIGTERM');
  await first.finished;
  await until(async () => (await statusOf(flow.pipeline)).state === 'stopped');
});
