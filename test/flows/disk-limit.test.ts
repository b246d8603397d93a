// A topic whose file may not grow, and then may: the pipeline says so, keeps what is durable, and goes on by
// itself, without a gap.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitProcess } from '../support/limits.ts';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

test('a topic that cannot grow is tried again, and goes on once it can', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  const pid = running.child.pid ?? 0;
  await limitProcess(pid, 'fsize', 200_000);
  for (let at = 100; at < 160; at++)
    await stage.sql(`insert into items select ${at}, string_agg(md5((${at} * 100 + g)::text), '')
      from generate_series(1, 100) g; update items set v = v || '.' where id = 1`);
  await running.saw(/"kind":"disk_full"/);
  await limitProcess(pid, 'fsize', 'unlimited');
  await stage.sql("insert into items values (500, 'the last one')");
  await until(() => isFolded(stage, 500));
  assert.equal((await statusOf(stage.pipeline)).state, 'running', 'a trouble that is over is still told');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const { rows } = await readTable(stage.tables, 'items');
  const versions = rows.filter(({ id }) => id === '1');
  assert.equal(versions.length, 61, 'an update is missing, or there twice');
});
