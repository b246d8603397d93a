// The commands as people and programs use them: exit codes, all mistakes at once, one JSON object a line, and
// a check whose advice mends what it complains of.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { makePipeline } from '../support/varve.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

type Finding = { level: string; what: string; fix: string | null };

/** Every line is one JSON object. */
const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const value: unknown = JSON.parse(line);
      assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), line);
      return value as Record<string, unknown>;
    });

test('check: a role without rights is told the SQL that gives them, and the SQL does', async () => {
  await using stage = await setStage(server);
  const role = `weak_${stage.name}`;
  await stage.sql(`create role ${role} login password 'weak';
    revoke all on database ${stage.name} from public;
    grant connect on database ${stage.name} to ${role}`);
  const url = new URL(stage.url);
  url.username = role;
  url.password = 'weak';
  await amend(stage.pipeline, stage.url, url.href);
  const shown = await stage.pipeline.run(['check', 'pipeline.yaml'], 3);
  for (const fix of [
    `ALTER ROLE "${role}" REPLICATION`,
    `GRANT SELECT ON "public"."items" TO "${role}"`,
    `GRANT CREATE ON DATABASE "${stage.name}" TO "${role}"`,
  ]) {
    assert.ok(shown.stdout.includes(fix), `${fix} is not in:\n${shown.stdout}`);
  }
  const refused = await stage.pipeline.run(RUN, 1);
  assert.doesNotMatch(refused.stderr, /internal|at .*\.ts:/);
  for (let rounds = 0; ; rounds++) {
    const { stdout, code } = await stage.pipeline.start(['check', 'pipeline.yaml', '--json']).finished;
    const findings = jsonLines(stdout) as Finding[];
    const wrong = findings.filter(({ level }) => level === 'error');
    assert.equal(code, wrong.length === 0 ? 0 : 3);
    if (wrong.length === 0) break;
    assert.ok(rounds < 3, JSON.stringify(wrong));
    for (const { fix } of wrong) await stage.sql(fix?.split(';')[0] ?? '');
  }
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('check: a pattern that matches nothing, and a table without identity', async () => {
  await using stage = await setStage(server, { tables: '["nowhere.*"]' });
  const none = await stage.pipeline.run(['check', 'pipeline.yaml'], 3);
  assert.match(none.stdout, /No table matches nowhere\.\*/);
  await stage.sql('create table bare (v text)');
  await amend(stage.pipeline, 'nowhere.*', 'public.*');
  const bare = await stage.pipeline.run(['check', 'pipeline.yaml'], 3);
  assert.match(bare.stdout, /ALTER TABLE "public"\."bare" REPLICA IDENTITY FULL/);
});

test('a file with mistakes ends with 2 and tells all of them, each with its line', async () => {
  await using pipeline = await makePipeline({ url: 'postgres://u@127.0.0.1:1/x' });
  await writeFile(
    pipeline.file,
    `name: Wrong Name
sources:
  kind: postgres
source:
  kind: postgres
  url: \${env:NOT_SET_ANYWHERE}
  tables: []
  slott: x
topic:
  retention_hours: -1
table:
  commit_interval_ms: 5
http:
  listen: 0.0.0.0:7077
log:
  level: loud
`,
  );
  const expected: [number, RegExp][] = [
    [1, /name: lower-case/],
    [2, /unknown key sources; did you mean source\?/],
    [6, /environment variable NOT_SET_ANYWHERE is not set/],
    [7, /source\.tables/],
    [8, /unknown key slott; did you mean slot\?/],
    [10, /topic\.retention_hours/],
    [11, /location is missing/],
    [12, /commit_interval_ms/],
    [14, /http\.listen: a loopback address/],
    [16, /log\.level/],
  ];
  for (const command of [RUN, ['check', 'pipeline.yaml'], ['status', 'pipeline.yaml']]) {
    const { stderr } = await pipeline.run(command, 2);
    for (const [line, words] of expected) {
      const found = stderr
        .split('\n')
        .some((text) => text.includes(`pipeline.yaml:${line}: `) && words.test(text));
      assert.ok(found, `line ${line} ${words} is not in:\n${stderr}`);
    }
  }
  await writeFile(pipeline.file, 'name: [unclosed\n');
  assert.match((await pipeline.run(RUN, 2)).stderr, /pipeline\.yaml:\d+: /);
  await writeFile(pipeline.file, 'just a text\n');
  await pipeline.run(RUN, 2);
  await writeFile(pipeline.file, '');
  await pipeline.run(RUN, 2);
});

test('what is typed wrongly ends with 2 and says how it is typed', async () => {
  await using pipeline = await makePipeline({ url: 'postgres://u@127.0.0.1:1/x' });
  const wrong: [string[], RegExp][] = [
    [[], /varve run FILE/],
    [['runn', 'pipeline.yaml'], /no command runn/],
    [['run'], /Usage: varve run FILE/],
    [['run', 'pipeline.yaml', '--untill'], /--untill[\s\S]*Usage: varve run/],
    [['run', 'not-there.yaml'], /not-there\.yaml: cannot be read \(ENOENT\)/],
    [['run', '.'], /cannot be read \(EISDIR\)/],
    [['run', 'pipeline.yaml', 'pipeline.yaml'], /names the pipeline ledger too/],
    [['status'], /Usage: varve status FILE/],
    [['tail', 'pipeline.yaml', 'x', '--from', 'then'], /--from is beginning, end or an ORDER/],
    [['asof', 'pipeline.yaml', 'x', '--limit', '-1'], /--limit/],
    [['asof', 'pipeline.yaml', 'x', '--at', 'yesterday-ish'], /--at is a time/],
    [['history', 'pipeline.yaml', 'x'], /Usage: varve history/],
    [['snapshot', 'pipeline.yaml'], /Name tables, or --all/],
    [['resume', 'pipeline.yaml'], /--accept-gap/],
    [['reset', 'pipeline.yaml'], /--yes/],
  ];
  const say = async ([words, says]: [string[], RegExp]): Promise<void> => {
    const { stdout, stderr } = await pipeline.run(words, 2);
    assert.match(stdout + stderr, says, words.join(' '));
  };
  await Promise.all(wrong.map(say));
  assert.match((await pipeline.run(['help'])).stdout, /varve asof FILE TABLE/);
  assert.match((await pipeline.run(['asof', '--help'])).stdout, /--where SQL/);
  assert.match((await pipeline.run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
});

type Schema = {
  type?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean;
  enum?: unknown[];
  const?: unknown;
  pattern?: string;
  items?: Schema;
  anyOf?: Schema[];
};

/** The part of JSON Schema that the printed schema uses. */
const complaints = (schema: Schema, value: unknown, path = ''): string[] => {
  if (schema.anyOf) {
    const each = schema.anyOf.map((one) => complaints(one, value, path));
    return each.some((found) => found.length === 0) ? [] : each.flat();
  }
  const type = Array.isArray(value) ? 'array' : typeof value;
  const isNumber = type === 'number' && (schema.type === 'integer' || schema.type === 'number');
  if (schema.type !== undefined && schema.type !== type && !isNumber) return [`${path}: ${type}`];
  if (schema.const !== undefined && schema.const !== value) return [`${path}: not ${schema.const}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${path}: not one of ${schema.enum.join()}`];
  if (schema.pattern && !new RegExp(schema.pattern).test(String(value)))
    return [`${path}: ${schema.pattern}`];
  if (Array.isArray(value))
    return value.flatMap((item, at) => complaints(schema.items ?? {}, item, `${path}[${at}]`));
  if (typeof value !== 'object' || value === null || !schema.properties) return [];
  const { properties } = schema;
  const missing = (schema.required ?? [])
    .filter((key) => !(key in value))
    .map((key) => `${path}.${key}: missing`);
  const found = Object.entries(value).flatMap(([key, item]) => {
    const known = properties[key];
    return known === undefined ? [`${path}.${key}: unknown`] : complaints(known, item, `${path}.${key}`);
  });
  return [...missing, ...found];
};

test("schema: README's file fits, a misspelt one does not", async () => {
  await using pipeline = await makePipeline({ url: 'postgres://u@127.0.0.1:1/x' });
  const schema = JSON.parse((await pipeline.run(['schema'])).stdout) as Schema;
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  const example = parse(/```yaml\n([\s\S]*?)```/.exec(readme)?.[1] ?? '') as Record<string, unknown>;
  assert.deepEqual(complaints(schema, example), []);
  assert.deepEqual(complaints(schema, { ...example, tabel: {} }), ['.tabel: unknown']);
  assert.deepEqual(complaints(schema, { ...example, log: { level: 'loud' } }).length, 1);
  const connector = parse(await readFile(join(ROOT, 'connectors/postgres/pipeline.yaml'), 'utf8')) as unknown;
  assert.deepEqual(complaints(schema, connector), []);
});

test('--json: one object a line from every command, errors too', async () => {
  await using stage = await setStage(server);
  const say = async (words: readonly string[], code = 0): Promise<Record<string, unknown>[]> =>
    jsonLines((await stage.pipeline.run([...words, '--json'], code)).stdout);
  const file = 'pipeline.yaml';
  assert.deepEqual(await say(['status', file]), [{ name: stage.name, state: 'new', tables: [] }]);
  const [caughtUp] = await say(UNTIL);
  assert.deepEqual(caughtUp, { name: stage.name, state: 'caught_up', rows: 20, changes: 0, folded: 20 });
  assert.ok((await say(['check', file])).every(({ level }) => level !== 'error'));
  assert.equal((await say(['status', file]))[0]?.state, 'stopped');
  assert.equal((await say(['tail', file, 'items'])).length, 20);
  assert.equal((await say(['asof', file, 'items'])).length, 20);
  assert.deepEqual(
    (await say(['history', file, 'items', '7'])).map(({ row }) => {
      const { id, v } = row as Record<string, unknown>;
      return [id, v];
    }),
    [[7, 'first 7']],
  );
  assert.equal((await say(['snapshot', file, 'public.items']))[0]?.state, 'snapshot_done');
  const [usage] = await say(['resume', file, '--accept-gap'], 2);
  assert.equal(usage?.error, 'usage', 'a gap was accepted although nothing is lost');
  assert.match(String(usage?.sentence), /Nothing is lost/);
  await stage.sql(`select pg_drop_replication_slot('${stage.slot}')`);
  assert.equal((await say(RUN, 1))[0]?.error, 'log_missing');
  assert.equal((await say(['resume', file, '--accept-gap']))[0]?.state, 'gap_accepted');
  assert.equal((await say(['reset', file, '--yes']))[0]?.state, 'reset');
  assert.equal((await say(['schema']))[0]?.title, 'Varve pipeline');
  assert.equal((await say(['asof', file, 'items'], 1))[0]?.error, 'state_lost');
});

test('status: while it runs, after it ended, and for tables in between', async () => {
  await using stage = await setStage(server);
  const never = await stage.pipeline.run(['status', 'pipeline.yaml']);
  assert.match(never.stdout, /never started/);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  const live = await statusOf(stage.pipeline);
  assert.deepEqual([live.state, live.pid], ['running', running.child.pid]);
  running.kill('SIGTERM');
  await running.finished;
  const { stdout } = await stage.pipeline.run(['status', 'pipeline.yaml']);
  assert.match(stdout, new RegExp(`^${stage.name}  stopped  at [0-9A-F]+/[0-9A-F]+`));
  const ended = await statusOf(stage.pipeline);
  const [items] = ended.tables as Record<string, unknown>[];
  assert.deepEqual(
    [items?.table, items?.snapshot, items?.end, items?.waiting, ended.epoch],
    ['public.items', 'done', 20, 0, 1],
  );
  assert.ok(Number(ended.topicBytes) > 0);
});
