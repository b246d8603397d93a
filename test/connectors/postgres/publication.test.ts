// The publication on real servers: made for exactly the captured tables, extended, and every one that would
// lose rows refused.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type pg from 'pg';
import {
  dropPublication,
  ensurePublication,
  isOurs,
  type PublicationOptions,
} from '../../../connectors/postgres/publication.ts';
import type { TableName } from '../../../src/change/schema.ts';
import { VarveError } from '../../../src/errors.ts';
import { type PostgresMajor, startPostgres, type TestPostgres } from '../../support/postgres.ts';

let server: TestPostgres;
let client: pg.Client;
before(async () => {
  server = await startPostgres();
  client = await server.connect();
  await client.query(`CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY);
    CREATE TABLE keyless (v int); CREATE TABLE nothing (id int PRIMARY KEY);
    ALTER TABLE nothing REPLICA IDENTITY NOTHING; CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
    CREATE TABLE whole (v int); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (10);
    CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent)`);
});
after(() => server[Symbol.asyncDispose]());

const t = (name: string): TableName => ['public', name];
const options = (name: string, create: 'auto' | 'never' = 'auto'): PublicationOptions => ({
  name,
  create,
  pipeline: 'shop',
});
const members = async (name: string, on = client): Promise<string[]> =>
  (
    await on.query('SELECT tablename FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1', [name])
  ).rows.map((row) => row.tablename);
const refused =
  (kind: string, ...parts: RegExp[]) =>
  (error: unknown) => {
    assert.ok(error instanceof VarveError, String(error));
    assert.equal(error.kind, kind, error.message);
    for (const part of parts) assert.match(error.message, part);
    return true;
  };

for (const major of [15, 18] as const satisfies PostgresMajor[]) {
  test(`PostgreSQL ${major}: made, extended, dropped`, async () => {
    await using own = await startPostgres({ major });
    const on = await own.connect();
    await on.query('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)');
    await ensurePublication(on, options('p'), [t('a')]);
    await ensurePublication(on, options('p'), [t('a'), t('b')]);
    assert.deepEqual(await members('p', on), ['a', 'b']);
    await dropPublication(on, options('p'));
    assert.equal(await isOurs(on, options('p')), false);
  });
}

test('auto makes it for exactly the tables, extends it, and drops what is ours', async () => {
  await ensurePublication(client, options('mine'), [t('a'), t('root')]);
  assert.deepEqual(await members('mine'), ['a', 'root']);
  await ensurePublication(client, options('mine'), [t('a'), t('b')]);
  await ensurePublication(client, options('mine'), [t('a'), t('b')]);
  assert.deepEqual(await members('mine'), ['a', 'b', 'root']);
  const { rows } = await client.query("SELECT * FROM pg_publication WHERE pubname = 'mine'");
  assert.deepEqual(
    [rows[0].pubinsert, rows[0].pubupdate, rows[0].pubdelete, rows[0].pubtruncate, rows[0].pubviaroot],
    [true, true, true, true, true],
  );
  await dropPublication(client, { ...options('mine'), pipeline: 'another' });
  assert.ok(await isOurs(client, options('mine')));
  await dropPublication(client, options('mine'));
  assert.deepEqual(await members('mine'), []);
});

test('an inherited table does not bring its children along', async () => {
  await ensurePublication(client, options('heirs'), [t('parent')]);
  assert.deepEqual(await members('heirs'), ['parent']);
  await dropPublication(client, options('heirs'));
});

test('a table whose updates would fail is refused before it is published', async () => {
  for (const name of ['keyless', 'nothing', 'late']) {
    await assert.rejects(
      ensurePublication(client, options('bad'), [t('a'), t(name)]),
      refused('source_not_ready', new RegExp(`public\\.${name}`), /REPLICA IDENTITY FULL/),
    );
    assert.deepEqual(await members('bad'), []);
  }
  await client.query('ALTER TABLE leaf REPLICA IDENTITY NOTHING');
  await assert.rejects(
    ensurePublication(client, options('bad'), [t('root')]),
    refused('source_not_ready', /public\.leaf/),
  );
  await client.query('ALTER TABLE leaf REPLICA IDENTITY FULL');
  await ensurePublication(client, options('whole'), [t('whole'), t('root')]);
  await dropPublication(client, options('whole'));
});

