// Killed again and again at every stage of its life: what a start makes in the source, in the topic and on
// disk is there once in the end, however often it was begun; and the next start is not held up.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

/** In the order of a life, and how often in a row; the fourth is passed once only. */
const POINTS = [
  ['begin.log_opened:after', 3],
  ['snapshot.markers:before', 3],
  ['begin.checkpoint:before', 3],
  ['begin.checkpoint:after', 1],
  ['topic.write:after', 2],
  ['source.confirm:after', 2],
  ['table.merge:after', 2],
  ['table.commit:before', 2],
  ['table.commit:after', 2],
] as const;

const assertOneOfEach = async (stage: Stage): Promise<void> => {
  const { sql, slot, name, pipeline, tables } = stage;
  const made = await sql(`select 'slot' as what, slot_name::text as name from pg_replication_slots
      where database = '${name}'
    union all select 'publication', pubname::text from pg_publication order by 1`);
  assert.deepEqual(made, [
    { what: 'publication', name: slot },
    { what: 'slot', name: slot },
  ]);
  const left = `select 1 from pg_stat_activity where application_name = '${slot}'`;
  await until(async () => (await sql(left)).length === 0);
  const feed = await openEmbeddedFeed({ path: join(pipeline.directory, 'topic') });
  const topics = await feed.topics();
  await feed.close();
  assert.deepEqual(topics, [`${name}.public.items`]);
  // Files of a commit that was cut short go after their days of grace, like any orphan.
  const scratch = (await readdir(tables)).filter((path) => path.startsWith('.varve-scratch'));
  for (const folder of scratch)
    assert.deepEqual(await readdir(join(tables, folder)), [], 'files of killed processes were left behind');
};

test('killed twenty times, at one point of its life after the other: one of everything is left', async () => {
  await using stage = await setStage(server);
  let kills = 0;
  for (const [point, times] of POINTS) {
    for (let time = 0; time < times; time++) {
      await stage.sql(`insert into items values (${1000 + kills}, '${point}');
        update items set v = v || '.' where id < 5`);
      const { signal, stderr } = await stage.pipeline.start(RUN, { VARVE_CRASH_AT: point }).finished;
      assert.equal(signal, 'SIGKILL', `${point} was not reached: ${stderr}`);
      assert.equal((await statusOf(stage.pipeline, 1)).state, 'killed');
      kills++;
    }
  }
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  await assertOneOfEach(stage);
});

test('killed while the server still makes the slot: the next start takes over when it can', async () => {
  await using stage = await setStage(server);
  const open = await server.connect();
  // A transaction of any database is waited for.
  await open.query('begin; select pg_current_xact_id()');
  const maker = `select active_pid as pid from pg_replication_slots where slot_name = '${stage.slot}'`;
  let before: unknown;
  for (let start = 0; start < 3; start++) {
    const running = stage.pipeline.start(RUN);
    let now: unknown;
    // The one of the start before, which still waits for a client that is gone, is ended by this start.
    await until(async () => {
      now = (await stage.sql(maker))[0]?.pid ?? undefined;
      return now !== undefined && now !== before;
    });
    before = now;
    running.kill('SIGKILL');
    await running.finished;
  }
  await open.query('commit');
  await stage.pipeline.run(UNTIL);
  await stage.sql("insert into items values (500, 'after all')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const slots = await stage.sql(
    `select slot_name::text as name from pg_replication_slots where database = '${stage.name}'`,
  );
  assert.deepEqual(slots, [{ name: stage.slot }]);
});
