// What is hidden of columns, and which columns are the key, through the whole pipeline: snapshot and stream
// alike, nowhere on the topic, not in the table, and refused rather than published where a choice does not
// fit.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DecodedRecord } from '../support/golden.ts';
import { type GoldenOptions, publishScripts } from '../support/golden-run.ts';
import { readTopics } from '../support/golden-topics.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable } from '../support/table-rows.ts';
import { makePipeline } from '../support/varve.ts';

const digest = (text: string): string => createHash('sha256').update(`pepper${text}`).digest('hex');
/** As long as the column may be. */
const MAIL = digest('plainly@example.com').slice(0, 40);

const SETUP = `
  create table people (id int primary key, secret text, card varchar(20), name text default 'plainly',
    mail varchar(40), age int not null, big text, tags text[]);
  alter table people alter big set storage external;
  alter table people replica identity full;
  insert into people values
    (1, 'plainly one', '4111-plainly', 'Al plainly', 'plainly@example.com', 31, repeat('plainly', 2000),
      '{plainly}'),
    (2, null, null, null, null, 32, null, null)`;
const CHANGES = `
  insert into people values
    (3, 'plainly', '4222-plainly', 'Bo', 'plainly@example.com', 33, 'plainly', '{}');
  update people set secret = 'plainly two', card = 'plainly' where id = 1;
  delete from people where id = 2`;
const COLUMNS = {
  'public.people.secret': 'drop',
  'public.people.card': { mask: 12 },
  'public.people.name': { truncate: 2 },
  'public.people.mail': { hash: 'sha-256', salt: 'pepper' },
  'public.people.age': { mask: 2 },
  'public.people.big': { hash: 'sha-256', salt: 'pepper' },
  'public.people.tags': { truncate: 1 },
};

type Value = { op: string; before: Row | null; after: Row | null };
type Row = Record<string, unknown>;
const valuesOf = (records: readonly DecodedRecord[]): Value[] =>
  records.flatMap(({ value }) => (value === null ? [] : [value as unknown as Value]));
const plain = (row: unknown): unknown => (row === null ? null : { ...(row as Row) });

let server: TestPostgres;

before(async () => {
  server = await startPostgres({ major: 15 });
});
after(() => server[Symbol.asyncDispose]());

const publish = (setup: string, changes: string, options: GoldenOptions): Promise<DecodedRecord[]> =>
  publishScripts(server, { setup, changes }, options);

const HIDDEN_ONE = {
  id: 1,
  card: '************',
  name: 'Al',
  mail: MAIL,
  age: '**',
  big: digest('plainly'.repeat(2000)),
  tags: '{',
};

