// Replica identities and keys that change under a pipeline: what the log still tells whole goes on, what it
// does not stops by name; the source itself refuses changes that could not be told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertRefuses, assertSameRows, setStage, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

test('identity NOTHING: new rows come, the source refuses what could not be told', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql("alter table items replica identity nothing; insert into items values (501, 'new')");
  await assert.rejects(stage.sql("update items set v = 'y' where id = 1"), { code: '55000' });
  await assert.rejects(stage.sql('delete from items where id = 2'), { code: '55000' });
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  await stage.sql('alter table items replica identity default; delete from items where id = 2');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('the primary key is dropped: key_changed, with both keys', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql("alter table items drop constraint items_pkey; insert into items values (501, 'x')");
  await assertRefuses(stage, { kind: 'key_changed', says: ['items', '(id)', '(none)'] });
});

test('an index without the key becomes the identity: it is the key from now on, which is said', async () => {
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text, u int not null unique);
      insert into items values (1, 'one', 1)`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql("alter table items replica identity using index items_u_key; update items set v = 'x'");
  await assertRefuses(stage, { kind: 'key_changed', says: ['items', '(id)', '(u)'] });
});
