// Columns that come, go and change: the table follows, old rows keep their values, and rows that changed
// without events stop the pipeline until they are read again.
import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { type ReadTable, readTable, rowTexts } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';
import { COLUMNS, COMPARED, ROWS, SETUP, takeSteps } from './evolution-script.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

const userColumns = ({ fields }: ReadTable): string[] =>
  fields
    .slice(
      0,
      fields.findIndex(({ name }) => name === 'valid_from'),
    )
    .map(({ id, name, type }) => {
      return `${id} ${name} ${typeof type === 'string' ? type : type.type}`;
    });

const holdsShape = async (pipeline: TestPipeline): Promise<void> => {
  const found = await readTable(join(pipeline.directory, 'tables'), 'shape');
  assert.deepEqual(userColumns(found), COLUMNS);
  assert.deepEqual(rowTexts(found, COMPARED), ROWS);
};

test('columns change while the pipeline is down: everything comes at once', async () => {
  await using server = await startPostgres();
  await server.query(SETUP);
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  await takeSteps(server, {});
  await pipeline.run(UNTIL);
  await holdsShape(pipeline);
});

test('columns change and the pipeline starts again in between', async () => {
  await using server = await startPostgres();
  await server.query(SETUP);
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  await takeSteps(server, { every: atLevel({ test: 4, all: 1, deep: 1 }), after: () => pipeline.run(UNTIL) });
  await pipeline.run(UNTIL);
  await holdsShape(pipeline);
});

test('columns change while the pipeline is up', async () => {
  await using server = await startPostgres();
  await server.query(SETUP);
  await using pipeline = await makePipeline({ url: server.url, commitMs: 100 });
  const running = pipeline.start(['run', 'pipeline.yaml']);
  await running.saw(/streaming/);
  await takeSteps(server, { pauseMs: 100 });
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await pipeline.run(UNTIL);
  await holdsShape(pipeline);
});

/**
 * By table: a statement that rewrites rows or shows values that no event carried, and what the table is after
 * the repair.
 */
const REWRITES = {
  constant: {
    ddl: 'alter table constant add c int default 42',
    columns: ['1 id int', '2 v string', '15 c int'],
    rows: ['1 one null u', '2 two null u', '1 one 42 null', '2 two 42 u', '2 zwei 42 null'],
  },
  volatile: {
    ddl: "alter table volatile add c text default 'x' || length(random()::text) * 0",
    columns: ['1 id int', '2 v string', '15 c string'],
    rows: ['1 one null u', '2 two null u', '1 one x0 null', '2 two x0 u', '2 zwei x0 null'],
  },
  wider: {
    ddl: 'alter table wider alter id type bigint',
    columns: ['1 id long', '2 v string'],
    rows: ['1 one null', '2 two u', '2 zwei null'],
  },
  other: {
    ddl: 'alter table other alter v type int using length(v)',
    columns: ['1 id int', '2 v string', '15 v__2 int'],
    rows: ['1 one null u', '2 two null u', '1 null 3 null', '2 null 3 u', '2 null 4 null'],
  },
} as const;

test('rows rewritten without events stop the pipeline; a snapshot of their tables mends it', async () => {
  await using server = await startPostgres();
  const names = Object.keys(REWRITES) as (keyof typeof REWRITES)[];
  for (const name of names) {
    await server.query(`create table ${name} (id int primary key, v text)`);
    await server.query(`insert into ${name} values (1, 'one'), (2, 'two')`);
  }
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  for (const name of names) await server.query(REWRITES[name].ddl);
  const refused = await pipeline.run(UNTIL, 1);
  assert.match(refused.stderr, /table_stale/);
  await pipeline.run(['snapshot', 'pipeline.yaml', ...names.map((name) => `public.${name}`)]);
  const stopped = await pipeline.run(UNTIL, 1);
  assert.match(stopped.stderr, /schema_incompatible/);
  assert.match(stopped.stderr, /column v of public.other is int now, .* \(v string\)/);
  await appendFile(pipeline.file, '  tables: {"public.other": {on_incompatible: new_column}}\n');
  for (const name of names)
    await server.query(`update ${name} set v = ${name === 'other' ? 4 : "'zwei'"} where id = 2`);
  await pipeline.run(UNTIL);
  for (const name of names) {
    const found = await readTable(join(pipeline.directory, 'tables'), name);
    const { columns, rows } = REWRITES[name];
    assert.deepEqual(userColumns(found), columns, name);
    const compared = columns.map((column) => column.split(' ')[1] as string);
    assert.deepEqual(rowTexts(found, [...compared, '_closed_by']), rows, name);
  }
});

test('asof shows the columns of the moment, by the names that they had', async () => {
  await using server = await startPostgres();
  await server.query('create table twins (id int primary key, a int, "A" int, gone int)');
  await server.query('insert into twins values (1, 1, 2, 3)');
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  await server.query('alter table twins rename a to b; alter table twins drop gone, add gone text');
  await server.query("update twins set gone = 'x'");
  await pipeline.run(UNTIL);
  const { rows } = await readTable(join(pipeline.directory, 'tables'), 'twins');
  const shown = async (order: string): Promise<object> => {
    const { stdout } = await pipeline.run(['asof', 'pipeline.yaml', 'twins', '--at', order, '--json']);
    const row = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
    const own = /^(_|valid_|is_current)/;
    return Object.fromEntries(Object.entries(row).filter(([name]) => !own.test(name)));
  };
  assert.deepEqual(await shown(`${rows[0]?._order}`), { id: 1, a: 1, A: 2, gone: 3 });
  assert.deepEqual(await shown(`${rows[1]?._order}`), { id: 1, b: 1, A: 2, gone: 'x' });
});
