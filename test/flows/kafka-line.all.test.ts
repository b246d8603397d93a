// A line to the broker that is slow, and that dies without a word while three tables are changed: the
// pipeline goes on with new connections, and a stranger finds every committed change once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafka } from '../support/kafka.ts';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { pickNodes } from '../support/kafka-install.ts';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { startRegistry } from '../support/schema-registry.ts';
import { startProxy } from '../support/tcp-proxy.ts';
import { endOf } from '../support/varve.ts';

const ROUNDS = atLevel({ test: 1, all: 2, deep: 20 });
/** So that a line which is dead is given up soon. */
const TIMES = ['request_timeout_ms: 3000', 'transaction_timeout_ms: 10000', 'max_transaction_ms: 2000'];

test('a line that is slow, and that dies without a word', async () => {
  const [ports] = await pickNodes(1);
  assert.ok(ports);
  const proxy = await startProxy(ports.client, { delayMs: 20 });
  const near = `INTERNAL://127.0.0.1:${ports.internal}`;
  await using far = await startKafka({
    settings: {
      'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
      listeners: `CLIENT://127.0.0.1:${ports.client},${near},CONTROLLER://127.0.0.1:${ports.controller}`,
      'advertised.listeners': `CLIENT://127.0.0.1:${proxy.port},${near}`,
    },
  });
  assert.equal(far.pids().length, 1);
  await using registry = await startRegistry();
  await using server = await startPostgres({ major: 17 });
  const brokers = [`127.0.0.1:${proxy.port}`];
  await using flow = await KafkaFlow.set(server, { brokers, registry: registry.url, more: TIMES });
  const running = await flow.stream();
  const load = flow.startLoad();
  for (let round = 0; round < ROUNDS; round++) {
    await sleep(1000);
    proxy.freeze();
    await sleep(5000);
    proxy.thaw();
    await flow.movesOn(running);
  }
  await load.stop();
  await endOf(running);
  await flow.assertWhole();
  proxy.close();
});
