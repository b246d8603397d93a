// The slot goes away under a pipeline that runs: it fails with what is lost, and neither it nor any later
// start makes the slot again unasked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertMended, assertRefuses, RUN, setStage, standingOf, statusOf } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

test('a slot that is dropped while it is read: log_missing, now and at every later start', async () => {
  await using stage = await setStage(server);
  const slots = `select 1 from pg_replication_slots where slot_name = '${stage.slot}'`;
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  // In one go, or the pipeline is back on the slot before it can be dropped.
  await stage.sql(`do $$ begin
      perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${stage.slot}';
      loop
        begin
          perform pg_drop_replication_slot('${stage.slot}');
          return;
        exception when object_in_use then
          perform pg_sleep(0.005);
        end;
      end loop;
    end $$`);
  await stage.sql("insert into items values (100, 'nobody is told')");
  const end = await running.finished;
  assert.equal(end.code, 1, end.stderr);
  const { state, reason } = await statusOf(stage.pipeline, 1);
  assert.deepEqual([state, reason], ['failed', 'log_missing']);
  const { resume } = await standingOf(stage);
  for (let start = 0; start < 2; start++)
    await assertRefuses(stage, {
      kind: 'log_missing',
      says: [stage.slot, resume, /varve snapshot \S+ --all/, /varve resume \S+ --accept-gap/],
    });
  assert.deepEqual(await stage.sql(slots), [], 'the slot was made again');
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(stage);
});
