// Several workers run one pipeline over Kafka: whoever comes, goes, hangs or is killed, every table goes on,
// and in the end holds every version once.
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import type { Running } from '../support/varve.ts';
import { WorkerStage } from '../support/worker-stage.ts';

const [server, kafka] = await Promise.all([
  // So long the source holds on to a reader that hangs.
  startPostgres({ major: 17, settings: { wal_sender_timeout: '3s' } }),
  startKafkaStage(),
]);
test.after(async () => {
  await server[Symbol.asyncDispose]();
  await kafka[Symbol.asyncDispose]();
});

const limits = { timeout: atLevel({ test: 300_000, all: 400_000, deep: 3_600_000 }) };

test('workers come and go every two seconds, one hangs: every table goes on', limits, async () => {
  await using stage = await WorkerStage.set(server, kafka.topic());
  const first = stage.start();
  // The one that captures is not the one that hangs: that one would be replaced, and end.
  await first.saw(/"msg":"streaming"/);
  const second = stage.start();
  await stage.sees(0);
  await stage.startLoad(1);
  const guests: Running[] = [];
  const rounds = atLevel({ test: 4, all: 8, deep: 60 });
  for (let round = 0; round < rounds; round++) {
    guests.push(stage.start());
    await sleep(2000);
    const oldest = guests.length > 2 ? guests.shift() : undefined;
    if (oldest !== undefined) await stage.end(oldest);
    // Its share is free when its session is over, and nothing that it does later is wrong.
    second.kill(round % 4 === 1 ? 'SIGSTOP' : 'SIGCONT');
    const version = await stage.count();
    if (round % 2 === 1) await stage.sees(version);
  }
  await stage.stopLoad();
  second.kill('SIGCONT');
  for (const worker of [first, second, ...guests]) await stage.end(worker);
  await stage.assertWhole();
});

test(
  'the one that captures is killed, and another hangs: a third takes over, and who comes back does no harm',
  limits,
  async () => {
    await using stage = await WorkerStage.set(server, kafka.topic());
    const first = stage.start();
    await first.saw(/"msg":"streaming"/);
    await stage.startLoad(2);
    const second = stage.start();
    await second.saw(/"kind":"log_busy"/);
    await stage.goesOn();
    first.kill('SIGKILL');
    await second.saw(/"msg":"streaming"/);
    await stage.goesOn();
    const third = stage.start();
    await third.saw(/"kind":"log_busy"/);
    second.kill('SIGSTOP');
    await third.saw(/"msg":"streaming"/);
    await stage.goesOn();
    second.kill('SIGCONT');
    // It had something to write, and is told that it was replaced; or it had nothing, and finds the source
    // busy.
    const waits = second.saw(/log_busy.*\n[\s\S]*log_busy/).catch(() => undefined);
    await Promise.race([waits, second.finished]);
    await stage.goesOn();
    await stage.stopLoad();
    for (const worker of [second, third]) await stage.end(worker);
    await stage.assertWhole();
  },
);

test('the brokers die and come back while there are workers', limits, async () => {
  await using stage = await WorkerStage.set(server, kafka.topic());
  const workers = [stage.start(), stage.start(), stage.start()];
  await stage.sees(0);
  await stage.startLoad(3);
  await stage.goesOn();
  await kafka.kafka.kill();
  await sleep(atLevel({ test: 1000, all: 20_000, deep: 60_000 }));
  await kafka.kafka.restart();
  workers.push(...(await stage.recovers()));
  await stage.stopLoad();
  for (const worker of workers) await stage.end(worker);
  await stage.assertWhole();
});
