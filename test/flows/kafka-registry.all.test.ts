// A schema registry that is away, or that refuses a schema: nobody misses it as long as nothing new is said,
// what is new waits for it, and nothing is lost on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { startKafka } from '../support/kafka.ts';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { startRegistry } from '../support/schema-registry.ts';
import { RUN, readCurrent, statusOf, UNTIL } from '../support/stage.ts';
import { endOf } from '../support/varve.ts';

const kafka = await startKafka();
test.after(() => kafka[Symbol.asyncDispose]());
const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;

test('a registry that goes away is not missed until something new is said', async () => {
  await using registry = await startRegistry();
  await using flow = await KafkaFlow.set(server, { brokers: kafka.brokers, registry: registry.url });
  const running = await flow.stream();
  const load = flow.startLoad();
  await registry.kill();
  await running.saw(/./);
  await flow.sql('create table later (id int primary key, v text)');
  await flow.sql("insert into later values (1, 'one')");
  await running.saw(/"kind":"registry_unreachable"/);
  // Between two tries it runs.
  await until(async () => (await statusOf(flow.pipeline)).reason === 'registry_unreachable');
  await registry.restart();
  await until(async () => (await readCurrent(flow, 'later').catch(() => [])).length === 1);
  await load.stop();
  await endOf(running);
  await flow.assertWhole();
});

test('with the registry down, a start waits for it and then goes on', async () => {
  await using registry = await startRegistry();
  await using flow = await KafkaFlow.set(server, { brokers: kafka.brokers, registry: registry.url });
  await registry.stop();
  const first = flow.pipeline.start(RUN);
  await first.saw(/"kind":"registry_unreachable"/);
  await registry.restart();
  await first.saw(streaming);
  await flow.noteSeam();
  await endOf(first);
  await registry.stop();
  await flow.sql("insert into notes values (1, 'while it was down')");
  const second = flow.pipeline.start(RUN);
  await second.saw(/registry_unreachable|"msg":"streaming"/);
  await registry.restart();
  await second.saw(streaming);
  await flow.movesOn(second);
  await endOf(second);
  await flow.assertWhole();
});

test('a schema that the registry refuses holds up its table alone, and nothing is lost', async () => {
  await using registry = await FaultyRegistry.start();
  await using flow = await KafkaFlow.set(server, { brokers: kafka.brokers, registry: registry.url });
  await flow.pipeline.run(UNTIL);
  await flow.noteSeam();
  registry.fault = ({ method, path }) =>
    method === 'POST' && path.endsWith('public.pairs-value/versions')
      ? { status: 409, body: { error_code: 409, message: 'Schema being registered is incompatible' } }
      : null;
  const running = flow.pipeline.start(RUN);
  await running.saw(streaming);
  const load = flow.startLoad('ledger');
  await flow.sql('alter table pairs add column d int');
  await flow.sql('update pairs set d = a');
  await flow.sql("insert into pairs values (100, 100, 'blocked', 1)");
  await running.saw(/public\.pairs.*incompatible|incompatible.*public\.pairs/s);
  await flow.sql("insert into notes values (4711, 'goes on')");
  assert.equal(running.child.exitCode, null, 'one table stopped all of them');
  await flow.movesOn(running);
  await load.stop();
  await endOf(running);
  registry.fault = () => null;
  await flow.assertWhole({ wholeUpTo: 0 });
});
