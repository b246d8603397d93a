// What a row is known by, through the whole pipeline: no key at all, several columns, keys that move in
// circles, an index in place of the primary key, and what the source does not send: large values, rows that
// nobody has seen.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

const SETUP = `
  create table nokey (a int, b text);
  alter table nokey replica identity full;
  insert into nokey values (1, 'twin'), (1, 'twin'), (2, 'two');

  create table pair (b text, v int, a int, primary key (a, b));
  insert into pair values ('x', 1, 1), ('y', 2, 1), ('x', 3, 2);

  create table moving (id int primary key, v text, big text);
  alter table moving alter big set storage external;
  insert into moving select g, 'v' || g, repeat('big ' || g, 2000) from generate_series(1, 6) g;

  create table parent (id int primary key);
  create table child (id int primary key, parent int references parent);
  insert into parent values (1), (2);
  insert into child values (10, 1), (20, 2);

  create table whole (id int primary key, v text, big text);
  alter table whole alter big set storage external;
  alter table whole replica identity full;
  insert into whole select g, 'v' || g, repeat('big ' || g, 2000) from generate_series(1, 2) g;

  create table indexed (id int primary key, code text not null, v int);
  create unique index indexed_code on indexed (code);
  alter table indexed replica identity using index indexed_code;
  insert into indexed values (1, 'a', 1), (2, 'b', 2)`;

/** Each text is one transaction; between the lists the pipeline stops and starts. */
const CHANGES: readonly (readonly string[])[] = [
  [
    "insert into nokey values (3, 'three')",
    "update nokey set b = 'zwei' where a = 2",
    'delete from nokey where a = 1',
    "update pair set v = 10 where a = 1 and b = 'x'",
    "update pair set b = 'z' where a = 1 and b = 'y'",
    'delete from pair where a = 2',
    // A chain: 1 becomes 2's heir, 2 becomes 7's.
    'begin; update moving set id = 7 where id = 2; update moving set id = 2 where id = 1; commit',
    // A swap of 3 and 4, by way of 0, which nobody else ever saw.
    `begin; update moving set id = 0 where id = 3; update moving set id = 3 where id = 4;
     update moving set id = 4 where id = 0; commit`,
    `begin; update parent set id = id where id = 1; truncate parent cascade;
     insert into parent values (3); commit`,
    "update whole set v = 'w1' where id = 1",
    "update indexed set v = 11 where code = 'a'",
    "update indexed set code = 'c' where code = 'b'",
  ],
  [
    'truncate nokey',
    "insert into pair values ('x', 4, 2)",
    // Unchanged large values, over a restart: in place, and along with a key that changes.
    "update moving set v = 'five' where id = 5",
    'update moving set id = 8 where id = 6',
    "update moving set v = 'back' where id = 4",
    'update whole set id = 9 where id = 2',
    'delete from whole where id = 1',
    "update indexed set id = 100 where code = 'a'",
    "delete from indexed where code = 'c'",
  ],
];

