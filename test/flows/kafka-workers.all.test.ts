// Several workers run one pipeline over Kafka: whoever comes, goes, hangs or is killed, every table goes on,
// and in the end holds every version once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { readLedger } from '../support/ledger-table.ts';
import { atLevel } from '../support/level.ts';
import { askOracle, auditMoment, compareWithOracle, installOracle } from '../support/oracle.ts';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN, setStage, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';
import type { Running } from '../support/varve.ts';
import { runWorkload } from '../support/workload.ts';

// A worker that hangs is let go after this long.
const [server, kafka] = await Promise.all([
  startPostgres({ major: 17, settings: { wal_sender_timeout: '3s' } }),
  startKafkaStage(),
]);
test.after(async () => {
  await server[Symbol.asyncDispose]();
  await kafka[Symbol.asyncDispose]();
});

const COUNTERS = ['c1', 'c2', 'c3', 'c4', 'c5'];
const SCHEMA = COUNTERS.map(
  (name) => `create table ${name} (id int primary key, v int); insert into ${name} values (1, 0), (2, 0);`,
).join('\n');

type Load = { stop(): Promise<void> };

/** The stage, with load on the oracle's table and counters whose every version is known. */
const setWorkers = async () => {
  const stage = await setStage(server, { schema: SCHEMA, topic: kafka.topic() });
  const client = new pg.Client({ connectionString: stage.url });
  await client.connect();
  await installOracle(client);
  let counted = 0;
  const loads = new Set<Load>();
  const failed: string[] = [];
  const startLoad = (seed: number): Load => {
    const over = new AbortController();
    const options = { seed, keys: 40, truncates: true, keyChanges: true, pauseMs: 20 };
    const load = runWorkload([client], options, over.signal);
    const stop = async (): Promise<void> => {
      over.abort();
      loads.delete(made);
      await load;
    };
    const made = { stop };
    loads.add(made);
    return made;
  };
  /** One more version of every row of the counters. */
  const count = async (): Promise<number> => {
    const next = counted + 1;
    await stage.sql(COUNTERS.map((name) => `update ${name} set v = ${next}`).join(';'));
    counted = next;
    return next;
  };
  /** Every table has come to the newest version. */
  const isCounted = async (version: number): Promise<boolean> => {
    assert.deepEqual(failed, [], 'a worker failed');
    for (const name of COUNTERS) {
      const { rows } = await readTable(stage.tables, name).catch(() => ({ rows: [] }));
      if (!rows.some(({ v }) => Number(v) >= version)) return false;
    }
    return true;
  };
  const seeCounted = async (): Promise<void> => {
    const version = await count();
    await until(() => isCounted(version));
  };
  const assertWhole = async (since: bigint): Promise<void> => {
    await stage.pipeline.run(UNTIL);
    for (const name of COUNTERS) {
      const { rows } = await readTable(stage.tables, name);
      for (const id of ['1', '2']) {
        const versions = rows.filter((row) => String(row.id) === id).map(({ v }) => Number(v));
        assert.deepEqual(
          versions,
          Array.from({ length: counted + 1 }, (_, at) => at),
          name,
        );
      }
    }
    compareWithOracle(await askOracle(client), await readLedger(stage.tables), { since });
  };
  const startWorker = (): Running => {
    const worker = stage.pipeline.start(RUN);
    void worker.finished.then(({ code, stderr }) => {
      if (code !== 0 && code !== null) failed.push(stderr.slice(-3000));
    });
    return worker;
  };
  const dispose = async (): Promise<void> => {
    for (const load of loads) await load.stop();
    await client.end();
    await stage[Symbol.asyncDispose]();
  };
  return {
    client,
    startWorker,
    startLoad,
    count,
    isCounted,
    seeCounted,
    assertWhole,
    [Symbol.asyncDispose]: dispose,
  };
};

const end = async (worker: Running): Promise<void> => {
  worker.kill('SIGTERM');
  const { code, stderr } = await worker.finished;
  assert.equal(code, 0, stderr.slice(-3000));
};

test('workers come and go every two seconds, one hangs: every table goes on', {
  timeout: 400_000,
}, async () => {
  await using work = await setWorkers();
  const steady = [work.startWorker(), work.startWorker()];
  await until(() => work.isCounted(0));
  const since = await auditMoment(work.client);
  const load = work.startLoad(1);
  const guests: Running[] = [];
  const rounds = atLevel({ test: 2, all: 6, deep: 40 });
  for (let round = 0; round < rounds; round++) {
    guests.push(work.startWorker());
    await sleep(2000);
    const [oldest] = guests;
    if (guests.length > 2 && oldest !== undefined) await end(guests.shift() ?? oldest);
    // As a machine that swaps: its share is free when its session is over, and nothing of it is wrong later.
    if (round === 2) steady[1]?.kill('SIGSTOP');
    const version = await work.count();
    if (round === 4) steady[1]?.kill('SIGCONT');
    if (round % 2 === 1) await until(() => work.isCounted(version));
  }
  await load.stop();
  for (const worker of [...steady, ...guests]) {
    assert.equal(worker.child.exitCode, null);
    worker.kill('SIGCONT');
    await end(worker);
  }
  await work.assertWhole(since);
});

test('the one that captures is killed, and another hangs: a third takes over, and who comes back waits', {
  timeout: 400_000,
}, async () => {
  await using work = await setWorkers();
  const first = work.startWorker();
  await first.saw(/"msg":"streaming"/);
  const since = await auditMoment(work.client);
  const load = work.startLoad(2);
  const second = work.startWorker();
  await second.saw(/"kind":"log_busy"/);
  await work.seeCounted();
  first.kill('SIGKILL');
  await second.saw(/"msg":"streaming"/);
  await work.seeCounted();
  const third = work.startWorker();
  await third.saw(/"kind":"log_busy"/);
  second.kill('SIGSTOP');
  await third.saw(/"msg":"streaming"/);
  await work.seeCounted();
  second.kill('SIGCONT');
  await work.seeCounted();
  assert.equal(second.child.exitCode, null);
  third.kill('SIGKILL');
  await third.finished;
  await work.seeCounted();
  await load.stop();
  await end(second);
  await work.assertWhole(since);
});

test('the brokers die and come back while there are workers', { timeout: 400_000 }, async () => {
  await using work = await setWorkers();
  const workers = [work.startWorker(), work.startWorker(), work.startWorker()];
  await until(() => work.isCounted(0));
  const since = await auditMoment(work.client);
  const load = work.startLoad(3);
  await work.seeCounted();
  await kafka.kafka.kill();
  await sleep(atLevel({ test: 1000, all: 20_000, deep: 60_000 }));
  await kafka.kafka.restart();
  await work.seeCounted();
  await load.stop();
  for (const worker of workers) await end(worker);
  await work.assertWhole(since);
});
