// Rights and passwords that change while the pipeline runs: it stops instead of trying on, so that no account
// is locked, and goes on with the new ones; what it does not need it does not miss.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

/** The pipeline uses a role of its own, with the least rights, whose password lies in a file. */
const setRole = async (stage: Stage): Promise<{ role: string; secret: string }> => {
  const role = `role_${stage.name}`;
  await stage.sql(`create role ${role} login replication password 'first-password';
    grant create on database ${stage.name} to ${role}; grant usage, create on schema public to ${role};
    alter table items owner to ${role}`);
  const secret = join(stage.pipeline.directory, 'password.txt');
  await writeFile(secret, 'first-password', { mode: 0o600 });
  const { username, password } = new URL(stage.url);
  await amend(stage.pipeline, `//${username}:${password}@`, `//${role}@`);
  await amend(stage.pipeline, '  tables:', `  password: \${file:password.txt}\n  tables:`);
  return { role, secret };
};

const refusedLogins = async (role: string): Promise<number> => {
  const log = await readFile(join(server.socketDir, 'log'), 'utf8');
  return log.split(`password authentication failed for user "${role}"`).length - 1;
};

test('a password that was changed: no storm of refused logins, and on with the new one', async () => {
  await using stage = await setStage(server);
  const { role, secret } = await setRole(stage);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await stage.sql(`alter role ${role} password 'second-password'`);
  await stage.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`);
  const { code, stderr } = await running.finished;
  assert.equal(code, 1, stderr);
  assert.match(stderr, /28P01/);
  assert.doesNotMatch(stderr, /-password/);
  assert.equal((await statusOf(stage.pipeline, 1)).reason, 'source_denied');
  const refused = await refusedLogins(role);
  assert.ok(refused >= 1 && refused <= 2, `${refused} refused logins`);
  await writeFile(secret, 'second-password', { mode: 0o600 });
  await stage.sql("insert into items values (500, 'meanwhile')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('the right to read, taken away after the snapshot, is not missed: nothing is read again', async () => {
  await using stage = await setStage(server);
  const { role } = await setRole(stage);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await stage.sql(`revoke select on items from ${role}; insert into items values (500, 'told by the log')`);
  await until(() => isFolded(stage, 500));
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.sql("insert into items values (501, 'also after a start')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});
