// A line of 50 kB/s, half a second long each way: snapshot and stream get through it, and it is not taken
// for a dead one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, setStage } from '../support/stage.ts';
import { startProxy } from '../support/tcp-proxy.ts';

test('a slow and long line brings everything, without one new connection', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text);
      insert into items select g, md5(g::text) from generate_series(1, 3000) g`,
  });
  const proxy = await startProxy(server.port, { bytesPerTick: 2_500, tickMs: 50, delayMs: 500 });
  await amend(stage.pipeline, `:${server.port}/`, `:${proxy.port}/`);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  for (let at = 10_000; at < 13_000; at += 1000)
    await stage.sql(`insert into items select g, md5(g::text) from generate_series(${at}, ${at + 999}) g;
      update items set v = v || '.' where id between ${at} and ${at + 99}`);
  await stage.sql("insert into items values (500000, 'the last one')");
  await until(() => isFolded(stage, 500_000));
  await assertSameRows(stage);
  running.kill('SIGTERM');
  const end = await running.finished;
  assert.equal(end.code, 0);
  assert.doesNotMatch(end.stderr, /"kind":/, 'something was tried again');
  proxy.close();
});
