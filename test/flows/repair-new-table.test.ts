// A table that appears later is read by the next start, beside a log that goes on: the others are left alone,
// and a kill in the middle of reading costs nothing but time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const LATER = `create table later (id int primary key, v text);
  alter table later alter v set storage external;
  insert into later select g, repeat(md5(g::text), 90) from generate_series(1, 14000) g`;

const recordsOf = async (stage: Stage, table: string): Promise<number> => {
  const { tables } = await statusOf(stage.pipeline);
  const found = (tables as { table: string; end: number }[]).find((one) => one.table === `public.${table}`);
  return found?.end ?? 0;
};

test('a table that appears later is published and read; the old ones are not read again', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql('create table later (id int primary key, v text)');
  await stage.sql(
    "insert into later values (1, 'one'), (2, 'two'); update items set v = 'changed' where id = 1",
  );
  const before = await recordsOf(stage, 'items');
  const scans = `select seq_scan + coalesce(idx_scan, 0) as scans
    from pg_stat_user_tables where relname = 'items'`;
  await stage.sql('select pg_stat_force_next_flush()');
  const [{ scans: scansBefore } = {}] = await stage.sql(scans);
  await stage.pipeline.run(UNTIL);
  const [{ scans: scansAfter } = {}] = await stage.sql(scans);
  assert.equal(scansAfter, scansBefore, 'items was read again');
  assert.equal(await recordsOf(stage, 'items'), before + 1);
  const published = await stage.sql(
    `select tablename::text as name from pg_publication_tables where pubname = '${stage.slot}' order by 1`,
  );
  assert.deepEqual(
    published.map(({ name }) => name),
    ['items', 'later'],
  );
  await assertSameRows(stage);
  await assertSameRows(stage, 'later');
  const { rows } = await readTable(stage.tables, 'later');
  assert.deepEqual(
    rows.map(({ _op }) => _op),
    ['r', 'r'],
  );
  await stage.sql("update later set v = 'two again' where id = 2; insert into later values (3, 'three')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage, 'later');
});

test('killed while reading it, with rows gone meanwhile: their deletion stands in the log', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql(LATER);
  // Two writes may be under way; by the fourth one at least one is durable.
  const killed = await stage.pipeline.start(RUN, { VARVE_CRASH_AT: 'snapshot.rows:after:4' }).finished;
  assert.equal(killed.signal, 'SIGKILL', killed.stderr);
  const part = await recordsAfterKill(stage);
  assert.ok(part > 0 && part < 14_000, `${part} rows were out`);
  await stage.sql("delete from later where id <= 1000; update items set v = 'meanwhile' where id = 2");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  await assertSameRows(stage, 'later');
  await assertClosedBy(stage, 'd');
  const slots = await stage.sql(
    `select slot_name::text as name from pg_replication_slots where database = '${stage.name}'`,
  );
  assert.deepEqual(slots, [{ name: stage.slot }], 'a slot was left behind');
});

test('killed in the very first reading, with rows gone meanwhile: the sweep closes them', async () => {
  await using stage = await setStage(server, { schema: LATER });
  const killed = await stage.pipeline.start(RUN, { VARVE_CRASH_AT: 'snapshot.rows:after:4' }).finished;
  assert.equal(killed.signal, 'SIGKILL', killed.stderr);
  const part = await recordsAfterKill(stage);
  assert.ok(part > 0 && part < 14_000, `${part} rows were out`);
  await stage.sql('delete from later where id <= 1000');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage, 'later');
  await assertClosedBy(stage, 's');
});

/** Rows that were published before the kill and are gone. */
const assertClosedBy = async (stage: Stage, reason: string): Promise<void> => {
  const { rows } = await readTable(stage.tables, 'later');
  const gone = rows.filter(({ id }) => Number(id) <= 1000);
  assert.ok(gone.length > 0, 'none of the rows that went had been published');
  assert.deepEqual([...new Set(gone.map(({ _closed_by }) => _closed_by))], [reason]);
};

/** The process was killed: `status` says so, with code 1. */
const recordsAfterKill = async (stage: Stage): Promise<number> => {
  const { state, tables } = await statusOf(stage.pipeline, 1);
  assert.equal(state, 'killed');
  return (tables as { table: string; end: number }[]).find(({ table }) => table === 'public.later')?.end ?? 0;
};
