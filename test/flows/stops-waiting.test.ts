// What stands in the way of a pipeline: a lock, a log that somebody else reads, a server that is away. It
// says who it is, waits where waiting helps, and disturbs nobody.
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { startPostgres } from '../support/postgres.ts';
import {
  amend,
  assertSameRows,
  RUN,
  readCurrent,
  type Stage,
  setStage,
  statusOf,
  UNTIL,
} from '../support/stage.ts';
import { makePipeline, type Running } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;

const isFolded = async (stage: Stage, id: number): Promise<boolean> =>
  (await readCurrent(stage).catch(() => [])).some(([found]) => found === String(id));

/** Polls, because the table is written by another process. */
const until = async (what: () => Promise<boolean>): Promise<void> => {
  while (!(await what())) await sleep(50);
};

test('a second process on the same directory is refused, and names the first', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  const commands = [
    RUN,
    ['snapshot', 'pipeline.yaml', '--all'],
    ['resume', 'pipeline.yaml', '--accept-gap'],
    ['reset', 'pipeline.yaml', '--yes'],
  ];
  for (const command of commands) {
    const { stdout, stderr } = await stage.pipeline.run([...command, '--json'], 1);
    assert.equal(JSON.parse(stdout).error, 'state_locked', stderr);
    assert.ok(stdout.includes(`process ${running.child.pid}`), stdout);
  }
  const { state, pid } = await statusOf(stage.pipeline);
  assert.deepEqual([state, pid], ['running', running.child.pid]);
  await stage.sql("insert into items values (500, 'it goes on')");
  await until(() => isFolded(stage, 500));
});

test('a copy of the pipeline elsewhere never takes the log from the one that reads it', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await using copy = await makePipeline({ name: stage.name, url: stage.url });
  await cp(join(stage.pipeline.directory, 'topic'), join(copy.directory, 'topic'), { recursive: true });
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  await stage.sql("insert into items values (500, 'before')");
  await until(() => isFolded(stage, 500));
  // The first has moved on, so that the copy has a gap; had it not, it would wait.
  const { stdout } = await copy.run([...RUN, '--json'], 1);
  assert.match(JSON.parse(stdout).error, /^(history_gap|log_busy)$/);
  await stage.sql("insert into items values (501, 'after')");
  await until(() => isFolded(stage, 501));
  assert.equal(running.child.exitCode, null);
  assert.doesNotMatch(await stopAndRead(running), /source_|log_/, 'the first one was disturbed');
});

const stopAndRead = async (running: Running): Promise<string> => {
  running.kill('SIGTERM');
  return (await running.finished).stderr;
};

test('a log that somebody else reads is waited for; the log and the status say who it is', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const reader = new LogicalReplicationService(
    { connectionString: stage.url, application_name: 'somebody' },
    { acknowledge: { auto: false, timeoutSeconds: 0 } },
  );
  reader.on('error', () => undefined);
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [stage.slot] });
  const reading = reader.subscribe(plugin, stage.slot);
  const holder = `select active_pid as pid from pg_replication_slots where slot_name = '${stage.slot}'`;
  await until(async () => (await stage.sql(holder))[0]?.pid !== null);
  const pid = Number((await stage.sql(holder))[0]?.pid);
  const running = stage.pipeline.start(UNTIL);
  await running.saw(/"kind":"log_busy"/);
  const { state, reason, sentence } = await statusOf(stage.pipeline);
  assert.deepEqual([state, reason], ['retrying', 'log_busy']);
  assert.ok(String(sentence).includes(`process ${pid} (somebody, from 127.0.0.1)`), String(sentence));
  assert.equal((await stage.sql(holder))[0]?.pid, pid, 'the reader was disturbed');
  await reader.stop();
  await reading.catch(() => undefined);
  await stage.sql("insert into items values (500, 'its turn')");
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('a server that restarts is waited for', async () => {
  await using own = await startPostgres({ major: 17 });
  await using stage = await setStage(own);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  await own.stop('fast');
  await running.saw(/"kind":"source_unreachable"/);
  const { state, reason } = await statusOf(stage.pipeline);
  assert.deepEqual([state, reason], ['retrying', 'source_unreachable']);
  await own.start();
  await stage.sql("insert into items values (500, 'back again')");
  await until(() => isFolded(stage, 500));
  assert.equal((await statusOf(stage.pipeline)).state, 'running');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
});

test('two pipelines in one process: one fails and says so at once, the other goes on', async () => {
  await using stage = await setStage(server);
  await using broken = await setStage(server);
  await broken.pipeline.run(UNTIL);
  await broken.sql(`select pg_drop_replication_slot('${broken.slot}')`);
  await amend(stage.pipeline, 'name:', '# The first of two.\nname:');
  const running = stage.pipeline.start([...RUN, broken.pipeline.file]);
  await running.saw(new RegExp(`^${broken.name}: The slot ${broken.slot} does not exist`, 'm'));
  await running.saw(streaming);
  await stage.sql("insert into items values (500, 'goes on')");
  await until(() => isFolded(stage, 500));
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 1);
});