describe('hidden columns', () => {
  it('are hidden in snapshot and stream, old images included, and stand in no header', async () => {
    const records = await publish(SETUP, CHANGES, { columns: COLUMNS });
    assert.ok(!JSON.stringify(records, (_, v) => (typeof v === 'bigint' ? `${v}` : v)).includes('plainly'));
    const nothing = { card: null, name: null, mail: null, age: '**', big: null, tags: null };
    const three = { ...HIDDEN_ONE, id: 3, name: 'Bo', big: digest('plainly') };
    assert.deepEqual(
      valuesOf(records).map(({ op, before, after }) => [op, plain(before), plain(after)]),
      [
        ['r', null, HIDDEN_ONE],
        ['r', null, { id: 2, ...nothing }],
        ['c', null, three],
        ['u', HIDDEN_ONE, HIDDEN_ONE],
        ['d', { id: 2, ...nothing }, null],
      ],
    );
    const schema = records[0]?.valueSchema ?? '';
    assert.match(
      schema,
      /"name":"card","type":\["null",\{"type":"string","connect.parameters":\{"masked":"true"\}\}/,
    );
    assert.match(schema, /"name":"name",[^}]*"connect.parameters":\{"truncateLength":"2"\}/);
  });

  it('are as hidden in the table and in the state', async () => {
    await server.query(SETUP);
    await using pipeline = await makePipeline({
      url: server.url,
      tables: '["public.people"]',
      extra: `columns: ${JSON.stringify(COLUMNS)}\n`,
    });
    const until = ['run', 'pipeline.yaml', '--until-caught-up'];
    await pipeline.run(until);
    for (const sql of CHANGES.split(';')) await server.query(sql);
    await pipeline.run(until);
    const { rows, fields } = await readTable(join(pipeline.directory, 'tables'), 'people');
    assert.deepEqual(
      fields.filter(({ id }) => id <= 7).map(({ name, type }) => `${name} ${JSON.stringify(type)}`),
      ['id "int"', ...['card', 'name', 'mail', 'age', 'big', 'tags'].map((name) => `${name} "string"`)],
    );
    const current = rows.filter(({ is_current }) => is_current === 'true').map(({ id, mail }) => [id, mail]);
    assert.deepEqual(
      current.sort(),
      ['1', '3'].map((id) => [id, MAIL]),
    );
    assert.ok(!JSON.stringify(rows).includes('plainly'));
    assert.equal(valuesOf(await readTopics(join(pipeline.directory, 'topic'))).length, 5);
    await server.query('alter table people rename card to shown');
    const again = await pipeline.run(['snapshot', 'pipeline.yaml', 'public.people'], 2);
    assert.match(again.stderr, /public\.people\.card: the table has no such column/);
  });

  it('are hidden in partitions whose columns stand in another order', async () => {
    const setup = `create table root (id int primary key, secret text, v text) partition by range (id);
      create table low partition of root for values from (0) to (10);
      create table high (v text, secret text, id int not null);
      alter table root attach partition high for values from (10) to (20);
      insert into root values (1, 'plainly', 'a'), (11, 'plainly', 'b')`;
    const changes =
      "insert into root values (2, 'plainly', 'c'), (12, 'plainly', 'd'); delete from root where id = 11";
    const records = await publish(setup, changes, { columns: { 'public.root.secret': 'drop' } });
    assert.deepEqual(
      valuesOf(records).map(({ op, before, after }) => [op, plain(after ?? before)]),
      [
        ['r', { id: 11, v: 'b' }],
        ['r', { id: 1, v: 'a' }],
        ['c', { id: 2, v: 'c' }],
        ['c', { id: 12, v: 'd' }],
        ['d', { id: 11, v: null }],
      ],
    );
  });

  const refused: [what: string, changes: string, columns: object, message: RegExp][] = [
    ['a rule for a key column', '', { 'public.people.id': { mask: 1 } }, /public\.people\.id.*key/],
    ['a dropped key column', '', { 'public.people.id': 'drop' }, /public\.people\.id.*key/],
    ['a mistyped column', '', { 'public.people.sekret': 'drop' }, /sekret: the table has no such column/],
    [
      'a column that was renamed meanwhile',
      "alter table people rename secret to open; insert into people values (9, 'plainly', '', '', '', 1)",
      { 'public.people.secret': 'drop' },
      /secret: the table has no such column. Was it renamed/,
    ],
  ];
  for (const [what, changes, columns, message] of refused) {
    it(`refuses ${what}`, async () => {
      const options = { columns: columns as GoldenOptions['columns'] & object };
      await assert.rejects(publish(SETUP, changes, options), { kind: 'config_invalid', message });
    });
  }

  it('a column that is dropped goes on being hidden while the log still tells it', async () => {
    const changes = `insert into people values (4, 'plainly', '', '', '', 1); alter table people drop secret;
      insert into people values (5, '', '', '', 1)`;
    await assert.rejects(publish(SETUP, changes, { columns: { 'public.people.secret': 'drop' } }), {
      kind: 'config_invalid',
      message: /If it was dropped, take the rule away/,
    });
  });
});

const keysOf = (records: readonly DecodedRecord[]): unknown[] =>
  records.map(({ key }) => (key === null ? null : Object.entries(key as Row)));

describe('chosen key columns', () => {
  const setup = `
    create table t (a int not null, b text not null, v int, w int, primary key (a, b));
    create table u (id int primary key, code text not null unique, v int);
    alter table u replica identity full;
    insert into t values (1, 'x', 1, 1); insert into u values (1, 'k', 1)`;

  it('are the key in their own order, also of deletes and of rows that move', async () => {
    const changes = "update t set b = 'y' where a = 1; update u set code = 'l'; delete from u";
    const format = { key_columns: { 'public.t': ['b', 'a'], 'public.u': ['code'] } };
    const records = await publish(setup, changes, { format });
    const of = (table: string): DecodedRecord[] =>
      records.filter(({ topic }) => topic === `golden.public.${table}`);
    const pair = (b: string): unknown => [
      ['b', b],
      ['a', 1],
    ];
    assert.deepEqual(keysOf(of('t')), [pair('x'), pair('x'), pair('x'), pair('y')]);
    const code = (text: string): unknown => [['code', text]];
    assert.deepEqual(keysOf(of('u')), ['k', 'k', 'k', 'l', 'l', 'l'].map(code));
  });

  const refused: [string, Record<string, string[]>, RegExp][] = [
    ['a column that is not there', { 'public.t': ['b', 'z'] }, /no column z/],
    ['a column that may be NULL', { 'public.u': ['v'] }, /v may be NULL/],
    ['a column twice', { 'public.t': ['b', 'b'] }, /twice/],
    ['a column that deletes do not tell', { 'public.n': ['code'] }, /not in the table's replica identity/],
    ['columns that do not tell rows apart', { 'public.m': ['code'] }, /no unique index/],
  ];
  for (const [what, key_columns, message] of refused) {
    it(`refuses ${what}`, async () => {
      const more = `${setup}; create table n (id int primary key, code text not null unique);
        create table m (id int primary key, code text not null); alter table m replica identity full`;
      await assert.rejects(publish(more, '', { format: { key_columns } }), {
        kind: 'config_invalid',
        message,
      });
    });
  }
});
