// Each thing that can stand in the way, once, on a real server and with a role that may no more than it must.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCollisions } from '../../../connectors/postgres/preflight-tables.ts';
import type { Finding } from '../../../src/connector.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { openOwn } from './source-connections.ts';
import { openTestSource, type SourceParts } from './source-reading.ts';

let server: TestPostgres;
let url: string;
before(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: '1GB' } });
  await server.query(`CREATE ROLE app NOLOGIN; CREATE ROLE varve LOGIN REPLICATION PASSWORD 'varve';
    CREATE SCHEMA shop AUTHORIZATION app; SET ROLE app; CREATE TABLE shop.a (id int PRIMARY KEY);
    CREATE TABLE shop.root (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE shop.leaf PARTITION OF shop.root FOR VALUES FROM (0) TO (10); RESET ROLE;
    GRANT CREATE ON DATABASE postgres TO varve; GRANT app TO varve`);
  const own = new URL(server.url);
  own.username = 'varve';
  own.password = 'varve';
  url = own.href;
});
after(() => server[Symbol.asyncDispose]());

const checkOn = async (on: TestPostgres, parts: SourceParts): Promise<readonly Finding[]> => {
  const source = await openTestSource(on, { tables: ['shop.*'], ...parts });
  try {
    return await source.check();
  } finally {
    await source.close();
  }
};
const check = (parts: SourceParts = {}): Promise<readonly Finding[]> => checkOn(server, { url, ...parts });
const worse = (found: readonly Finding[]): Finding[] => found.filter(({ level }) => level !== 'ok');

test('nothing stands in the way of a role that owns the tables', async () => {
  const found = await check();
  assert.deepEqual(worse(found), []);
  assert.ok(found.length >= 6);
});

test('a rule for a table that is not captured is told, because it hides nothing', async () => {
  const columns = { 'shop.aa.v': { rule: 'drop' }, 'shop.a.nothing': { rule: 'mask', length: 1 } } as const;
  assert.deepEqual(
    worse(await check({ columns: { 'shop.aa.v': columns['shop.aa.v'] } })).map(({ level, what }) => [
      level,
      what,
    ]),
    [['warning', 'columns.shop.aa.v is for a table that is not captured, so it hides nothing']],
  );
  await assert.rejects(check({ columns }), { kind: 'config_invalid', message: /shop\.a\.nothing/ });
});

