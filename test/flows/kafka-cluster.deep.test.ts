// Three brokers, one after the other killed or restarted under load, so that every partition and coordinator
// is led by another one again and again: a stranger finds every committed change once.
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafka } from '../support/kafka.ts';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { goOn } from '../support/kafka-go-on.ts';
import { startPostgres } from '../support/postgres.ts';
import { startRegistry } from '../support/schema-registry.ts';
import { endOf } from '../support/varve.ts';

const ROUNDS = Number(process.env.VARVE_ROUNDS ?? 12);
const TIMES = ['request_timeout_ms: 3000', 'transaction_timeout_ms: 10000', 'max_transaction_ms: 2000'];

test(`${ROUNDS} leader elections on three brokers under load`, { timeout: 3_600_000 }, async (t) => {
  await using cluster = await startKafka({ brokers: 3 });
  await using registry = await startRegistry();
  await using server = await startPostgres({ major: 17 });
  const more = ['replication: 3', ...TIMES];
  await using flow = await KafkaFlow.set(server, { brokers: cluster.brokers, registry: registry.url, more });
  let running = await flow.stream();
  const load = flow.startLoad();
  let mended = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const node = (round % 3) + 1;
    await sleep(1000);
    await (round % 2 === 0 ? cluster.kill(node) : cluster.stop(node));
    const without = await goOn(flow, running);
    await cluster.restart(node);
    const whole = await goOn(flow, without.running);
    running = whole.running;
    mended += without.mended + whole.mended;
  }
  await load.stop();
  t.diagnostic(`hanging transactions taken back: ${mended}`);
  await endOf(running);
  await flow.assertWhole();
});
