// A table that the publication loses while the pipeline runs is noticed within seconds, though nothing comes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertMended, RUN, setStage, statusOf } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

test('taken out while it runs: it stops at the next look, and is mended the same way', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await stage.sql(
    `alter publication ${stage.slot} drop table items; insert into items values (501, 'unheard')`,
  );
  const end = await running.finished;
  assert.equal(end.code, 1, end.stderr);
  assert.match(end.stderr, /public\.items changed without events.*does not contain the table/);
  assert.equal((await statusOf(stage.pipeline, 1)).reason, 'table_stale');
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', 'public.items']);
  await assertMended(stage);
});
