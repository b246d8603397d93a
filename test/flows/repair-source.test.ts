// Another history in the source's place, older or foreign, stops the pipeline before anything is written, and
// reading everything again in a new epoch mends it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { amend, assertMended, assertRefuses, setStage, sqlAt, standingOf, UNTIL } from '../support/stage.ts';

const run = promisify(execFile);

/** A server whose data can be put back to how they were when this was called. */
const copyServer = async (server: TestPostgres): Promise<{ restore(): Promise<void> }> => {
  const copy = `${server.dataDir}.copy`;
  await server.stop('fast');
  await run('cp', ['-a', server.dataDir, copy]);
  await server.start();
  return {
    async restore() {
      await server.stop('fast');
      await rm(server.dataDir, { recursive: true });
      await run('cp', ['-a', copy, server.dataDir]);
      await server.start();
    },
  };
};

test('a source that was restored from an older copy: source_rewound', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const copy = await copyServer(server);
  await stage.sql(`update items set v = 'never happened' where id < 5;
    insert into items values (100, 'nor did this');
    delete from items where id = 7`);
  await stage.pipeline.run(UNTIL);
  const checkpoint = (await standingOf(stage)).resume;
  await copy.restore();
  await assertRefuses(stage, {
    kind: 'source_rewound',
    says: [checkpoint, /log ends at [0-9A-F]+\/[0-9A-F]+/, /varve snapshot \S+ --all/],
  });
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(stage);
});

for (const major of [15, 18] as const)
  test(`restored, and grown past our checkpoint since, on PostgreSQL ${major}: source_rewound`, async () => {
    await using server = await startPostgres({ major });
    await using stage = await setStage(server);
    await stage.pipeline.run(UNTIL);
    const copy = await copyServer(server);
    await stage.sql("insert into items values (100, 'never happened')");
    await stage.pipeline.run(UNTIL);
    await copy.restore();
    await stage.sql(`insert into items select g, 'another history ' || g from generate_series(200, 3000) g;
      update items set v = 'later'`);
    await assertRefuses(stage, {
      kind: 'source_rewound',
      says: [/does not have the transaction that was taken last/, /varve snapshot \S+ --all/],
    });
    await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
    await assertMended(stage);
  });

test('restored to where only idle log is missing: what it did since is read', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  await stage.sql('create schema aside; create table aside.elsewhere (n int)');
  await stage.sql("insert into items values (100, 'last')");
  await stage.pipeline.run(UNTIL);
  const copy = await copyServer(server);
  await stage.sql('insert into aside.elsewhere select generate_series(1, 5000)');
  await stage.pipeline.run(UNTIL);
  const { resume } = await standingOf(stage);
  await copy.restore();
  // Before our checkpoint, which lies in log that the copy never had.
  await stage.sql("insert into items values (200, 'below the checkpoint')");
  const [{ below } = {}] = await stage.sql(`select pg_current_wal_lsn() < '${resume}'::pg_lsn as below`);
  assert.equal(below, true);
  await stage.sql('insert into aside.elsewhere select generate_series(1, 9000)');
  await stage.pipeline.run(UNTIL);
  await assertMended(stage);
});

test('a server that lost our last confirmations in a crash goes on where it was', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await stage.sql("update items set v = 'one'; update items set v = 'two'");
  await stage.pipeline.run(UNTIL);
  await server.stop('immediate');
  await server.start();
  await stage.sql("update items set v = 'three'");
  await stage.pipeline.run(UNTIL);
  await assertMended(stage);
});

test('another cluster in its place: source_changed', async () => {
  await using first = await startPostgres({ major: 17 });
  await using stage = await setStage(first);
  await stage.pipeline.run(UNTIL);
  const identity = 'select system_identifier::text as id from pg_control_system()';
  const before = String((await first.query(identity))[0]?.id);
  await using second = await startPostgres({ major: 17, freshInitdb: true });
  const now = String((await second.query(identity))[0]?.id);
  await second.query(`create database ${stage.name}`);
  const url = stage.url.replace(`:${first.port}/`, `:${second.port}/`);
  await amend(stage.pipeline, stage.url, url);
  const moved = { ...stage, url, sql: sqlAt(url) };
  await moved.sql("create table items (id int primary key, v text); insert into items values (1, 'other')");
  await assertRefuses(moved, { kind: 'source_changed', says: [before, now] });
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(moved);
});
