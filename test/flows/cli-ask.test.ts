// What the source held then, asked of the table: at a time, at an order, one row's whole life, odd keys, and
// a condition that can do nothing but filter.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { askOracle, canonicalImage, type Image, installOracle } from '../support/oracle.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN, setStage, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';
import { runWorkload } from '../support/workload.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

type Row = Record<string, unknown>;

const rowsOf = async (pipeline: TestPipeline, words: readonly string[]): Promise<Row[]> => {
  const { stdout } = await pipeline.run([words[0] ?? '', '--json', 'pipeline.yaml', ...words.slice(1)]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
};

/** A row of `ledger` as the command prints it, in the oracle's form. */
const imageOf = ({ id, n, name, flag, amount, score, at, day, big }: Row): Image => {
  const text = (value: unknown): string | null => (value === null ? null : String(value));
  const [whole = '', fraction = ''] = String(at).replace('Z', '').split('.');
  const micros = at === null ? null : `${whole}.${fraction.padEnd(6, '0')}`;
  const md5 = big === null ? null : createHash('md5').update(String(big)).digest('hex');
  return canonicalImage([
    text(id),
    text(n),
    text(name),
    text(flag),
    text(amount),
    text(score),
    micros,
    text(day),
    md5,
  ]);
};

test('asof: a time and an order show what the source held then', async () => {
  await using own = await startPostgres({ major: 17 });
  const admin = await own.connect();
  await installOracle(admin);
  const session = await own.connect();
  const workload = { seed: 11, keys: 30, truncates: false, keyChanges: true };
  await runWorkload([session], workload, 20);
  await using pipeline = await makePipeline({ url: own.url });
  await pipeline.run(UNTIL);
  const moments: { at: string; rows: Map<string, Image> }[] = [];
  for (let round = 1; round <= 2; round++) {
    await runWorkload([session], { ...workload, seed: 11 + round }, 15);
    const [now] = await own.query(
      `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
    );
    moments.push({ at: String(now?.at), rows: (await askOracle(admin)).current });
  }
  await pipeline.run(UNTIL);
  const { rows: versions } = await readTable(join(pipeline.directory, 'tables'), 'ledger');
  for (const { at, rows } of moments) {
    const expected = [...rows.values()].map((image) => JSON.stringify(image)).sort();
    const asOf = async (instant: string): Promise<string[]> =>
      (await rowsOf(pipeline, ['asof', 'ledger', '--at', instant]))
        .map((row) => JSON.stringify(imageOf(row)))
        .sort();
    assert.deepEqual(await asOf(at), expected, `at ${at}`);
    const before = versions.filter(({ _commit_ts }) => `${_commit_ts?.replace(' ', 'T')}Z` <= at);
    const order =
      before
        .map(({ _order }) => String(_order))
        .sort()
        .at(-1) ?? '';
    const ends = versions.filter(
      ({ _order_end, valid_to }) => _order_end !== null && `${valid_to?.replace(' ', 'T')}Z` <= at,
    );
    const last = [order, ...ends.map(({ _order_end }) => String(_order_end))].sort().at(-1) ?? '';
    assert.deepEqual(await asOf(last), expected, `at ${last}`);
  }
});

test('asof --where filters, and can do nothing else', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const where = (condition: string): string[] => ['asof', 'items', '--where', condition];
  assert.deepEqual(
    (await rowsOf(stage.pipeline, where('id > 18'))).map(({ id }) => id),
    [19, 20],
  );
  assert.deepEqual(
    (await rowsOf(stage.pipeline, where("v like '% 7' -- a remark"))).map(({ id }) => id),
    [7],
  );
  for (const hostile of [
    "(select count(*) from read_csv('/etc/passwd')) > 0",
    "true); copy (select 1) to '/tmp/varve-was-here'; select (true",
    'true); set enable_external_access = true; select (true',
    'v::int > 0',
  ]) {
    const words = ['asof', 'pipeline.yaml', 'items', '--where', hostile];
    const { stdout, stderr } = await stage.pipeline.run(words, 2);
    assert.match(stderr, /The condition was refused/, hostile);
    assert.doesNotMatch(stdout + stderr, /root:|first \d|at .*\.ts:/, hostile);
  }
});

test('asof and history: what is not there is said, not guessed', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const refused: [string[], RegExp][] = [
    [['asof', 'pipeline.yaml', 'itemz'], /itemz is not there; .* has public\.items/],
    [
      ['history', 'pipeline.yaml', 'items', '1', '2'],
      /key has these columns, .*: id \(int\)\. 2 values were given/,
    ],
    [['history', 'pipeline.yaml', 'items', 'one'], /key column id is of type int: "one" is none/],
    [['history', 'pipeline.yaml', 'items', '1.5'], /key column id is of type int: "1\.5" is none/],
  ];
  for (const [words, says] of refused) assert.match((await stage.pipeline.run(words, 2)).stderr, says);
  assert.deepEqual(await rowsOf(stage.pipeline, ['history', 'items', '4711']), []);
  assert.deepEqual(await rowsOf(stage.pipeline, ['asof', 'items', '--at', '2001-01-01T00:00:00Z']), []);
  const limited = await stage.pipeline.run(['asof', 'pipeline.yaml', 'items', '--limit', '3']);
  assert.match(limited.stderr, /only the first 3 rows/);
  assert.equal(limited.stdout.trimEnd().split('\n').length, 4);
});

test('history: composite keys and odd values of them', async () => {
  const keys = [`it's "quoted" %`, '', 'e\u0301', "'); drop table x; --\n🦆"];
  // Looks like another one of them, and is none.
  const values = [...keys, '\u00e9'].map(
    (key) => `('${key.replaceAll("'", "''")}', '2024-02-29', -12.50, 'first')`,
  );
  await using stage = await setStage(server, {
    schema: `create table odd (k text, d date, n numeric(8,2), v text, primary key (k, d, n));
      insert into odd values ${values.join(', ')}`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql("update odd set v = 'second'; delete from odd where k = ''");
  await stage.pipeline.run(UNTIL);
  for (const key of keys) {
    const found = await rowsOf(stage.pipeline, ['history', 'odd', '--', key, '2024-02-29', '-12.50']);
    const row = [key, '2024-02-29', '-12.50'];
    assert.deepEqual(
      found
        .filter(({ kind }) => kind === 'version')
        .map(({ row: version }) => ['k', 'd', 'n', 'v', '_closed_by'].map((name) => (version as Row)[name])),
      // Changed and gone in one transaction: nobody else ever saw the second one.
      key === ''
        ? [[...row, 'first', 'd']]
        : [
            [...row, 'first', 'u'],
            [...row, 'second', null],
          ],
      JSON.stringify(key),
    );
  }
});

test('tail: from the beginning, from the end, from an order, and what is not sent stays away', async () => {
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text, big text);
      alter table items alter big set storage external;
      insert into items values (1, 'one', repeat('x', 5000)), (2, 'two', null)`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql("update items set v = 'changed' where id = 1; delete from items where id = 2");
  await stage.pipeline.run(UNTIL);
  const all = await rowsOf(stage.pipeline, ['tail', 'items']);
  assert.deepEqual(
    all.map(({ op, after, before }) => [op, ((after ?? before) as Row).id]),
    [
      ['r', 1],
      ['r', 2],
      ['u', 1],
      ['d', 2],
    ],
  );
  const update = all[2] as { order: string; after: Row; unchanged: string[] };
  assert.deepEqual([update.after, update.unchanged], [{ id: 1, v: 'changed' }, ['big']]);
  const from = await rowsOf(stage.pipeline, ['tail', 'items', '--from', update.order]);
  assert.deepEqual(from, all.slice(2));
  const running = stage.pipeline.start(RUN);
  const tail = stage.pipeline.start([
    'tail',
    'pipeline.yaml',
    'items',
    '--from',
    'end',
    '--follow',
    '--json',
  ]);
  // What is followed begins where the topic ends once it is open, so rows come until one is seen.
  let id = 100;
  const seen = tail.saw(/"op":"c"/);
  let isSeen = false;
  void seen.then(() => (isSeen = true));
  while (!isSeen) {
    await stage.sql(`insert into items values (${id++}, 'new', null)`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  tail.kill('SIGTERM');
  const end = await tail.finished;
  assert.equal(end.code, 0);
  assert.ok(!end.stdout.includes('"op":"r"'));
  running.kill('SIGTERM');
  await running.finished;
});
