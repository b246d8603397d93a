// A connection that is open and dead: the server is gone without a word, as after a power cut or behind a
// firewall that forgot. It is found out, the pipeline goes on with a new one, and a signal ends it as ever.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, setStage, standingOf, UNTIL } from '../support/stage.ts';
import { startProxy } from '../support/tcp-proxy.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const streaming = /"msg":"streaming"/;

/** A stage whose pipeline reaches the server through a line that can die. */
const setFarStage = async (schema?: string) => {
  const stage = await setStage(server, schema === undefined ? {} : { schema });
  const proxy = await startProxy(server.port);
  await amend(stage.pipeline, `:${server.port}/`, `:${proxy.port}/`);
  return { stage, proxy };
};

test('while it streams: found dead, connected anew, nothing lost', async () => {
  const { stage, proxy } = await setFarStage();
  await using _ = stage;
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  await stage.sql("insert into items values (500, 'before')");
  await until(() => isFolded(stage, 500));
  proxy.freeze();
  await stage.sql("insert into items values (501, 'while it is dead'); delete from items where id = 500");
  await running.saw(/"kind":"source_unreachable"/);
  proxy.thaw();
  await until(() => isFolded(stage, 501));
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  proxy.close();
  await amend(stage.pipeline, `:${proxy.port}/`, `:${server.port}/`);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('a signal ends the pipeline although its connections are dead', async () => {
  const { stage, proxy } = await setFarStage();
  await using _ = stage;
  const running = stage.pipeline.start(RUN);
  await running.saw(streaming);
  await stage.sql("insert into items values (500, 'before')");
  await until(() => isFolded(stage, 500));
  proxy.freeze();
  running.kill('SIGTERM');
  const end = await running.finished;
  assert.deepEqual([end.code, end.signal], [0, null], end.stderr);
  const { state, reason } = await standingOf(stage);
  assert.deepEqual([state, reason], ['stopped', null], 'it was ended by its time limit, not by itself');
  proxy.close();
});

test('in the middle of a snapshot: found dead, read again, whole', async () => {
  const { stage, proxy } = await setFarStage(`create table items (id int primary key, v text);
    alter table items alter v set storage external;
    insert into items select g, repeat(md5(g::text), 90) from generate_series(1, 40000) g`);
  await using _ = stage;
  const running = stage.pipeline.start(RUN);
  const topic = join(stage.pipeline.directory, 'topic');
  await until(async () => {
    const feed = await openEmbeddedFeed({ path: topic }).catch(() => null);
    const end = (await feed?.ends(`${stage.name}.public.items`, 0).catch(() => null))?.end ?? 0n;
    await feed?.close();
    return end > 0n;
  });
  proxy.freeze();
  await running.saw(/"kind":"source_unreachable"/);
  proxy.thaw();
  await running.saw(streaming);
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  proxy.close();
});
