// From the snapshot to the stream, and never back: once the tables are read the pipeline needs no right to
// read them, whatever ends it; and what is committed but not visible yet is not lost in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFolded, until, untilBy } from '../support/polling.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, setStage, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

test('without the right to read the tables it streams on, over a kill and a clean end', async () => {
  await using stage = await setStage(server);
  const role = `reader_${stage.name}`;
  await stage.sql(`create role ${role} login replication password 'reader';
    grant usage on schema public to ${role}; grant select on items to ${role};
    create publication ${stage.slot} for table only items`);
  const url = new URL(stage.url);
  url.username = role;
  url.password = 'reader';
  await amend(stage.pipeline, stage.url, url.href);
  await amend(stage.pipeline, '  tables:', '  publication: { create: never }\n  tables:');
  await stage.pipeline.run(UNTIL);
  await stage.sql(`revoke select on items from ${role}`);
  await stage.sql("update items set v = 'unreadable' where id = 3; delete from items where id = 4");
  const running = stage.pipeline.start(RUN);
  await stage.sql("insert into items values (500, 'seen')");
  await until(() => isFolded(stage, 500));
  running.kill('SIGKILL');
  await running.finished;
  await stage.sql("insert into items values (501, 'after the kill')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const { rows } = await readTable(stage.tables, 'items');
  assert.equal(rows.filter(({ _op }) => _op === 'r').length, 20, 'rows were read again');
});

const WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'";

/** From now on commits wait for a standby that never comes: seen by one that does, and is let go. */
const holdCommits = async (own: TestPostgres): Promise<void> => {
  await own.query("alter system set synchronous_standby_names = 'nobody'");
  await own.query('select pg_reload_conf()');
  await until(async () => {
    // The server hears of it a little later, and till then a commit does not wait.
    let isOver = false;
    const probe = own.query("select pg_logical_emit_message(true, 'probe', '')").finally(() => {
      isOver = true;
    });
    await until(async () => isOver || (await own.query(WAITING)).length === 1);
    const waits = !isOver;
    if (waits) await own.query(`select pg_cancel_backend(pid) from (${WAITING}) as waiting`);
    await probe;
    return waits;
  });
};

const releaseCommits = async (own: TestPostgres): Promise<void> => {
  await own.query("alter system set synchronous_standby_names = ''");
  await own.query('select pg_reload_conf()');
};

// With synchronous replication a transaction is in the log, and committed, before anybody may see it.
test('what is committed but still waits for its standby is neither lost nor undone', async () => {
  await using own = await startPostgres({ major: 17 });
  await using stage = await setStage(own);
  // Made beforehand, because Varve's own commit would wait like any other.
  await stage.sql(`create publication ${stage.slot} for table only items`);
  await amend(stage.pipeline, '  tables:', '  publication: { create: never }\n  tables:');
  await holdCommits(own);
  const change = stage.sql(
    "update items set v = 'late' where id = 1; insert into items values (100, 'late')",
  );
  await until(async () => (await own.query(WAITING)).length === 1);
  const running = stage.pipeline.start(RUN);
  const made = `select 1 from pg_replication_slots where slot_name = '${stage.slot}'`;
  const local = 'set synchronous_commit = local;';
  await untilBy(running, async () => (await own.query(made)).length === 1);
  // The slot waits for the transaction that waits; changes of others, local ones, come meanwhile.
  await stage.sql(`${local} update items set v = 'local' where id = 2`);
  await stage.sql(`${local} delete from items where id = 3`);
  await releaseCommits(own);
  await change;
  await running.saw(/"msg":"streaming"/);
  await holdCommits(own);
  await stage.sql(`${local} create table later (id int primary key, v text)`);
  await stage.sql(`${local} alter publication ${stage.slot} add table only later`);
  await stage.sql(`${local} insert into later values (1, 'one'), (2, 'two')`);
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  const second = stage.sql(
    "update later set v = 'late' where id = 1; update items set v = 'late' where id = 5",
  );
  await until(async () => (await own.query(WAITING)).length >= 1);
  const more = stage.pipeline.start(UNTIL);
  const beside = `select 1 from pg_replication_slots where slot_name like '${stage.slot}_more_%'`;
  await untilBy(more, async () => (await own.query(beside)).length === 1);
  await releaseCommits(own);
  await second;
  assert.equal((await more.finished).code, 0);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  await assertSameRows(stage, 'later');
});
