// Tables of every mode, from PostgreSQL to the questions that people ask of them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';

let server: TestPostgres;
let pipeline: TestPipeline;
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

before(async () => {
  server = await startPostgres();
  const define = (name: string): string =>
    `create table ${name} (id int primary key, v text, big text);
     alter table ${name} alter big set storage external;
     insert into ${name} select g, 'v' || g, repeat('big ' || g, 2000) from generate_series(1, 4) g;`;
  await server.query([define('now'), define('copied'), define('events')].join('\n'));
  pipeline = await makePipeline({
    url: server.url,
    extra: `  mode: latest
  tables:
    public.events: {mode: append}
    public.copied: {write: copy_on_write}
`,
  });
  await pipeline.run(UNTIL);
  for (const name of ['now', 'copied', 'events']) {
    await server.query(`update ${name} set v = 'two' where id = 2`);
    await server.query(`delete from ${name} where id = 3`);
    await server.query(`update ${name} set id = 40 where id = 4`);
    await server.query(
      `begin; insert into ${name} values (5, 'five', 'b'); delete from ${name} where id = 5; commit`,
    );
  }
  await pipeline.run(UNTIL);
  for (const name of ['now', 'copied', 'events'])
    await server.query(`update ${name} set v = 'forty' where id = 40`);
  await server.query('truncate events');
  await pipeline.run(UNTIL);
});
after(async () => {
  await pipeline[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const texts = async (table: string, columns: readonly string[]): Promise<string[]> => {
  const read = await readTable(join(pipeline.directory, 'tables'), table);
  const rows = read.rows.map((row) =>
    row.big == null || row.big.length < 10
      ? row
      : { ...row, big: `${row.big.slice(0, 5)}*${row.big.length / 5}` },
  );
  return rowTexts({ ...read, rows }, columns);
};

test('latest: each row once, as the source has it, large values that it did not send too', async () => {
  for (const table of ['now', 'copied']) {
    assert.deepEqual((await texts(table, ['id', 'v', 'big', '_op', '_incomplete'])).sort(), [
      '1 v1 big 1*2000 r null',
      '2 two big 2*2000 u null',
      '40 forty big 4*2000 u null',
    ]);
  }
  const { files } = await readTable(join(pipeline.directory, 'tables'), 'copied');
  assert.ok(files.every(({ content }) => content === 'data'));
});

test('append: each event once, in order, and what was not sent is named', async () => {
  assert.deepEqual(await texts('events', ['_op', 'id', 'v', 'big', '_incomplete']), [
    'r 1 v1 big 1*2000 null',
    'r 2 v2 big 2*2000 null',
    'r 3 v3 big 3*2000 null',
    'r 4 v4 big 4*2000 null',
    'u 2 two null ["big"]',
    'd 3 null null null',
    'd 4 null null null',
    'c 40 v4 null ["big"]',
    'c 5 five b null',
    'd 5 null null null',
    'u 40 forty null ["big"]',
    't null null null null',
  ]);
});

test('questions are answered as far as each mode remembers', async () => {
  const ask = async (words: readonly string[], code = 0): Promise<string> => {
    const { stdout, stderr } = await pipeline.run([words[0] ?? '', 'pipeline.yaml', ...words.slice(1)], code);
    return `${stdout}${stderr}`;
  };
  assert.match(await ask(['asof', 'public.now', '--where', 'id = 40']), /forty/);
  assert.match(await ask(['history', 'public.now', '40']), /forty/);
  assert.match(await ask(['asof', 'public.now', '--at', '2020-01-01T00:00:00Z'], 2), /keeps no history/);
  assert.match(
    await ask(['asof', 'public.events', '--at', '00000001.000000000000000000000001.1.000000000000'], 2),
    /list of events/,
  );
  const life = await ask(['history', 'public.events', '4', '--json']);
  assert.equal(life.match(/"v4"/g)?.length, 1);
});
