// Another history in the source's place, older or foreign, stops the pipeline before anything is written, and
// reading everything again in a new epoch mends it.
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertMended, assertRefuses, setStage, sqlAt, standingOf, UNTIL } from '../support/stage.ts';

const run = promisify(execFile);

test('a source that was restored from an older copy: source_rewound', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const copy = `${server.dataDir}.copy`;
  await server.stop('fast');
  await run('cp', ['-a', server.dataDir, copy]);
  await server.start();
  await stage.sql(`update items set v = 'never happened' where id < 5;
    insert into items values (100, 'nor did this');
    delete from items where id = 7`);
  await stage.pipeline.run(UNTIL);
  const checkpoint = (await standingOf(stage)).resume;
  await server.stop('fast');
  await rm(server.dataDir, { recursive: true });
  await run('cp', ['-a', copy, server.dataDir]);
  await server.start();
  await assertRefuses(stage, {
    kind: 'source_rewound',
    says: [checkpoint, /log ends at [0-9A-F]+\/[0-9A-F]+/, /varve snapshot \S+ --all/],
  });
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
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
