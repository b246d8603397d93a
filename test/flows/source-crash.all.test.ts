// The source's server crashes: in the middle of a snapshot, which begins again, and under the stream, where
// the slot that came back stands where it stood at the server's last checkpoint. Nothing is lost or doubled.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { startProxy } from '../support/tcp-proxy.ts';

const streaming = /"msg":"streaming"/;

const recordsOf = async ({ pipeline, name }: Stage): Promise<number> => {
  const feed = await openEmbeddedFeed({ path: join(pipeline.directory, 'topic') }).catch(() => null);
  const ends = await feed?.ends(`${name}.public.items`, 0).catch(() => null);
  await feed?.close();
  return Number(ends?.end ?? 0n);
};

test('in the middle of a snapshot: it begins again, with one slot', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text);
      alter table items alter v set storage external;
      insert into items select g, repeat(md5(g::text), 90) from generate_series(1, 14000) g`,
  });
  const proxy = await startProxy(server.port, { bytesPerTick: 100_000, tickMs: 20 });
  await amend(stage.pipeline, `:${server.port}/`, `:${proxy.port}/`);
  const running = stage.pipeline.start(RUN);
  await until(async () => (await recordsOf(stage)) > 0);
  await server.stop('immediate');
  await running.saw(/"kind":"source_unreachable"/);
  const part = await recordsOf(stage);
  assert.ok(part < 14_000, 'the snapshot was over before the crash');
  await server.start();
  await stage.sql("delete from items where id <= 1000; update items set v = 'meanwhile' where id > 13000");
  await running.saw(streaming);
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const slots = await stage.sql('select slot_name::text as name from pg_replication_slots');
  assert.deepEqual(slots, [{ name: stage.slot }]);
  proxy.close();
});

test('under the stream, again and again: each change is published once', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  const confirmed = `select confirmed_flush_lsn::text as lsn from pg_replication_slots
    where slot_name = '${stage.slot}'`;
  let isRewound = false;
  for (let round = 0; round < 3; round++) {
    const id = 500 + round;
    for (let at = 0; at < 20; at++) await stage.sql(`update items set v = '${round} ${at}' where id = 1`);
    await stage.sql(`insert into items values (${id}, 'before the crash')`);
    await until(() => isFolded(stage, id));
    await stage.sql(`insert into items values (${id + 100}, 'perhaps not read yet')`);
    const [before] = await stage.sql(confirmed);
    await server.stop('immediate');
    await running.saw(/"kind":"source_unreachable"/);
    await server.start();
    const [after] = await stage.sql(confirmed);
    isRewound ||= before?.lsn !== after?.lsn;
    await until(() => isFolded(stage, id + 100));
  }
  assert.ok(isRewound, 'the slot never stood elsewhere after a crash, so that nothing was shown');
  assert.equal((await statusOf(stage.pipeline)).state, 'running');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  assert.equal(await recordsOf(stage), 20 + 3 * 22, 'something was published twice, or not at all');
});
