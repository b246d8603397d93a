// Names that mean something to SQL, JavaScript, file systems or Varve itself are names and nothing else:
// captured, folded, asked for, and never a path, a statement or another table.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { startPostgres } from '../support/postgres.ts';
import { amend, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const quote = pg.escapeIdentifier;

/** Names of tables that live side by side: no two of them are one topic or one folder. */
const TABLES = [
  '"; drop table victim; --',
  "it's 1=1",
  '../../escape',
  '..',
  '/etc/passwd',
  '__proto__',
  'constructor',
  'UPPER Case',
  'a'.repeat(63),
  'tab\tnew\nline',
  '🦆 größe',
  'is_current',
  `%s \${env:HOME} $1`,
  'x__varve_state',
  'null',
];

const COLUMNS = [
  'id',
  'is_current',
  'valid_from',
  'valid_to',
  '_op',
  '_order',
  '__proto__',
  'constructor',
  'toString',
  'length',
  'hasOwnProperty',
  '"; drop table victim; --',
  "it's",
  'UPPER',
  'größe',
  '1st',
  'with space',
  'select',
  `\${env:HOME}`,
  'b'.repeat(63),
];

type Row = Record<string, unknown>;

/** An `id`, then a text in every other column. */
const createTable = (schema: string, table: string, columns: readonly string[]): string => {
  const name = `${quote(schema)}.${quote(table)}`;
  const rest = columns.slice(1).map((column) => `${quote(column)} text`);
  const values = columns.slice(1).map((column) => pg.escapeLiteral(`of ${column}`));
  return `create table ${name} (${[`${quote(columns[0] ?? '')} int primary key`, ...rest].join(', ')});
    insert into ${name} values (${['1', ...values].join(', ')}), (${['2', ...values].join(', ')});`;
};

/** What lies below the pipeline's directory, and beside it nothing. */
const assertInside = async ({ pipeline }: Stage): Promise<void> => {
  assert.deepEqual((await readdir(pipeline.directory)).sort(), ['pipeline.yaml', 'tables', 'topic']);
  for (const name of await readdir(join(pipeline.directory, 'tables'), { recursive: true })) {
    for (const part of name.split('/')) assert.match(part, /^[A-Za-z0-9_.-]{1,255}$/, name);
  }
  await assert.rejects(readdir(join(pipeline.directory, '../escape')));
};

const ask = async (stage: Stage, words: readonly string[]): Promise<Row[]> => {
  const [command = '', ...rest] = words;
  const { stdout } = await stage.pipeline.run([command, '--json', 'pipeline.yaml', ...rest]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
};

test('tables with hostile names are captured, folded and asked for', async () => {
  const schemas = ['public', 'Weird "schema".with/..'];
  const statements = schemas.flatMap((schema) => [
    `create schema if not exists ${quote(schema)};`,
    ...TABLES.map((table) => createTable(schema, table, ['id', 'v'])),
  ]);
  await using stage = await setStage(server, {
    schema: `create table victim (id int primary key); ${statements.join('\n')}`,
    tables: '["*.*"]',
  });
  await stage.pipeline.run(UNTIL);
  const touch = schemas.flatMap((schema) =>
    TABLES.map((table) => `update ${quote(schema)}.${quote(table)} set v = 'changed' where id = 2;`),
  );
  await stage.sql(touch.join('\n'));
  await stage.pipeline.run(UNTIL);
  for (const schema of schemas) {
    for (const table of TABLES) {
      const { rows } = await readTable(stage.tables, table, schema);
      assert.deepEqual(
        rows.map(({ id, v, is_current }) => [id, v, is_current]),
        [
          ['1', 'of v', 'true'],
          ['2', 'of v', 'false'],
          ['2', 'changed', 'true'],
        ],
        `${schema} ${table}`,
      );
    }
  }
  await assertInside(stage);
  const { tables } = await statusOf(stage.pipeline);
  assert.equal((tables as unknown[]).length, schemas.length * TABLES.length + 1);
  for (const table of ['__proto__', '"; drop table victim; --', '../../escape']) {
    const found = await ask(stage, ['asof', `public.${table}`, '--where', 'id = 2']);
    assert.deepEqual(
      found.map(({ v }) => v),
      ['changed'],
      table,
    );
  }
  assert.equal((await stage.sql('select count(*)::int as count from victim'))[0]?.count, 0);
});

test('columns with hostile names keep their values, beside the columns of Varve itself', async () => {
  await using stage = await setStage(server, {
    schema: `create table victim (id int primary key); ${createTable('public', 'odd', COLUMNS)}`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql(`update odd set "__proto__" = 'polluted' where id = 1; delete from odd where id = 2`);
  await stage.pipeline.run(UNTIL);
  const own = new Set(['is_current', 'valid_from', 'valid_to', '_op', '_order']);
  const named = (column: string): string => (own.has(column) ? `${column}__src` : column);
  const expected = (proto: string): [string, unknown][] =>
    COLUMNS.map((column) => [
      named(column),
      column === 'id' ? 1 : column === '__proto__' ? proto : `of ${column}`,
    ]);
  const life = (await ask(stage, ['history', 'odd', '1'])).map(({ row }) => row as Row);
  for (const [at, proto] of ['of __proto__', 'polluted'].entries()) {
    for (const [column, value] of expected(proto))
      assert.deepEqual(Object.entries(life[at] ?? {}).find(([name]) => name === column)?.[1], value, column);
  }
  assert.deepEqual(
    life.map(({ is_current, _closed_by, _op }) => [is_current, _closed_by, _op]),
    [
      [false, 'u', 'r'],
      [true, null, 'u'],
    ],
  );
  const [first] = await ask(stage, ['tail', 'odd']);
  assert.deepEqual(
    Object.entries((first?.after ?? {}) as Row),
    COLUMNS.map((column) => [column, column === 'id' ? 1 : `of ${column}`]),
  );
  const filtered = await ask(stage, ['asof', 'odd', '--where', `"is_current__src" = 'of is_current'`]);
  assert.equal(filtered.length, 1);
  await assertInside(stage);
});

test('names that would meet are refused with both of them, before anything is read', async () => {
  const pairs: [string, string][] = [
    ['a b', 'a_b'],
    ['Twin', 'twin'],
    ['größe', 'grüße'],
  ];
  for (const [one, other] of pairs) {
    await using stage = await setStage(server, {
      schema: createTable('public', one, ['id', 'v']) + createTable('public', other, ['id', 'v']),
    });
    const check = await stage.pipeline.run(['check', 'pipeline.yaml'], 3);
    const { stderr, code } = await stage.pipeline.start(RUN).finished;
    assert.ok(code === 1 || code === 2, stderr);
    assert.doesNotMatch(stderr, /snapshot of/, 'it began to read');
    for (const name of [one, other]) {
      assert.ok(check.stdout.includes(`public.${name}`), check.stdout);
      assert.ok(stderr.includes(`public.${name}`), `${name} is not in: ${stderr}`);
    }
    await amend(stage.pipeline, '["public.*"]', JSON.stringify(['public.*', `!public.${other}`]));
    await stage.pipeline.run(UNTIL);
    assert.equal((await readTable(stage.tables, one)).rows.length, 2);
  }
});

test('columns that would be one field are refused with both of them', async () => {
  await using stage = await setStage(server, { schema: createTable('public', 'odd', ['id', 'a b', 'a_b']) });
  const { stderr } = await stage.pipeline.run(RUN, 1);
  for (const name of ['"a b"', '"a_b"', 'public.odd']) assert.ok(stderr.includes(name), stderr);
  const { reason } = await statusOf(stage.pipeline, 1);
  assert.equal(reason, 'name_collision');
});
