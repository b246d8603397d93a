// A password never leaves the process but to the server: not in what is printed, logged, served, stored or
// listed as a process, when all goes well and when it does not.
import assert from 'node:assert/strict';
import { chmod, chown, copyFile, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { pickPort, serverUser } from '../support/postgres-process.ts';
import { amend, RUN, type Stage, setStage, UNTIL } from '../support/stage.ts';

const PASSWORD = 'hunter2 "quo\\te" @/%?#ü';
const ENCODED = encodeURIComponent(PASSWORD);
/** The password itself, as a URL has it, as JSON has it, and the part of it that no escaping changes. */
const FORMS = [PASSWORD, ENCODED, JSON.stringify(PASSWORD).slice(1, -1), 'hunter2'];

const FROM_ENVIRONMENT = `\${env:SHOP_URL}`;
const FROM_FILE = `\${file:password.txt}`;

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());
await server.query(
  `create role keeper superuser login replication password '${PASSWORD.replaceAll("'", "''")}'`,
);

const assertNoSecret = (where: string, text: string): void => {
  for (const form of FORMS) {
    const at = text.indexOf(form);
    assert.equal(at, -1, `${where} holds the password: ..${text.slice(Math.max(0, at - 80), at + 80)}`);
  }
};

/** Everything below the pipeline's directory but its own file and the secret's. */
const assertCleanFiles = async ({ pipeline }: Stage): Promise<void> => {
  let seen = 0;
  for (const name of await readdir(pipeline.directory, { recursive: true })) {
    if (name === 'pipeline.yaml' || name === 'password.txt') continue;
    const path = join(pipeline.directory, name);
    if (!(await stat(path)).isFile()) continue;
    seen++;
    assertNoSecret(name, (await readFile(path)).toString('latin1'));
    assertNoSecret(name, (await readFile(path)).toString('utf8'));
  }
  assert.ok(seen > 5, 'there was nothing to look at');
};

const assertCleanProcesses = async (): Promise<void> => {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    assertNoSecret(`/proc/${name}/cmdline`, await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => ''));
  }
};

const secretUrl = (stage: Stage): string => stage.url.replace(/\/\/[^@]*@/, `//keeper:${ENCODED}@`);

/** Runs every command that talks to the source or prints state; gives what they printed. */
const printAll = async ({ pipeline }: Stage, environment: Record<string, string>): Promise<string> => {
  const commands = [
    UNTIL,
    ['check', 'pipeline.yaml'],
    ['status', 'pipeline.yaml', '--json'],
    ['snapshot', 'pipeline.yaml', '--all'],
    ['status', 'pipeline.yaml'],
  ];
  let printed = '';
  for (const command of commands) {
    const { stdout, stderr, code } = await pipeline.start(command, { VARVE_DEBUG: '1', ...environment })
      .finished;
    assert.equal(code, 0, stderr);
    printed += stdout + stderr;
  }
  return printed;
};

test('from the environment, in a url, while all goes well', async () => {
  const port = await pickPort();
  await using stage = await setStage(server, {
    extra: `http:\n  listen: 127.0.0.1:${port}\nlog:\n  level: debug\n`,
  });
  const environment = { SHOP_URL: secretUrl(stage) };
  await amend(stage.pipeline, stage.url, FROM_ENVIRONMENT);
  assertNoSecret('output', await printAll(stage, environment));
  const running = stage.pipeline.start(RUN, environment);
  await running.saw(/"msg":"streaming"/);
  await stage.sql("update items set v = 'changed'");
  for (const path of ['/metrics', '/status', '/healthz', '/readyz']) {
    assertNoSecret(path, await (await fetch(`http://127.0.0.1:${port}${path}`)).text());
  }
  await assertCleanProcesses();
  const [titles] = await stage.sql(
    "select string_agg(query || application_name, ' ') as text from pg_stat_activity",
  );
  assertNoSecret('pg_stat_activity', String(titles?.text));
  running.kill('SIGTERM');
  const { stdout, stderr } = await running.finished;
  assertNoSecret('output', stdout + stderr);
  await assertCleanFiles(stage);
});

