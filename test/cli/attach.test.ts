// What `varve attach` prints: every engine, by catalog and by path, for odd names and places; what it says
// where there is nothing to attach. That the texts work is shown by the engines, in catalog*.all.test.ts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { type Attachment, ENGINES } from '../../src/cli/attach-snippets.ts';
import { startPostgres } from '../support/postgres.ts';
import { pickPort } from '../support/postgres-process.ts';
import { amend, setStage, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const REST = 'http://127.0.0.1:7077';
const LOCAL: Attachment = {
  catalog: 'shop',
  warehouse: 'shop',
  isServed: false,
  rest: REST,
  root: "file:///data/it's $HOME",
  store: null,
  namespace: 'public',
  name: 'order',
  version: 12,
  hasHistory: true,
};
const S3: Attachment = {
  ...LOCAL,
  root: 's3://lake/shop',
  store: { endpoint: 'http://127.0.0.1:9000', region: 'eu-central-1', pathStyle: true },
};

const print = (engine: string, attachment: Attachment): string => ENGINES[engine]?.print(attachment) ?? '';
const all = (attachment: Attachment): [string, string][] =>
  Object.keys(ENGINES).map((engine) => [engine, print(engine, attachment)]);

/** What the shell makes of it, argument by argument. */
const shellWords = (text: string): string[] =>
  execFileSync('sh', ['-c', text.replace('spark-sql', "printf '%s\\0'")])
    .toString()
    .split('\0')
    .slice(0, -1);

test('the shell hands every setting on as it is meant, whatever the directory is called', () => {
  const words = shellWords(print('spark', { ...LOCAL, rest: null }));
  assert.deepEqual(words.slice(2), [
    ...['--conf', 'spark.sql.catalog.shop=org.apache.iceberg.spark.SparkCatalog'],
    ...['--conf', 'spark.sql.catalog.shop.type=hadoop'],
    ...['--conf', "spark.sql.catalog.shop.warehouse=file:///data/it's $HOME"],
    ...['-e', 'SELECT * FROM `shop`.`public`.`order` WHERE is_current LIMIT 10'],
  ]);
});

test('by catalog, no text holds a path; by path, none holds the address', () => {
  for (const [engine, text] of all(LOCAL)) {
    assert.ok(!text.includes('/data/'), engine);
    assert.equal(text.includes(REST), engine !== 'snowflake', engine);
  }
  for (const [engine, text] of all({ ...LOCAL, rest: null })) {
    assert.ok(!text.includes(REST), engine);
    // Quoted as each language does it.
    assert.equal(/\/data\/it('|''|'\\'')s \$HOME/.test(text), engine !== 'snowflake', engine);
  }
});

test('every text asks for the current rows where there are others, and quotes the names', () => {
  for (const [engine, text] of all(S3)) {
    const one = engine === 'pyiceberg' ? /is_current = true/ : / WHERE is_current /;
    assert.match(text, one, engine);
    const plain = print(engine, { ...S3, hasHistory: false });
    assert.doesNotMatch(plain, /is_current/, engine);
    assert.match(plain, /["`.]order["`]|\/order'|\/order\//, engine);
  }
});

test('an object store: where it is, and no credentials', () => {
  for (const rest of [REST, null])
    for (const [engine, text] of all({ ...S3, rest })) {
      assert.doesNotMatch(text, /secret_access|access-key|password|token/i, engine);
      if (engine === 'snowflake') assert.match(text, /METADATA_FILE_PATH = 'public\/order\/metadata\/v12\./);
      else assert.match(text, /127\.0\.0\.1:9000/, engine);
      const aws = print(engine, { ...S3, rest, store: { endpoint: null, region: null, pathStyle: false } });
      assert.doesNotMatch(aws, /9000|null|undefined/, engine);
    }
});

test('the command: one text an engine, one alone with --engine, objects with --json', async () => {
  await using stage = await setStage(server, {
    schema: `create table public.items (id int primary key, v text); insert into public.items values (1, 'a');
      create table public."Odd name" (id int primary key); insert into public."Odd name" values (1);
      create table public.none (id int primary key)`,
  });
  const { pipeline, name } = stage;
  const attach = (...words: string[]) => pipeline.run(['attach', 'pipeline.yaml', ...words]);
  const refused = async (...words: string[]): Promise<string> =>
    (await pipeline.run(['attach', 'pipeline.yaml', ...words], 2)).stderr;

  await pipeline.run(UNTIL);
  const { stdout, stderr } = await attach();
  assert.deepEqual([...stdout.matchAll(/^── (\w+) \(/gm)].map(([, title]) => title).length, 7);
  assert.match(stderr, /the same with TABLE: public\.items, public\.none\nby path: /);
  const alone = await attach('items', '--engine', 'duckdb');
  const scan = `iceberg_scan('${stage.tables}/public/items')`;
  assert.equal(
    alone.stdout,
    `INSTALL iceberg;\nLOAD iceberg;\nSELECT * FROM ${scan} WHERE is_current LIMIT 10;\n`,
  );
  const lines = (await attach('Odd name', '--json')).stdout.trimEnd().split('\n');
  const objects = lines.map((line) => JSON.parse(line) as Record<string, string>);
  assert.deepEqual(
    objects.map(({ engine }) => engine),
    Object.keys(ENGINES),
  );
  const [spark] = objects;
  assert.deepEqual([spark?.table, spark?.by, spark?.reads], ['public.Odd name', 'path', 'sh']);
  assert.match(spark?.text ?? '', /`public`\.`Odd_x20_name`/);

  assert.match(await refused('--by', 'rest'), /has no http: part/);
  assert.match(await refused('--by', 'air'), /--by is rest or path, not air/);
  assert.match(await refused('--engine', 'excel'), /--engine is one of spark, .*, not excel/);
  assert.match(await refused('nope'), /nope is not there/);

  const port = await pickPort();
  await amend(pipeline, 'table:', `http:\n  listen: 127.0.0.1:${port}\ntable:`);
  const rest = await attach('items', '--engine', 'pyiceberg');
  assert.match(rest.stdout, new RegExp(`"uri":"http://127.0.0.1:${port}","warehouse":"${name}"`));
  assert.match(rest.stderr, /nobody answers at .*: varve run .*; without it, say --by path/);
  assert.doesNotMatch((await attach('--by', 'path')).stdout, /127\.0\.0\.1/);
});

test('a table that has no commit yet, and a pipeline without tables', async () => {
  await using stage = await setStage(server, { schema: 'create table public.items (id int primary key)' });
  const { pipeline } = stage;
  await pipeline.run(UNTIL);
  const none = await pipeline.run(['attach', 'pipeline.yaml'], 2);
  assert.match(none.stderr, /has no table yet: varve run .*pipeline\.yaml makes it/);
  await amend(pipeline, 'table:\n  location: ./tables\n  commit_interval_ms: 200\n', '');
  const topicOnly = await pipeline.run(['attach', 'pipeline.yaml'], 2);
  assert.match(topicOnly.stderr, /has no table: there is nothing to attach/);
});
