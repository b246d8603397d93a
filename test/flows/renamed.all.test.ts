// Tables whose names move: no history is continued under a name that belongs to another table now.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertRefuses, assertSameRows, readCurrent, setStage, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const TWO = `create table items (id int primary key, v text); insert into items values (1, 'item');
  create table other (id int primary key, v text); insert into other values (1, 'other')`;
const READ_AGAIN = ['snapshot', 'pipeline.yaml', '--all'];

test('two tables swap their names, as a migration does: both stop, and are read again', async () => {
  await using stage = await setStage(server, { schema: TWO });
  await stage.pipeline.run(UNTIL);
  await stage.sql(`begin; alter table items rename to aside; alter table other rename to items;
    alter table aside rename to other; commit; update items set v = 'was other'`);
  await assertRefuses(stage, { kind: 'table_stale', says: [/public\.(items|other)/, /made again/] });
  await stage.pipeline.run(READ_AGAIN);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage, 'items');
  await assertSameRows(stage, 'other');
});

test('a table under a new name is read under it; under the old one nothing is made up', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const before = await readCurrent(stage);
  await stage.sql("alter table items rename to things; insert into things values (500, 'new name')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage, 'things');
  assert.deepEqual(await readCurrent(stage), before);
});
