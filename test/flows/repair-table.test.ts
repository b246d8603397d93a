// Rows that changed without events, and keys that changed, stop the pipeline with the table's name and the
// command that mends it; the table then equals the source again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import {
  amend,
  assertMended,
  assertRefuses,
  assertSameRows,
  RUN,
  readCurrent,
  setStage,
  statusOf,
  UNTIL,
} from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

/** Every row is another one afterwards, and the log says nothing of it. */
const REWRITE = `alter table items alter v type varchar(40) using 'rewritten ' || id`;
const READ_AGAIN = ['snapshot', 'pipeline.yaml', 'public.items'];

test('a table rewritten while the pipeline is down: table_stale, until it is read again', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const before = await readCurrent(stage);
  await stage.sql(REWRITE);
  const refusal = {
    kind: 'table_stale',
    says: ['public.items', 'column v', /varve snapshot \S+ public\.items/],
  } as const;
  await assertRefuses(stage, refusal);
  // It stays so, also for the next start.
  await assertRefuses(stage, refusal);
  assert.deepEqual(await readCurrent(stage), before);
  await stage.pipeline.run(READ_AGAIN);
  assert.equal((await statusOf(stage.pipeline)).state, 'stopped');
  await assertMended(stage);
  const { rows } = await readTable(stage.tables, 'items');
  assert.deepEqual(
    rows.filter(({ id }) => id === '1').map(({ v, _closed_by, _op }) => [v, _closed_by, _op]),
    [
      ['first 1', 'u', 'r'],
      ['rewritten 1', null, 'r'],
    ],
  );
});

test('a table rewritten while it runs: it stops at the next look, and is mended the same way', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await stage.sql(REWRITE);
  // The next row describes the table anew, which is when it is looked at.
  await stage.sql("update items set v = 'touched' where id = 1");
  const end = await running.finished;
  assert.equal(end.code, 1, end.stderr);
  assert.match(end.stderr, /public\.items changed without events/);
  const { reason, sentence } = await statusOf(stage.pipeline, 1);
  assert.equal(reason, 'table_stale');
  assert.match(String(sentence), /varve snapshot \S+ public\.items/);
  await stage.pipeline.run(READ_AGAIN);
  await assertMended(stage);
});

test('on_rewrite: ignore goes on, and says so', async () => {
  await using stage = await setStage(server, { tables: '["public.*"]\n  on_rewrite: ignore' });
  await stage.pipeline.run(UNTIL);
  await stage.sql(REWRITE);
  await stage.sql("update items set v = 'touched' where id = 1");
  const { stderr } = await stage.pipeline.run(UNTIL);
  assert.match(stderr, /public\.items changed without events/);
  const known = new Map((await readCurrent(stage)).map(([id = null, v]) => [id, v]));
  assert.equal(known.get('1'), 'touched');
  assert.equal(known.get('2'), 'first 2', 'what was not sent is not made up');
  await stage.pipeline.run(READ_AGAIN);
  await assertMended(stage);
});

test('another primary key: key_changed, and the table begins anew beside the old one', async () => {
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text not null);
      insert into items select g, 'first ' || g from generate_series(1, 20) g`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql('alter table items drop constraint items_pkey; alter table items add primary key (v)');
  await stage.sql("insert into items values (21, 'under the new key')");
  await assertRefuses(stage, { kind: 'key_changed', says: ['items', '(id)', '(v)', /varve reset \S+/] });
  await stage.pipeline.run(['reset', 'pipeline.yaml', '--yes']);
  await amend(stage.pipeline, 'location: ./tables', 'location: ./tables2');
  const moved = { ...stage, tables: `${stage.tables}2` };
  await assertMended(moved);
  await assertSameRows(moved);
});
