// Where snapshot and stream meet, on real servers: no row twice, none missing, none old, and one text for one
// value.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TableName } from '../../../src/change/schema.ts';
import { type PostgresMajor, startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { openTestSource, Replica, type Row, readLog, readSnapshot, rowOf } from './source-reading.ts';

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const t = (name: string): TableName => ['public', name];
const byId = (rows: readonly Row[]): Row[] => rows.toSorted((a, b) => Number(a.id) - Number(b.id));
const inDatabase = async (on: TestPostgres, table: string): Promise<Row[]> =>
  byId((await on.query(`SELECT id::text, v FROM ${table}`)) as Row[]);

/** Writers that change random rows until stopped; each ends its last transaction whole. */
const write = (on: TestPostgres, writers: number): { stop: () => Promise<void> } => {
  let isOn = true;
  const work = async (seed: number): Promise<void> => {
    const client = await on.connect();
    for (let round = 0; isOn; round++) {
      const id = (seed * 7919 + round * 31) % 600;
      await client.query('BEGIN');
      await client.query('INSERT INTO load VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = excluded.v', [
        id,
        `w${seed} ${round}`,
      ]);
      await client.query('DELETE FROM load WHERE id = $1', [(id + 300) % 600]);
      await client.query('UPDATE load SET v = v || $2 WHERE id = $1', [(id + 100) % 600, '+']);
      await client.query(round % 5 === 0 ? 'ROLLBACK' : 'COMMIT').catch(() => client.query('ROLLBACK'));
    }
    await client.end();
  };
  // Two writers may meet in a deadlock; the loser only stops early.
  const all = Promise.allSettled(Array.from({ length: writers }, (_, seed) => work(seed)));
  return {
    async stop() {
      isOn = false;
      await all;
    },
  };
};

for (const major of [15, 17, 18] as const satisfies PostgresMajor[]) {
  test(`PostgreSQL ${major}: snapshot and stream add up to the table under load, twice over`, async () => {
    await using own = await startPostgres({ major });
    await own.query(
      "CREATE TABLE load (id int PRIMARY KEY, v text); INSERT INTO load SELECT g, 'first' FROM " +
        'generate_series(0, 599) g',
    );
    for (let round = 0; round < 2; round++) {
      const source = await openTestSource(own);
      const load = write(own, 3);
      try {
        await source.prepare([t('load')]);
        const session = await source.beginSnapshot({ tables: [t('load')], parallel: 2 });
        const replica = new Replica();
        replica.load(await readSnapshot(session), 'id');
        await session.verify([t('load')]);
        await session.close();
        await new Promise((resolve) => setTimeout(resolve, 100));
        await load.stop();
        let begun = session.position;
        let events = 0;
        await readLog(source, { after: session.resume, end: await source.end() }, (event) => {
          if (event.kind === 'begin') {
            assert.ok(event.position >= begun && event.commitTs >= session.ts);
            begun = event.position;
          }
          if (event.kind === 'row') events++;
          replica.apply(event);
        });
        assert.ok(events > 50, `only ${events} events came`);
        assert.deepEqual(byId(replica.rows('public.load')), await inDatabase(own, 'load'));
      } finally {
        await load.stop();
        await source.reset();
        await source.close();
      }
    }
  });
}

test('a table that comes later is read beside the log, and meets it at its own position', async () => {
  await server.query(`CREATE TABLE old (id int PRIMARY KEY, v text); INSERT INTO old VALUES (1, 'a');
    CREATE TABLE load (id int PRIMARY KEY, v text);
    INSERT INTO load SELECT g, 'first' FROM generate_series(0, 599) g`);
  const source = await openTestSource(server, { tables: ['public.old', 'public.load'] });
  await source.prepare([t('old')]);
  const first = await source.beginSnapshot({ tables: [t('old')], parallel: 3 });
  await first.close();
  const load = write(server, 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await source.prepare([t('old'), t('load')]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const more = await source.snapshotMore({ tables: [t('load')], parallel: 2 });
  const replica = new Replica();
  replica.load(await readSnapshot(more), 'id');
  await more.verify([t('load')]);
  await more.close();
  await load.stop();
  let isLater = false;
  await readLog(source, { after: first.resume, end: await source.end() }, (event) => {
    if (event.kind === 'begin') isLater = event.position >= more.position;
    if (isLater) replica.apply(event);
  });
  assert.deepEqual(byId(replica.rows('public.load')), await inDatabase(server, 'load'));
  assert.equal((await server.query('SELECT * FROM pg_replication_slots')).length, 1);
  await source.reset();
  await source.close();
});

/** One column a value: what a snapshot reads of it and what the log says must be the same bytes. */
const VALUES = `
  'x'::text, ''::text, e'\\t\\n\\\\ \\b\\f\\r\\v \\\\N \\\\.'::text, 'ab'::char(5), 'é日本'::varchar(9), '"q"
    ,{}'::name, 'c'::"char",
  true, 1::int2, (-2147483648)::int4, 9223372036854775807::int8, 4294967295::oid,
  0.1::float4, 1e-300::float8, 'NaN'::float8, '-Infinity'::float4, 0.1::float8 + 0.2,
  1.50::numeric, 'NaN'::numeric, '-Infinity'::numeric, 12345678901234567890.123456789::numeric(40,9),
    1e-20::numeric,
  '$1,234.56'::money, '-3.5'::money, '\\xdead00'::bytea, ''::bytea,
  'infinity'::date, '0044-03-15 BC'::date, '5874897-12-31'::date, '2024-02-29'::date,
  '-infinity'::timestamp, '294276-12-31 23:59:59.999999'::timestamp, '2024-01-02 03:04:05.1'::timestamp,
  '4713-01-01 00:00:00 BC'::timestamptz, '2024-07-01 12:00:00+05:45'::timestamptz, '24:00:00'::time,
    '24:00:00-15:59'::timetz,
  '-1 mons +2 days -03:00:00.000001'::interval, '0'::interval, '1 day 2 hours'::interval,
  '{"b": 1,  "a": [1e2]}'::json, '{"b": 1,  "a": [1e2]}'::jsonb, '<a>&amp;</a>'::xml,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
  B'101'::bit(3), B'1'::varbit, '192.168.0.1/24'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr,
  '(1.5,2)'::point, '((0,0),(1,1))'::box, '<(0,0),2>'::circle, '((0,0),(1,0),(0,1))'::polygon,
    '[(0,0),(1,1)]'::path,
  ARRAY[[1,2],[3,NULL]], '[0:1]={1,2}'::int[], ARRAY['NULL', NULL, 'a"b', 'c\\d', ''], '{}'::int[],
    ARRAY['(1,1),(0,0)'::box],
  ARRAY['2024-01-01 BC'::date], ARRAY['1 day'::interval], ARRAY['\\x01'::bytea], ARRAY[1.1::money],
  '[1,5)'::int4range, 'empty'::numrange, '["2020-01-01",infinity)'::tsrange, '{[1,3),[5,7)}'::int4multirange,
  'sad'::mood, ROW(1, 'x,"y', NULL)::pair, 7::positive, ARRAY['sad', 'ok']::mood[],
  'a => NULL, "b c" => "x"'::hstore, 'Top.Science'::ltree, 'CiText'::citext,
  'fat & rat'::tsquery, 'a fat cat'::tsvector, '16/B374D848'::pg_lsn, '123'::xid8, '1:4:2'::pg_snapshot,
    'pg_class'::regclass,
  '$.a[*]'::jsonpath, NULL::int, NULL::text`;

test('a value has the same text in the snapshot and in the log, for every type', async () => {
  await server.query(`CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text, c date);
    CREATE DOMAIN positive AS int CHECK (value > 0)`);
  // The database's own settings change how values print; every connection of ours must outrank them.
  await server.query(`ALTER DATABASE postgres SET DateStyle = 'German';
    ALTER DATABASE postgres SET IntervalStyle = 'sql_standard';
    ALTER DATABASE postgres SET TimeZone = 'Asia/Kathmandu';
    ALTER DATABASE postgres SET extra_float_digits = 0;
    ALTER DATABASE postgres SET bytea_output = 'escape';
    ALTER DATABASE postgres SET search_path = 'pg_catalog'`);
  const columns = splitTop(VALUES).map((value, at) => `${value} AS c${at}`);
  await server.query(
    `CREATE TABLE public.types AS SELECT 1 AS id, ${columns.join(', ')}; ALTER TABLE public.types ADD ` +
      `PRIMARY KEY (id)`,
  );
  const source = await openTestSource(server, { tables: ['public.types'] });
  await source.prepare([t('types')]);
  const session = await source.beginSnapshot({ tables: [t('types')], parallel: 3 });
  const [read] = (await readSnapshot(session)).get('public.types') ?? [];
  await session.close();
  const names = columns.map((_, at) => `c${at}`).join();
  await server.query(`INSERT INTO public.types (id, ${names}) SELECT 2, ${names} FROM public.types`);
  let streamed: Row | null = null;
  await readLog(source, { after: session.resume, end: await source.end() }, (event) => {
    if (event.kind === 'row' && event.after !== null) streamed = rowOf(event.table, event.after);
  });
  assert.ok(read);
  assert.equal(Object.keys(read).length, columns.length + 1);
  assert.deepEqual(streamed, { ...read, id: '2' });
  await source.reset();
  await source.close();
});

/** Splits at commas outside of quotes and brackets. */
const splitTop = (sql: string): string[] => {
  const parts = [''];
  let depth = 0;
  let isQuoted = false;
  for (const char of sql) {
    if (char === "'") isQuoted = !isQuoted;
    if (!isQuoted) depth += '([{'.includes(char) ? 1 : ')]}'.includes(char) ? -1 : 0;
    if (char === ',' && depth === 0 && !isQuoted) parts.push('');
    else parts[parts.length - 1] += char;
  }
  return parts.map((part) => part.trim());
};