test('never: what is missing is said with the SQL that makes it', async () => {
  await assert.rejects(
    ensurePublication(client, options('theirs', 'never'), [t('a')]),
    refused('source_not_ready', /does not exist/, /CREATE PUBLICATION "theirs" FOR TABLE ONLY "public"\."a"/),
  );
});

const THEIRS: [what: string, sql: string, wanted: string[], fault: RegExp | null][] = [
  ['all tables', 'FOR ALL TABLES WITH (publish_via_partition_root)', ['a', 'b', 'root'], null],
  ['a whole schema', 'FOR TABLES IN SCHEMA public WITH (publish_via_partition_root)', ['a', 'root'], null],
  ['another root setting, no partitions', 'FOR TABLE a', ['a'], null],
  ['a missing table', 'FOR TABLE a', ['a', 'b'], /ALTER PUBLICATION "theirs" ADD TABLE ONLY "public"\."b";/],
  ['no truncate', "FOR TABLE a WITH (publish = 'insert, update, delete')", ['a'], /SET \(publish = /],
  ['a row filter', 'FOR TABLE a WHERE (id > 5)', ['a'], /filters rows of public\.a/],
  ['a column list', 'FOR TABLE a (id)', ['a'], /column list for public\.a/],
  ['leaves under their own names', 'FOR TABLE root', ['root'], /publish_via_partition_root = true/],
];

for (const create of ['never', 'auto'] as const) {
  for (const [what, sql, wanted, fault] of THEIRS) {
    const outcome = fault ? 'refused' : 'used';
    test(`somebody else's publication (${create}), ${what}: ${outcome}, and left as it is`, async () => {
      await client.query(`CREATE PUBLICATION theirs ${sql}`);
      try {
        const ensured = ensurePublication(client, options('theirs', create), wanted.map(t));
        await (fault ? assert.rejects(ensured, refused('source_not_ready', fault)) : ensured);
        await dropPublication(client, options('theirs', create));
        assert.notDeepEqual(await members('theirs'), []);
      } finally {
        await client.query('DROP PUBLICATION theirs');
      }
    });
  }
}

test('the SQL that is given mends it', async () => {
  await client.query("CREATE PUBLICATION broken FOR TABLE a (id) WHERE (id > 5) WITH (publish = 'insert')");
  const wanted = [t('a'), t('b'), t('root')];
  for (let round = 0; ; round++) {
    assert.ok(round < 8, 'never mended');
    const error = await ensurePublication(client, options('broken', 'never'), wanted).then(
      () => null,
      (thrown: Error) => thrown,
    );
    if (error === null) break;
    await client.query(error.message.split('To mend it: ')[1] ?? 'nothing was said');
  }
  await client.query('DROP PUBLICATION broken');
});

test('a role that may not is told who may', async () => {
  await client.query(
    'CREATE ROLE guest; GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest; SET ROLE guest',
  );
  try {
    await assert.rejects(
      ensurePublication(client, options('no'), [t('a')]),
      refused('source_denied', /to never: CREATE/),
    );
    await client.query('RESET ROLE; GRANT CREATE ON DATABASE postgres TO guest; SET ROLE guest');
    await assert.rejects(
      ensurePublication(client, options('no'), [t('a')]),
      refused('source_denied', /owner/),
    );
  } finally {
    await client.query('RESET ROLE');
  }
});

test('hostile names are quoted', async () => {
  const names = ['"; DROP TABLE a; --', 'MiXeD cäse', "o'clock", 'x'.repeat(63), 'a"b.c', '日本', '%s\\'];
  for (const name of names) {
    await client.query(`CREATE TABLE ${client.escapeIdentifier(name)} (id int PRIMARY KEY)`);
    await ensurePublication(client, options(name), [t(name)]);
    assert.deepEqual(await members(name), [name]);
    await dropPublication(client, options(name));
  }
});