test('from a file, and written into the file itself', async () => {
  await using stage = await setStage(server);
  const { hostname, port, pathname } = new URL(stage.url);
  await writeFile(join(stage.pipeline.directory, 'password.txt'), `${PASSWORD}\n`);
  const database = pathname.slice(1);
  const parts = `host: ${hostname}\n  port: ${port}\n  database: ${database}\n  user: keeper\n  password: `;
  await amend(stage.pipeline, `url: ${stage.url}`, `${parts}${FROM_FILE}`);
  assertNoSecret('output', await printAll(stage, {}));
  await amend(stage.pipeline, FROM_FILE, JSON.stringify(PASSWORD));
  assertNoSecret('output', await printAll(stage, {}));
  await assertCleanFiles(stage);
});

test('when it is wrong, when nobody answers, and when the certificate is not trusted', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await amend(stage.pipeline, stage.url, FROM_ENVIRONMENT);
  const fail = async (url: string, says: RegExp): Promise<void> => {
    const environment = { SHOP_URL: url, VARVE_DEBUG: '1' };
    for (const command of [RUN, ['check', 'pipeline.yaml'], [...RUN, '--json']]) {
      const { stdout, stderr, code } = await stage.pipeline.start(command, environment).finished;
      assert.equal(code, 1);
      assert.match(stdout + stderr, says);
      assertNoSecret(`${command[0]} of ${says}`, stdout + stderr);
    }
    const { stdout } = await stage.pipeline.start(['status', 'pipeline.yaml'], environment).finished;
    assert.match(stdout, says);
    assertNoSecret('status', stdout);
    await assertCleanFiles(stage);
  };
  const url = secretUrl(stage);
  await fail(url.replace('keeper', 'postgres'), /password authentication failed/);
  await fail(url.replace('keeper', encodeURIComponent(PASSWORD)), /password authentication failed/);
  await server.query(`create role locked nologin password '${PASSWORD.replaceAll("'", "''")}'`);
  await fail(url.replace('keeper', 'locked'), /not permitted to log in/);
  await setTls();
  await fail(`${url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full`, /TLS failed \(.*tls\.ca/);
});

test('when nobody answers, it waits without telling', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const port = await pickPort();
  await amend(stage.pipeline, stage.url, FROM_ENVIRONMENT);
  const environment = { SHOP_URL: secretUrl(stage).replace(/:\d+\//, `:${port}/`) };
  const running = stage.pipeline.start(RUN, environment);
  await running.saw(/"kind":"source_unreachable"/);
  const { stdout } = await stage.pipeline.start(['status', 'pipeline.yaml'], environment).finished;
  assert.match(stdout, /retrying \(source_unreachable\)/);
  assertNoSecret('status', stdout);
  await assertCleanProcesses();
  running.kill('SIGTERM');
  const end = await running.finished;
  assert.equal(end.code, 0);
  assertNoSecret('output', end.stdout + end.stderr);
  await assertCleanFiles(stage);
});

test('a file with mistakes does not print what its references stand for', async () => {
  await using stage = await setStage(server);
  await amend(stage.pipeline, stage.url, FROM_ENVIRONMENT);
  await amend(
    stage.pipeline,
    'tables: ["public.*"]',
    `tables: ["${FROM_ENVIRONMENT}", "x.y.${FROM_ENVIRONMENT}"]\n  port: ${FROM_ENVIRONMENT}`,
  );
  for (const url of [secretUrl(stage), PASSWORD, `postgres:/${PASSWORD}`, `mysql://u:${ENCODED}@h/d`]) {
    const { stdout, stderr, code } = await stage.pipeline.start(RUN, { SHOP_URL: url }).finished;
    assert.equal(code, 2, stderr);
    assertNoSecret('output', stdout + stderr);
  }
});

/** Turns TLS on, with a certificate that this machine does not trust. */
const setTls = async (): Promise<void> => {
  for (const [from, to] of [
    ['server.pem', 'server.crt'],
    ['server.key', 'server.key'],
  ] as const) {
    const file = join(server.dataDir, to);
    await copyFile(join(import.meta.dirname, '../fixtures/tls', from), file);
    await chmod(file, 0o600);
    if (serverUser) await chown(file, serverUser.uid, serverUser.gid);
  }
  await server.query('alter system set ssl = on');
  await server.query('select pg_reload_conf()');
  while ((await server.query('show ssl'))[0]?.ssl !== 'on');
};
