// How a pipeline ends: signals, once and twice, and a merge engine that is killed under it. Whatever happens,
// the next run completes the table.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, readCurrent, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;

/** Changes rows until told to stop, at least once more after the load is seen to work. */
const load = (stage: Stage, stop: AbortSignal): Promise<void> =>
  (async () => {
    for (let at = 1000; !stop.aborted; at += 100) {
      await stage.sql(`insert into items select g, 'load ' || g from generate_series(${at}, ${at + 99}) g;
        update items set v = v || '.' where id % 7 = 0; delete from items where id % 11 = 3`);
    }
  })();

const isFolded = async (stage: Stage, id: number): Promise<boolean> =>
  (await readCurrent(stage).catch(() => [])).some(([found]) => found === String(id));

/** Polls, because the table is written by another process. */
const until = async (what: () => Promise<boolean>): Promise<void> => {
  while (!(await what())) await sleep(50);
};

test('a signal under load drains and exits 0, and the next run completes the table', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  const stop = new AbortController();
  const loading = load(stage, stop.signal);
  await until(() => isFolded(stage, 1001));
  running.kill('SIGTERM');
  const end = await running.finished;
  stop.abort();
  await loading;
  assert.deepEqual([end.code, end.signal], [0, null], end.stderr);
  const { state, reason, tables } = await statusOf(stage.pipeline);
  assert.deepEqual([state, reason], ['stopped', null]);
  const [items] = tables as { waiting: number }[];
  assert.equal(items?.waiting, 0, 'what was captured was not folded before the end');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('a second signal ends it at once, and nothing is lost', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  await stage.sql("insert into items select g, 'many' from generate_series(1000, 30000) g");
  running.kill('SIGTERM');
  running.kill('SIGINT');
  assert.equal((await running.finished).code, 130);
  assert.equal((await statusOf(stage.pipeline, 1)).state, 'killed');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

/** Process ids of the children of a process, as the kernel has them. */
const childrenOf = async (parent: number): Promise<number[]> => {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // Fields after the name, which stands in brackets: state, parent, ..
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) found.push(Number(name));
  }
  return found;
};

test('the merge engine is killed again and again: it is tried again, and the table is right', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  const stop = new AbortController();
  const loading = load(stage, stop.signal);
  const retried = running.saw(/"kind":"engine_failed"/);
  let isRetried = false;
  void retried.then(() => (isRetried = true));
  for (let kills = 0; kills < 3 || !isRetried; ) {
    for (const pid of await childrenOf(running.child.pid ?? 0)) {
      process.kill(pid, 'SIGKILL');
      kills++;
    }
    await sleep(100);
  }
  stop.abort();
  await loading;
  await stage.sql("insert into items values (500, 'the last one')");
  await until(() => isFolded(stage, 500));
  const { state } = await statusOf(stage.pipeline);
  assert.equal(state, 'running', 'a trouble that is over is still told');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});
