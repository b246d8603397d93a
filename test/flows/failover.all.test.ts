// A standby takes the source's place. The pipeline goes on there only if nothing that it has published is
// missing and nothing that it has not is lost; otherwise it says what is wrong, before anything is written.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import {
  amend,
  assertMended,
  assertRefuses,
  type Stage,
  setStage,
  sqlAt,
  standingOf,
  UNTIL,
} from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const run = promisify(execFile);

/** Makes `standby` a running standby of `primary`, with the slots that `primary` has now, or with none. */
const follow = async (standby: TestPostgres, primary: TestPostgres, slots: 'slots' | 'none') => {
  await standby.stop('fast');
  await primary.stop('fast');
  await rm(standby.dataDir, { recursive: true });
  await run('cp', ['-a', primary.dataDir, standby.dataDir]);
  await primary.start();
  const kept = join(standby.dataDir, 'pg_replslot');
  if (slots === 'none')
    for (const name of await readdir(kept)) await rm(join(kept, name), { recursive: true });
  await writeFile(join(standby.dataDir, 'standby.signal'), '');
  const { username, password } = new URL(primary.url);
  const address = `host=127.0.0.1 port=${primary.port} user=${username} password=${password}`;
  await appendFile(
    join(standby.dataDir, 'postgresql.auto.conf'),
    `primary_conninfo = '${address}'\nhot_standby_feedback = on\n`,
  );
  await standby.start();
};

const caughtUp = async (standby: TestPostgres, primary: TestPostgres): Promise<void> => {
  const [now] = await primary.query('select pg_current_wal_lsn()::text as lsn');
  const asked = 'select pg_last_wal_replay_lsn() >= $1::pg_lsn as ok';
  while ((await standby.query(asked, [now?.lsn]))[0]?.ok !== true) await sleep(20);
};

/** The old primary is gone, the standby is what the pipeline's address leads to now. */
const promote = async (stage: Stage, primary: TestPostgres, standby: TestPostgres): Promise<Stage> => {
  await primary.stop('immediate');
  await standby.query('select pg_promote()');
  const url = stage.url.replace(`:${primary.port}/`, `:${standby.port}/`);
  await amend(stage.pipeline, stage.url, url);
  return { ...stage, url, sql: sqlAt(url) };
};

test('a standby that has all of it, its slot behind our checkpoint: it goes on, nothing twice', async () => {
  await using primary = await startPostgres({ major: 17 });
  await using standby = await startPostgres({ major: 17 });
  await using stage = await setStage(primary);
  await stage.pipeline.run(UNTIL);
  await follow(standby, primary, 'slots');
  await stage.sql("insert into items values (100, 'published'); update items set v = 'changed' where id = 4");
  await stage.pipeline.run(UNTIL);
  await caughtUp(standby, primary);
  const moved = await promote(stage, primary, standby);
  await moved.sql("delete from items where id = 5; insert into items values (101, 'on the new primary')");
  await stage.pipeline.run(UNTIL);
  await assertMended(moved);
  const { rows } = await readTable(stage.tables, 'items');
  const versionsOf = (key: string): unknown[] =>
    rows.filter(({ id }) => id === key).map(({ v, _closed_by }) => [v, _closed_by]);
  assert.deepEqual(versionsOf('100'), [['published', null]]);
  assert.deepEqual(versionsOf('4'), [
    ['first 4', 'u'],
    ['changed', null],
  ]);
  const topic = `${stage.name}.public.items`;
  const feed = await openEmbeddedFeed({ path: join(stage.pipeline.directory, 'topic') });
  const { start, end } = await feed.ends(topic, 0);
  await feed.close();
  // A deletion is two records, the event and its tombstone.
  assert.equal(end - start, 20n + 2n + 1n + 2n + 1n, 'something was published twice, or not at all');
});

test('a standby without the slot: log_missing, and the slot is not made again unasked', async () => {
  await using primary = await startPostgres({ major: 17 });
  await using standby = await startPostgres({ major: 17 });
  await using stage = await setStage(primary);
  await stage.pipeline.run(UNTIL);
  await follow(standby, primary, 'none');
  await stage.sql("insert into items values (100, 'nobody has read this'); delete from items where id = 3");
  await caughtUp(standby, primary);
  const { resume } = await standingOf(stage);
  const moved = await promote(stage, primary, standby);
  const refusal = { kind: 'log_missing', says: [stage.slot, resume, /varve snapshot \S+ --all/] } as const;
  await assertRefuses(moved, refusal);
  await assertRefuses(moved, refusal);
  assert.deepEqual(await moved.sql('select slot_name::text from pg_replication_slots'), []);
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(moved);
});

test('a standby that had not received all that is published: source_rewound', async () => {
  await using primary = await startPostgres({ major: 17 });
  await using standby = await startPostgres({ major: 17 });
  await using stage = await setStage(primary);
  await stage.pipeline.run(UNTIL);
  await follow(standby, primary, 'slots');
  await caughtUp(standby, primary);
  await standby.stop('fast');
  await stage.sql("insert into items values (100, 'published and lost'); delete from items where id = 3");
  await stage.pipeline.run(UNTIL);
  const { resume } = await standingOf(stage);
  await primary.stop('immediate');
  await standby.start();
  const moved = await promote(stage, primary, standby);
  await moved.sql("insert into items select g, 'on the new primary' from generate_series(200, 5000) g");
  await assertRefuses(moved, { kind: 'source_rewound', says: [resume, /varve snapshot \S+ --all/] });
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(moved);
});
