// A table that takes nothing, a heap that is small, an event loop that stands still: the source is made to
// wait, memory stays flat, and everything comes in the end.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { measureTable } from '../support/table-rows.ts';
import { upsetBy } from '../support/upset.ts';
import type { Running } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const TRANSACTIONS = 60;
const ROWS = 5000;
const MAX_MEMORY_MB = 512;

/** Megabytes that a process has now. */
const memoryMb = async (pid: number): Promise<number> =>
  Number(/^VmRSS:\s+([0-9]+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

const childrenOf = async (pid: number): Promise<number[]> => {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
};

/** Values that hardly compress: in all several times what the topic may hold. */
const load = async ({ sql }: Stage): Promise<void> => {
  for (let at = 1; at <= TRANSACTIONS; at++)
    await sql(`insert into items select ${at} * 100000 + g,
      (select string_agg(md5((g * ${at} + n)::text), '') from generate_series(1, 4) n)
      from generate_series(1, ${ROWS}) g`);
};

const endWell = async (stage: Stage, running: Running): Promise<void> => {
  running.kill('SIGTERM');
  const { code, stderr } = await running.finished;
  assert.equal(code, 0, stderr);
  await stage.pipeline.run(UNTIL);
};

test('a table that takes nothing: the source waits, memory stays flat, and it goes on', async (t) => {
  await using stage = await setStage(server);
  await amend(stage.pipeline, 'path: ./topic', 'path: ./topic\n  retention_gb: 0.004');
  const running = stage.pipeline.start(RUN, { NODE_OPTIONS: '--max-old-space-size=256' });
  const pid = running.child.pid ?? 0;
  await running.saw(/"msg":"streaming"/);
  await until(() => isFolded(stage, 20));
  const engines = await childrenOf(pid);
  assert.ok(engines.length > 0, 'no merge engine to stop');
  for (const engine of engines) process.kill(engine, 'SIGSTOP');
  await load(stage);
  await running.saw(/the topic is full/);
  const confirmed = async (): Promise<unknown> =>
    (
      await stage.sql(`select confirmed_flush_lsn::text as at from pg_replication_slots
      where slot_name = '${stage.slot}'`)
    )[0]?.at;
  const before = await confirmed();
  let most = 0;
  for (let look = 0; look < 20; look++) {
    most = Math.max(most, await memoryMb(pid));
    await sleep(250);
  }
  assert.equal(await confirmed(), before, 'the source was told of what the topic did not take');
  t.diagnostic(`${Math.round(most)} MB while it waited`);
  assert.ok(most <= MAX_MEMORY_MB, `the process took ${most} MB`);
  for (const engine of engines) process.kill(engine, 'SIGCONT');
  await stage.sql("insert into items values (500, 'the last one')");
  await until(
    async () => (await measureTable(stage.tables, 'items', ['count(*) filter (id = 500)']))[0] === '1',
  );
  await endWell(stage, running);
  const counts = await measureTable(stage.tables, 'items', ['count(*)', 'count(distinct id)']);
  const all = String(20 + TRANSACTIONS * ROWS + 1);
  assert.deepEqual(counts, [all, all]);
});

test('an event loop that stands still for five seconds under load loses nothing', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN, upsetBy('block:5000', 'block:5000'));
  await running.saw(/"msg":"streaming"/);
  for (const id of [501, 502]) {
    running.kill('SIGUSR2');
    await stage.sql(`insert into items select ${id} * 1000 + g, 'meanwhile' from generate_series(1, 999) g`);
    // The second time the source gives the connection up meanwhile.
    if (id === 502)
      await stage.sql(
        'select pg_terminate_backend(active_pid) from pg_replication_slots ' +
          `where slot_name = '${stage.slot}'`,
      );
    await stage.sql(`insert into items values (${id}, 'after')`);
    await until(() => isFolded(stage, id));
  }
  assert.equal((await statusOf(stage.pipeline)).state, 'running');
  await endWell(stage, running);
  await assertSameRows(stage);
});