type Case = {
  what: string;
  break: string;
  mend: string;
  level?: Finding['level'];
  finding: RegExp;
  fix: RegExp;
  parts?: SourceParts;
};
const CASES: Case[] = [
  {
    what: 'no right to replicate',
    break: 'ALTER ROLE varve NOREPLICATION',
    mend: 'ALTER ROLE varve REPLICATION',
    finding: /varve may not replicate/,
    fix: /ALTER ROLE "varve" REPLICATION;/,
  },
  {
    what: 'no right to make a publication',
    break: 'REVOKE CREATE ON DATABASE postgres FROM varve',
    mend: 'GRANT CREATE ON DATABASE postgres TO varve',
    finding: /may not make a publication/,
    fix: /GRANT CREATE ON DATABASE "postgres" TO "varve"/,
  },
  {
    what: 'tables of somebody else',
    break:
      'REVOKE app FROM varve; GRANT USAGE ON SCHEMA shop TO varve; GRANT SELECT ON ALL TABLES IN SCHEMA ' +
      'shop TO varve',
    mend: 'GRANT app TO varve',
    finding: /Only its owner app may publish shop\.a/,
    fix: /GRANT "app" TO "varve"/,
    parts: { tables: ['shop.a'] },
  },
  {
    what: 'no right to read',
    break:
      'REVOKE app FROM varve; REVOKE SELECT ON shop.a FROM varve; CREATE PUBLICATION varve_test FOR TABLE ' +
      'shop.a, shop.root WITH (publish_via_partition_root)',
    mend: 'DROP PUBLICATION varve_test; GRANT SELECT ON shop.a TO varve; GRANT app TO varve',
    finding: /may not read shop\.a/,
    fix: /GRANT SELECT ON "shop"\."a" TO "varve"/,
  },
  {
    what: 'no right to read a leaf',
    break:
      'REVOKE app FROM varve; REVOKE SELECT ON shop.leaf FROM varve; CREATE PUBLICATION varve_test FOR ' +
      'TABLE shop.a, shop.root WITH (publish_via_partition_root)',
    mend: 'DROP PUBLICATION varve_test; GRANT SELECT ON shop.leaf TO varve; GRANT app TO varve',
    finding: /may not read shop\.leaf/,
    fix: /GRANT SELECT ON "shop"\."leaf"/,
  },
  {
    what: 'no right to the schema',
    break:
      'REVOKE app FROM varve; REVOKE USAGE ON SCHEMA shop FROM varve; CREATE PUBLICATION varve_test FOR ' +
      'TABLE shop.a WITH (publish_via_partition_root)',
    mend: 'DROP PUBLICATION varve_test; GRANT app TO varve',
    finding: /may not use the schema shop/,
    fix: /GRANT USAGE ON SCHEMA "shop"/,
    parts: { tables: ['shop.a'] },
  },
  {
    what: 'no replica identity',
    break: 'CREATE TABLE shop.keyless (v int); ALTER TABLE shop.keyless OWNER TO app',
    mend: 'DROP TABLE shop.keyless',
    finding: /shop\.keyless has no usable replica identity/,
    fix: /REPLICA IDENTITY FULL/,
  },
  {
    what: 'an unlogged table',
    break: 'CREATE UNLOGGED TABLE shop.fast (id int PRIMARY KEY)',
    mend: 'DROP TABLE shop.fast',
    level: 'warning',
    finding: /shop\.fast is unlogged/,
    fix: /SET LOGGED/,
  },
  {
    what: 'row security',
    break: 'ALTER TABLE shop.a ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.a FORCE ROW LEVEL SECURITY',
    mend: 'ALTER TABLE shop.a NO FORCE ROW LEVEL SECURITY; ALTER TABLE shop.a DISABLE ROW LEVEL SECURITY',
    finding: /Row security hides rows of shop\.a/,
    fix: /ALTER ROLE "varve" BYPASSRLS/,
  },
  {
    what: 'a generated column',
    break: 'ALTER TABLE shop.a ADD twice int GENERATED ALWAYS AS (id * 2) STORED',
    mend: 'ALTER TABLE shop.a DROP twice',
    level: 'warning',
    finding: /Generated columns are not captured: twice of shop\.a/,
    fix: /Nothing to mend/,
  },
  {
    what: 'names that meet',
    break: 'CREATE TABLE shop."A" (id int PRIMARY KEY); ALTER TABLE shop."A" OWNER TO app',
    mend: 'DROP TABLE shop."A"',
    finding: /shop\.A and shop\.a would become one/,
    fix: /rename/,
  },
  {
    what: 'no table',
    break: 'SELECT 1',
    mend: 'SELECT 1',
    finding: /No table matches nowhere\.\*/,
    fix: /source\.tables/,
    parts: { tables: ['nowhere.*'] },
  },
  {
    what: 'a publication that is missing',
    break: 'SELECT 1',
    mend: 'SELECT 1',
    finding: /varve_test does not exist/,
    fix: /CREATE PUBLICATION "varve_test" FOR TABLE ONLY "shop"\."a"/,
    parts: { publication: { create: 'never' } },
  },
  {
    what: 'a publication that filters',
    break:
      'CREATE PUBLICATION varve_test FOR TABLE shop.a WHERE (id > 5), shop.root WITH ' +
      '(publish_via_partition_root)',
    mend: 'DROP PUBLICATION varve_test',
    finding: /filters rows of shop\.a/,
    fix: /DROP TABLE "shop"\."a"; ALTER PUBLICATION "varve_test" ADD TABLE/,
  },
];

