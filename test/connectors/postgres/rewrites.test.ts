// Which changes of a table send no events, and which only look like it: each DDL on a real server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type pg from 'pg';
import { detectRewrite, type TableFacts } from '../../../connectors/postgres/rewrites.ts';
import { readTableFacts } from '../../../connectors/postgres/rewrites-look.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';

let server: TestPostgres;
let client: pg.Client;
before(async () => {
  server = await startPostgres();
  client = await server.connect();
});
after(() => server[Symbol.asyncDispose]());

const NAME = ['public', 't'] as const;
const PLAIN =
  'CREATE TABLE t (id int PRIMARY KEY, v varchar(10)); INSERT INTO t SELECT g, g FROM generate_series(1, ' +
  '50) g';
const PARTED = `CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
  CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t_b PARTITION OF t FOR VALUES
    FROM (100) TO (200);
  INSERT INTO t SELECT g, g FROM generate_series(0, 199) g`;
const EMPTY_LEAF = `${PARTED}; CREATE TABLE t_c PARTITION OF t FOR VALUES FROM (200) TO (300)`;

const look = async (known: ReadonlyMap<string, TableFacts>): Promise<ReadonlyMap<string, TableFacts>> =>
  readTableFacts(client, [NAME], known);

/** The reason seen after `ddl` on a table made by `setup`; each statement is a transaction of its own. */
const reasonFor = async (setup: string, ddl: readonly string[]): Promise<string | null> => {
  await client.query('DROP TABLE IF EXISTS t CASCADE; DROP TABLE IF EXISTS t_x, t_a');
  await client.query(setup);
  const old = await look(new Map());
  for (const statement of ddl) await client.query(statement);
  const now = await look(old);
  const [a, b] = [old.get('public.t'), now.get('public.t')];
  assert.ok(a && b);
  assert.equal(detectRewrite(b, b), null);
  return detectRewrite(a, b);
};

const SILENT: [what: string, setup: string, ddl: string[], reason: RegExp][] = [
  [
    'ADD COLUMN with a constant default',
    PLAIN,
    ['ALTER TABLE t ADD c int DEFAULT 7'],
    /column c was added with a default/,
  ],
  [
    'the same, and the default dropped again',
    PLAIN,
    ['ALTER TABLE t ADD c int DEFAULT 7', 'ALTER TABLE t ALTER c DROP DEFAULT'],
    /column c was added with a default/,
  ],
  [
    'ADD COLUMN with a volatile default',
    PLAIN,
    ['ALTER TABLE t ADD c float DEFAULT random()'],
    /column c was added, and/,
  ],
  ['ADD COLUMN serial', PLAIN, ['ALTER TABLE t ADD c bigserial'], /column c was added, and/],
  [
    'ALTER TYPE that rewrites',
    PLAIN,
    ['ALTER TABLE t ALTER v TYPE int USING v::int'],
    /column v was altered, and/,
  ],
  [
    'ALTER TYPE that cuts',
    PLAIN,
    ['ALTER TABLE t ALTER v TYPE varchar(1) USING left(v, 1)'],
    /column v was altered, and/,
  ],
  [
    'ALTER TYPE in a partitioned table',
    PARTED,
    ['ALTER TABLE t ALTER v TYPE int USING v::int'],
    /column v was altered, and/,
  ],
  ['DROP and CREATE', PLAIN, ['DROP TABLE t', PLAIN], /dropped and made again/],
  [
    'ATTACH of a filled table',
    PARTED,
    [
      'CREATE TABLE t_x (id int PRIMARY KEY, v text)',
      "INSERT INTO t_x VALUES (250, 'x')",
      'ALTER TABLE t ATTACH PARTITION t_x FOR VALUES FROM (200) TO (300)',
    ],
    /partition t_x was attached/,
  ],
  [
    'ATTACH of a table filled in the same transaction',
    PARTED,
    [
      "BEGIN; CREATE TABLE t_x (id int PRIMARY KEY, v text); INSERT INTO t_x VALUES (250, 'x'); ALTER " +
        'TABLE t ATTACH PARTITION t_x FOR VALUES FROM (200) TO (300); COMMIT',
    ],
    /partition t_x was attached/,
  ],
  ['DETACH', PARTED, ['ALTER TABLE t DETACH PARTITION t_a'], /partition t_a was detached or dropped/],
  ['DROP of a leaf', PARTED, ['DROP TABLE t_a'], /partition t_a was detached or dropped/],
  ['TRUNCATE of a leaf', PARTED, ['TRUNCATE t_a'], /partition t_a was truncated/],
  [
    'TRUNCATE of a leaf and new rows',
    PARTED,
    ['TRUNCATE t_a', "INSERT INTO t VALUES (1, 'new')"],
    /t_a was truncated/,
  ],
  [
    'ALTER to the same type by another expression',
    PLAIN,
    ["ALTER TABLE t ALTER v TYPE varchar(10) USING v || '!'"],
    /column v was altered, and/,
  ],
  [
    'the same, and rows written after it',
    PLAIN,
    [
      "ALTER TABLE t ALTER v TYPE varchar(10) USING v || '!'",
      "INSERT INTO t VALUES (99, 'x'); UPDATE t SET v = 'y' WHERE id < 5",
    ],
    /column v was altered, and/,
  ],
  [
    'ATTACH of a partitioned table with rows in it',
    PARTED,
    [
      `CREATE TABLE t_x (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
       CREATE TABLE t_x1 PARTITION OF t_x FOR VALUES FROM (200) TO (300); INSERT INTO t_x VALUES (250, 'x')`,
      'ALTER TABLE t ATTACH PARTITION t_x FOR VALUES FROM (200) TO (300)',
    ],
    /partition t_x1 was attached/,
  ],
];

