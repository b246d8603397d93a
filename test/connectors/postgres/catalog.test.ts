// The catalog on a real server: what tables look like, and what it makes of relations that the log describes
// after the catalog has gone on.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { Catalog } from '../../../connectors/postgres/catalog.ts';
import type { RelationMessage } from '../../../connectors/postgres/pgoutput.ts';
import { type Column, type TableName, type TableSchema, tableText } from '../../../src/change/schema.ts';
import type { PreparedTable } from '../../../src/topic/prepared-table.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { collectAll, makeSlot, openReader } from './log-reader-harness.ts';
import { openPinned } from './types-encoding.ts';

type Seen = { relation: RelationMessage; table: PreparedTable | null; truncatable: boolean };

const idsOf = (table: PreparedTable | null | undefined): Record<string, number> =>
  Object.fromEntries((table?.schema.columns ?? []).map(({ name, id }) => [name, id]));
const keyOf = ({ schema }: PreparedTable): string[] =>
  schema.key.map((at) => (schema.columns[at] as Column).name);

describe('the catalog', () => {
  let server: TestPostgres;
  let url: string;
  let client: pg.Client;
  let writer: pg.Client;
  let databases = 0;
  const known = new Map<string, TableSchema>();

  const openCatalog = (selects: (name: TableName) => boolean = () => true): Promise<Catalog> =>
    Catalog.open({ client, selects, known: (name) => known.get(tableText(name)) ?? null });

  const find = async (catalog: Catalog, name: string): Promise<PreparedTable> => {
    const found = (await catalog.tables()).find(({ table }) => tableText(table.schema.name) === name);
    assert.ok(found, name);
    return found.table;
  };

  /** Writes into the log, changes the catalog, and only then reads the log through the catalog. */
  const readLate = async (written: string[], later: string[], catalog: Catalog): Promise<Seen[]> => {
    const place = await makeSlot({
      ...server,
      query: async (sql, params = []) => (await writer.query(sql, [...params])).rows,
    });
    for (const sql of [...written, ...later]) await writer.query(sql);
    const seen: Seen[] = [];
    const reader = openReader(server, place, {
      url,
      resolve: async (relation) => {
        const resolution = await catalog.resolve(relation);
        seen.push({ relation, table: resolution.table, truncatable: resolution.truncatable });
        return resolution;
      },
    });
    const here = { ...server, query: async (sql: string) => (await writer.query(sql)).rows };
    await collectAll(reader, here, place.start);
    await reader.close();
    await writer.query('SELECT pg_drop_replication_slot($1)', [place.slot]);
    return seen;
  };

  before(async () => {
    server = await startPostgres({ major: 15 });
  });

  beforeEach(async () => {
    known.clear();
    const name = `catalog_${databases++}`;
    await server.query(`CREATE DATABASE ${name}`);
    const address = new URL(server.url);
    address.pathname = `/${name}`;
    url = address.href;
    await Promise.all([client?.end(), writer?.end()]);
    client = await openPinned(url);
    writer = new pg.Client(url);
    await writer.connect();
  });

  after(async () => {
    await Promise.all([client.end(), writer.end()]);
    await server[Symbol.asyncDispose]();
  });

  it('lists tables with keys, roots instead of their leaves, and nothing else', async () => {
    await writer.query(`
      CREATE TABLE keyed (a int, b text, v int GENERATED ALWAYS AS (a + 1) STORED,
        PRIMARY KEY (b, a) INCLUDE (v));
      CREATE TABLE keyless (a int);
      CREATE TABLE chosen (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL);
      CREATE UNIQUE INDEX by_b ON chosen (b, a); ALTER TABLE chosen REPLICA IDENTITY USING INDEX by_b;
      CREATE TABLE root (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
      CREATE TABLE leaf PARTITION OF root FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
      CREATE TABLE branch PARTITION OF root FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
        PARTITION BY LIST (id);
      CREATE TABLE twig PARTITION OF branch DEFAULT;
      CREATE UNLOGGED TABLE unlogged (id int); CREATE TEMP TABLE gone (id int);
        CREATE VIEW seen AS SELECT 1 AS a;
      CREATE SCHEMA other; CREATE TABLE other."Odd name" ("a b" int PRIMARY KEY)`);
    const catalog = await openCatalog();
    const tables = await catalog.tables();
    assert.deepEqual(
      tables.map(({ table }) => [tableText(table.schema.name), keyOf(table)]),
      [
        ['other.Odd name', ['a b']],
        ['public.chosen', ['b', 'a']],
        ['public.keyed', ['b', 'a']],
        ['public.keyless', []],
        ['public.root', ['id', 'day']],
      ],
    );
    assert.deepEqual(idsOf(tables[2]?.table), { a: 1, b: 2 }, 'generated columns are not in the log');
    const again = await catalog.tables();
    assert.deepEqual(
      again.map(({ table }, at) => table === tables[at]?.table),
      tables.map(() => true),
    );
    const some = await (await openCatalog(([schema]) => schema === 'other')).tables();
    assert.deepEqual(
      some.map(({ table }) => tableText(table.schema.name)),
      ['other.Odd name'],
    );
  });

  it('writes types with their modifiers, and with the namespace of those that are not built in', async () => {
    await writer.query(`
      CREATE SCHEMA x; CREATE TYPE x.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(9,3);
      CREATE EXTENSION hstore SCHEMA x; CREATE TYPE pair AS (a int, b int);
      CREATE TABLE t (a numeric(12,2), b x.mood, c x.mood[], d price, e x.hstore, f varchar(3)[],
        g pair, h price[])`);
    const { schema } = await find(await openCatalog(), 'public.t');
    const described = schema.columns.map(({ sourceType, type }) => [
      sourceType,
      type.type,
      type.name,
      type.items?.name,
    ]);
    const decimal = 'org.apache.kafka.connect.data.Decimal';
    assert.deepEqual(described, [
      ['numeric(12,2)', 'bytes', decimal, undefined],
      ['x.mood', 'string', 'io.debezium.data.Enum', undefined],
      ['x.mood[]', 'array', undefined, 'io.debezium.data.Enum'],
      ['public.price', 'bytes', decimal, undefined],
      ['x.hstore', 'string', 'io.debezium.data.Json', undefined],
      ['character varying(3)[]', 'array', undefined, undefined],
      ['public.pair', 'string', undefined, undefined],
      ['public.price[]', 'array', undefined, decimal],
    ]);
    assert.deepEqual(schema.columns[1]?.type.parameters, { allowed: 'sad,ok' });
  });

  it('gives the log the same object as long as the schema is the same', async () => {
    await writer.query('CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL DEFAULT $$x$$)');
    const catalog = await openCatalog();
    const table = await find(catalog, 'public.t');
    const seen = await readLate(
      ['INSERT INTO t VALUES (1)', 'ALTER TABLE t ALTER v SET STATISTICS 10', 'INSERT INTO t VALUES (2)'],
      [],
      catalog,
    );
    assert.equal(seen.length, 2);
    assert.ok(seen.every((one) => one.table === table && one.truncatable));
    assert.deepEqual(table.schema.columns[1], {
      id: 2,
      name: 'v',
      type: { type: 'string' },
      sourceType: 'text',
      optional: false,
      default: 'x',
    });
  });

  it('keeps ids through renames, drops and names that come back, when it is ahead of the log', async () => {
    await writer.query('CREATE TABLE t (id int PRIMARY KEY, a int, b int)');
    const catalog = await openCatalog();
    known.set('public.t', (await find(catalog, 'public.t')).schema);
    const seen = await readLate(
      [
        'INSERT INTO t VALUES (1, 2, 3)',
        'ALTER TABLE t RENAME a TO a1',
        'INSERT INTO t VALUES (2, 2, 3)',
        'ALTER TABLE t DROP a1, ADD a1 int',
        'INSERT INTO t VALUES (3, 2, 3)',
        'ALTER TABLE t ADD c text',
        'INSERT INTO t VALUES (4, 2, 3, 4)',
      ],
      ['ALTER TABLE t RENAME b TO b2', 'ALTER TABLE t DROP c'],
      catalog,
    );
    assert.deepEqual(
      seen.map(({ table }) => idsOf(table)),
      [
        { id: 1, a: 2, b: 3 },
        { id: 1, a1: 2, b: 3 },
        { id: 1, b: 3, a1: 4 },
        { id: 1, b: 3, a1: 4, c: 5 },
      ],
    );
  });

  it('knows a table that is gone by the schema that was last in force', async () => {
    await writer.query(
      'CREATE TABLE t (drop_me int, b text, a int, PRIMARY KEY (b, a)); ALTER TABLE t DROP drop_me',
    );
    const catalog = await openCatalog();
    const table = await find(catalog, 'public.t');
    known.set('public.t', table.schema);
    const [seen] = await readLate(["INSERT INTO t VALUES ('x', 1)"], ['DROP TABLE t'], catalog);
    assert.deepEqual(seen?.table?.schema, table.schema);
    known.clear();
    await writer.query('CREATE TABLE u (b text, a int, PRIMARY KEY (b, a))');
    const [fresh] = await readLate(["INSERT INTO u VALUES ('x', 1)"], ['DROP TABLE u'], await openCatalog());
    assert.deepEqual(idsOf(fresh?.table), { b: 1, a: 2 });
    assert.deepEqual(fresh?.table?.schema.key, [0, 1]);
  });

  it("puts leaves under their root, in the root's order, and never truncates by one", async () => {
    await writer.query(`
      CREATE TABLE root (gone int, id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
      ALTER TABLE root DROP gone;
      CREATE TABLE a PARTITION OF root FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
      CREATE TABLE b (v text, day date NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));
      ALTER TABLE root ATTACH PARTITION b FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')`);
    const catalog = await openCatalog();
    const table = await find(catalog, 'public.root');
    assert.deepEqual(idsOf(table), { id: 2, day: 3, v: 4 });
    const seen = await readLate(
      ["INSERT INTO root (id, day, v) VALUES (1, '2024-05-05', 'x'), (2, '2025-05-05', 'y')"],
      [],
      catalog,
    );
    assert.deepEqual(seen.map(({ relation }) => relation.name).sort(), ['a', 'b']);
    assert.ok(seen.every((one) => one.table === table && !one.truncatable));
    const none = await readLate(
      ["INSERT INTO root (id, day) VALUES (3, '2024-05-05')"],
      [],
      await openCatalog(() => false),
    );
    assert.deepEqual(
      none.map((one) => one.table),
      [null],
    );
  });

  it('remembers a column that held NULL against its word', async () => {
    await writer.query('CREATE TABLE t (id int PRIMARY KEY, v int)');
    const catalog = await openCatalog();
    const [seen] = await readLate(
      ['INSERT INTO t VALUES (1, NULL)', 'UPDATE t SET v = 1'],
      ['ALTER TABLE t ALTER v SET NOT NULL'],
      catalog,
    );
    assert.ok(seen?.table);
    assert.equal(seen.table.schema.columns[1]?.optional, false);
    const relaxed = seen.table.relax(1);
    assert.equal(relaxed.schema.columns[1]?.optional, true);
    assert.equal(relaxed.encode, seen.table.encode);
    assert.equal((await catalog.resolve(seen.relation)).table, relaxed);
    assert.equal(seen.table.relax(1), relaxed);
  });

  it('takes new labels of an enum with the next description', async () => {
    await writer.query("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int PRIMARY KEY, m mood)");
    const catalog = await openCatalog();
    const table = await find(catalog, 'public.t');
    const seen = await readLate(
      ["ALTER TYPE mood ADD VALUE 'ok'", "INSERT INTO t VALUES (1, 'ok')"],
      [],
      catalog,
    );
    assert.notEqual(seen[0]?.table, table);
    assert.deepEqual(seen[0]?.table?.schema.columns[1]?.type.parameters, { allowed: 'sad,ok' });
  });

  it('has no default for expressions, and a zero for functions', async () => {
    await writer.query(`CREATE TABLE t (a int DEFAULT 1 + 2, b int DEFAULT -7, c text DEFAULT lower('X'),
      d text DEFAULT E'a\\\\b''c', e timestamptz DEFAULT '2020-01-01 00:00:00+00',
        f bigint DEFAULT 9223372036854775807,
      g numeric(5,2) DEFAULT 'NaN', h float8 DEFAULT 'Infinity', i timestamp DEFAULT 'infinity',
        j bit(3) DEFAULT B'101',
      k bool DEFAULT false, l date DEFAULT current_date, m varchar(3) DEFAULT NULL, n name DEFAULT 'x',
        o real DEFAULT 0.1,
      p text DEFAULT 'a' || current_user, q int DEFAULT 1.5, r interval DEFAULT '1 mon',
        s text DEFAULT 5::text)`);
    const { schema } = await find(await openCatalog(), 'public.t');
    assert.deepEqual(Object.fromEntries(schema.columns.map((column) => [column.name, column.default])), {
      a: undefined,
      b: -7,
      c: '',
      d: "a\\b'c",
      e: '2020-01-01T00:00:00.000000Z',
      f: '9223372036854775807',
      g: undefined,
      h: undefined,
      i: undefined,
      j: '\u0005',
      k: false,
      l: 0,
      m: undefined,
      n: undefined,
      o: Math.fround(0.1),
      p: undefined,
      q: undefined,
      r: 2_629_800_000_000,
      s: undefined,
    });
  });

  it('says that the server is gone when it is', async () => {
    const catalog = await openCatalog();
    await client.end();
    await assert.rejects(catalog.tables(), { kind: 'source_unreachable' });
    client = await openPinned(url);
  });
});