let server: TestPostgres;
let pipeline: TestPipeline;
before(async () => {
  server = await startPostgres();
  await server.query(SETUP);
  pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  for (const changes of CHANGES) {
    for (const change of changes) await server.query(change);
    await pipeline.run(UNTIL);
  }
});
after(async () => {
  await pipeline[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const texts = async (table: string, columns: readonly string[]): Promise<string[]> => {
  const found = await readTable(join(pipeline.directory, 'tables'), table);
  const short = found.rows.map((row) =>
    row.big == null ? row : { ...row, big: `${row.big.slice(0, 5)}*${row.big.length / 5}` },
  );
  return rowTexts({ ...found, rows: short }, columns);
};
const VERSION = ['_op', '_closed_by', '_previous_key'];

test('a table without key is a list of events', async () => {
  const deleted = ['1 twin d', '1 twin d'];
  const read = ['1 twin r', '1 twin r', '2 two r'];
  const expected = [...read, '3 three c', '2 zwei u', ...deleted, 'null null t'];
  assert.deepEqual(await texts('nokey', ['a', 'b', '_op']), expected);
});

test('a key of several columns is one key, in its own order', async () => {
  assert.deepEqual(await texts('pair', ['a', 'b', 'v', ...VERSION]), [
    '1 x 1 r u null',
    '1 y 2 r k null',
    '2 x 3 r d null',
    '1 x 10 u null null',
    '1 z 2 c null {"a":1,"b":"y"}',
    '2 x 4 c null null',
  ]);
});

test('keys move in chains and circles within one transaction, and large values move with them', async () => {
  assert.deepEqual(await texts('moving', ['id', 'v', 'big', ...VERSION]), [
    '1 v1 big 1*2000 r k null',
    '2 v2 big 2*2000 r u null',
    '3 v3 big 3*2000 r u null',
    '4 v4 big 4*2000 r u null',
    '5 v5 big 5*2000 r u null',
    '6 v6 big 6*2000 r k null',
    '7 v2 big 2*2000 c null {"id":2}',
    '2 v1 big 1*2000 c null {"id":1}',
    '3 v4 big 4*2000 c null {"id":4}',
    '4 v3 big 3*2000 c u {"id":0}',
    '5 five big 5*2000 u null null',
    '8 v6 big 6*2000 c null {"id":6}',
    '4 back big 3*2000 u null null',
  ]);
});

test('a truncate closes the rows of every table that it empties', async () => {
  assert.deepEqual(await texts('parent', ['id', '_op', '_closed_by']), ['1 r t', '2 r t', '3 c null']);
  assert.deepEqual(await texts('child', ['id', 'parent', '_op', '_closed_by']), ['10 1 r t', '20 2 r t']);
});

test('replica identity full changes nothing in the table', async () => {
  assert.deepEqual(await texts('whole', ['id', 'v', 'big', ...VERSION]), [
    '1 v1 big 1*2000 r u null',
    '2 v2 big 2*2000 r k null',
    '1 w1 big 1*2000 u d null',
    '9 v2 big 2*2000 c null {"id":2}',
  ]);
});

test('an index that is the replica identity is the key', async () => {
  assert.deepEqual(await texts('indexed', ['id', 'code', 'v', ...VERSION]), [
    '1 a 1 r u null',
    '2 b 2 r k null',
    '1 a 11 u u null',
    '2 c 2 c d {"code":"b"}',
    '100 a 11 u null null',
  ]);
});

test('rows that were never read are known from their first change on, as far as it tells', async () => {
  await server.query(`create table unseen (id int primary key, v text, big text);
    alter table unseen alter big set storage external;
    insert into unseen select g, 'v' || g, repeat('big ' || g, 2000) from generate_series(1, 5) g`);
  await using other = await makePipeline({
    url: server.url,
    name: 'never',
    tables: '[public.unseen]',
    extra: 'snapshot:\n  mode: never\n',
  });
  await other.run(UNTIL);
  await server.query("update unseen set v = 'one' where id = 1");
  await server.query('delete from unseen where id = 2');
  await server.query('update unseen set id = 13 where id = 3');
  await server.query("update unseen set v = 'four', big = 'small' where id = 4");
  await other.run(UNTIL);
  await server.query("update unseen set v = 'uno' where id = 1");
  await server.query("update unseen set big = 'told' where id = 1");
  await server.query('delete from unseen where id = 13');
  await other.run(UNTIL);
  const found = await readTable(join(other.directory, 'tables'), 'unseen');
  assert.deepEqual(rowTexts(found, ['id', 'v', 'big', '_incomplete', ...VERSION]), [
    '1 one null ["big"] u u null',
    '13 v3 null ["big"] c d {"id":3}',
    '4 four small null u null null',
    '1 uno null ["big"] u u null',
    '1 uno told null u null null',
  ]);
});