for (const [what, setup, ddl, reason] of SILENT) {
  test(`seen: ${what}`, async () => assert.match((await reasonFor(setup, ddl)) ?? 'nothing', reason));
}

const HARMLESS: [what: string, setup: string, ddl: string[]][] = [
  ['VACUUM FULL', PLAIN, ['VACUUM FULL t']],
  ['VACUUM FREEZE FULL', PLAIN, ['VACUUM (FULL, FREEZE) t']],
  ['CLUSTER', PLAIN, ['CLUSTER t USING t_pkey']],
  ['REINDEX', PLAIN, ['REINDEX TABLE t']],
  ['TRUNCATE, which is an event', PLAIN, ['TRUNCATE t']],
  ['ADD COLUMN without default', PLAIN, ['ALTER TABLE t ADD c int']],
  ['ADD a generated column', PLAIN, ['ALTER TABLE t ADD c int GENERATED ALWAYS AS (id * 2) STORED']],
  ['DROP and RENAME COLUMN', PLAIN, ['ALTER TABLE t RENAME v TO w', 'ALTER TABLE t DROP w']],
  ['ALTER TYPE that only widens', PLAIN, ['ALTER TABLE t ALTER v TYPE text']],
  ['SET DEFAULT', PLAIN, ["ALTER TABLE t ALTER v SET DEFAULT 'x'"]],
  ['ADD CONSTRAINT and INDEX', PLAIN, ["ALTER TABLE t ADD CHECK (v <> '')", 'CREATE INDEX ON t (v)']],
  ['ordinary writing', PLAIN, ['UPDATE t SET v = id + 1', 'DELETE FROM t WHERE id > 10', 'ANALYZE t']],
  [
    'a new partition',
    PARTED,
    ["CREATE TABLE t_x PARTITION OF t FOR VALUES FROM (200) TO (300); INSERT INTO t VALUES (250, 'x')"],
  ],
  [
    'ATTACH of an empty table that is filled then',
    PARTED,
    [
      'CREATE TABLE t_x (id int PRIMARY KEY, v text)',
      'ALTER TABLE t ATTACH PARTITION t_x FOR VALUES FROM (200) TO (300)',
      "INSERT INTO t VALUES (250, 'x')",
    ],
  ],
  ['TRUNCATE of an empty leaf', EMPTY_LEAF, ['TRUNCATE t_c', "INSERT INTO t VALUES (250, 'x')"]],
  ['DROP of an empty leaf', EMPTY_LEAF, ['DROP TABLE t_c']],
  ['VACUUM FULL of a leaf', PARTED, ['VACUUM FULL t_a']],
  ['VACUUM FULL and ANALYZE of all leaves', PARTED, ['VACUUM (FULL, FREEZE, ANALYZE) t']],
  ['VACUUM FULL and a new column', PLAIN, ['ALTER TABLE t ADD c int', 'VACUUM FULL t']],
  ['VACUUM FULL and a wider type', PLAIN, ['ALTER TABLE t ALTER v TYPE text', 'VACUUM (FULL, FREEZE) t']],
  ['VACUUM FULL and a constraint', PLAIN, ['VACUUM FULL t', 'ALTER TABLE t ALTER v SET NOT NULL']],
  [
    'ADD COLUMN with a default to an empty table',
    'CREATE TABLE t (id int PRIMARY KEY)',
    ['ALTER TABLE t ADD c int DEFAULT 7', 'INSERT INTO t VALUES (1)'],
  ],
  ['SET LOGGED and UNLOGGED', PLAIN, ['ALTER TABLE t SET UNLOGGED', 'ALTER TABLE t SET LOGGED']],
];

for (const [what, setup, ddl] of HARMLESS) {
  test(`no alarm: ${what}`, async () => assert.equal(await reasonFor(setup, ddl), null));
}

/** The client, with `ddl` done by somebody else as soon as its first statement is answered. */
const interrupted = (ddl: string): pg.ClientBase => {
  let answered = 0;
  const query = async (text: string, values?: unknown[]): Promise<pg.QueryResult> => {
    const result = await client.query(text, values);
    if (++answered === 1) await server.query(ddl);
    return result;
  };
  return Object.assign(Object.create(client), { query }) as pg.ClientBase;
};

/** Without one, the look asks only what it asks always; with one, for the age of rows as well. */
const EARLIER = [[], ['ALTER TABLE t ADD b int', 'VACUUM FULL t']];

for (const ddl of [
  "ALTER TABLE t ALTER v TYPE varchar(40) USING 'rewritten ' || id",
  'ALTER TABLE t ADD c float DEFAULT random()',
  'ALTER TABLE t ADD c int DEFAULT 7',
]) {
  test(`in the midst of a look, seen by it or the next one: ${ddl}`, async () => {
    for (const earlier of EARLIER) {
      await client.query('DROP TABLE IF EXISTS t CASCADE');
      await client.query(PLAIN);
      const first = await look(new Map());
      for (const text of earlier) await client.query(text);
      const torn = await readTableFacts(interrupted(ddl), [NAME], first);
      const last = await look(torn);
      const [a, b, c] = [first, torn, last].map((facts) => facts.get('public.t'));
      assert.ok(a && b && c);
      assert.match(detectRewrite(a, b) ?? detectRewrite(b, c) ?? 'nothing', /column [bvc] was/);
    }
  });
}