for (const { what, finding, fix, level = 'error', parts = {}, ...sql } of CASES) {
  test(`found: ${what}`, async () => {
    await server.query(sql.break);
    try {
      const found = worse(await check(parts));
      const match = found.find((one) => finding.test(one.what));
      assert.ok(match, JSON.stringify(found));
      assert.equal(match.level, level);
      assert.match(match.fix ?? '', fix);
      assert.equal(found.length, 1, JSON.stringify(found));
    } finally {
      await server.query(sql.mend);
    }
  });
}

test('found: a foreign partition', async () => {
  await server.query(`CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE TABLE shop.mixed (id int) PARTITION BY RANGE (id); ALTER TABLE shop.mixed OWNER TO app;
    CREATE FOREIGN TABLE shop.far PARTITION OF shop.mixed FOR VALUES FROM (90) TO (99) SERVER far;
    ALTER TABLE shop.far OWNER TO app`);
  assert.ok(worse(await check()).some((one) => /shop\.far of shop\.mixed is a foreign table/.test(one.what)));
  await server.query('DROP TABLE shop.mixed');
});

test('found: a slot that somebody reads, and one that is about to be lost', async () => {
  await using own = await startPostgres({ settings: { max_slot_wal_keep_size: '64MB' } });
  await own.query('CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION varve_test FOR TABLE t');
  await own.query("SELECT pg_create_logical_replication_slot('varve_test', 'pgoutput')");
  const other = await openOwn(own, { replication: true });
  void other
    .query(
      "START_REPLICATION SLOT varve_test LOGICAL 0/0 (proto_version '1', publication_names 'varve_test')",
    )
    .catch(() => undefined);
  const readers = 'SELECT 1 FROM pg_replication_slots WHERE active_pid IS NOT NULL';
  while ((await own.query(readers)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const [busy] = worse(await checkOn(own, { tables: ['public.*'] }));
  assert.match(busy?.what ?? '', /being read by process \d+ \(varve_test/);
  await own.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots');
  const levels = new Set<string>();
  for (let round = 0; !levels.has('error'); round++) {
    assert.ok(round < 40, 'never came near the limit');
    await own.query(
      "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 5)",
    );
    const found = await checkOn(own, { tables: ['public.*'] });
    for (const { level, what } of found) if (/holds back \d+ %/.test(what)) levels.add(level);
  }
  assert.deepEqual([...levels], ['warning', 'error']);
});

test('found: a server that is not set up at all', async () => {
  await using bare = await startPostgres({
    major: 18,
    settings: {
      wal_level: 'replica',
      max_replication_slots: '1',
      max_wal_senders: '1',
      logical_decoding_work_mem: '1MB',
      idle_replication_slot_timeout: '1h',
    },
  });
  await bare.query(
    "SELECT pg_create_physical_replication_slot('taken'); CREATE TABLE t (id int PRIMARY KEY)",
  );
  const found = worse(await checkOn(bare, { tables: ['public.*'] })).map(
    ({ level, what, fix }) => `${level}: ${what} ${fix}`,
  );
  const wanted = [
    /error: wal_level is replica.*ALTER SYSTEM SET wal_level = logical/,
    /error: All 1 replication slots are taken.*max_replication_slots = 6/,
    /warning: max_slot_wal_keep_size is not set.*ALTER SYSTEM/,
    /warning: logical_decoding_work_mem is 1024 kB/,
    /warning: idle_replication_slot_timeout is 3600s/,
  ];
  for (const line of wanted)
    assert.ok(
      found.some((text) => line.test(text)),
      `${line} not in ${found.join('\n')}`,
    );
  assert.equal(found.length, wanted.length, found.join('\n'));
});

test('names meet when only case or signs differ, and only then', () => {
  const names = (...tables: string[]) => tables.map((name) => ['public', name] as const);
  assert.equal(findCollisions(names('a', 'b', 'a_b', 'a-b', 'a.b')).length, 0);
  assert.equal(findCollisions(names('a b', 'a_b')).length, 1);
  assert.equal(findCollisions(names('Ä', 'é', 'x')).length, 1);
});
