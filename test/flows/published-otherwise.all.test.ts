// A table that the publication loses: its rows would go missing without a word. The pipeline stops with the
// table's name, and a snapshot of the table mends it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertMended, assertRefuses, readCurrent, type Stage, setStage, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const READ_AGAIN = ['snapshot', 'pipeline.yaml', 'public.items'];
const takeOut = ({ slot }: Stage): string => `alter publication ${slot} drop table items;`;

/** Each while the pipeline is down; a row is written that the log never tells. */
const LOSSES: [what: string, sql: (stage: Stage) => string, says: RegExp][] = [
  [
    'taken out',
    (stage) => `${takeOut(stage)} insert into items values (501, 'unheard')`,
    /does not contain the table any more/,
  ],
  [
    'taken out and put in again',
    (stage) =>
      `${takeOut(stage)} insert into items values (501, 'unheard');
       alter publication ${stage.slot} add table only items`,
    /put into it again/,
  ],
  [
    'without deletes',
    ({ slot }) => `alter publication ${slot} set (publish = 'insert, update, truncate');
      delete from items where id = 7; alter publication ${slot} set (publish_via_partition_root = true)`,
    /published otherwise/,
  ],
];

for (const [what, sql, says] of LOSSES) {
  test(`${what} while the pipeline is down: table_stale, until it is read again`, async () => {
    await using stage = await setStage(server);
    await stage.pipeline.run(UNTIL);
    await stage.sql(sql(stage));
    await assertRefuses(stage, { kind: 'table_stale', says: ['public.items', says] });
    await stage.sql(`alter publication ${stage.slot} set (publish = 'insert, update, delete, truncate')`);
    await stage.pipeline.run(READ_AGAIN);
    await assertMended(stage);
  });
}

test('what changes the publication and no table of ours is no alarm', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql(`create table other (id int primary key);
    alter publication ${stage.slot} add table other;
    alter publication ${stage.slot} set table only items, only other;
    comment on publication ${stage.slot} is 'somebody wrote here'`);
  await stage.sql("insert into items values (501, 'heard')");
  await stage.pipeline.run(UNTIL);
  assert.ok((await readCurrent(stage)).some(([id]) => id === '501'));
});
