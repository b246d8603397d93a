// The largest that a source can hold: a value of a hundred megabytes, a row of all the columns there may be,
// a database of very many tables.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, setStage, UNTIL } from '../support/stage.ts';
import { measureTable, readTable } from '../support/table-rows.ts';
import type { Running } from '../support/varve.ts';

const server = await startPostgres({
  major: 17,
  settings: { max_locks_per_transaction: '2000', shared_buffers: '128MB' },
});
test.after(() => server[Symbol.asyncDispose]());

/** The most memory that the process ever had, megabytes, until it ends with `expected`. */
const peakMb = async ({ child, finished }: Running, expected = 0): Promise<number> => {
  let most = 0;
  let isRunning = true;
  void finished.then(() => {
    isRunning = false;
  });
  while (isRunning) {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    most = Math.max(most, Number(/^VmHWM:\s+([0-9]+) kB/m.exec(status)?.[1] ?? 0) / 1024);
    await sleep(100);
  }
  const { code, stderr } = await finished;
  assert.equal(code, expected, stderr);
  return most;
};

const MEGABYTES = 100;

test(`a value of ${MEGABYTES} MB, by snapshot and log, and kept where it did not change`, async (t) => {
  const big = (letter: string): string => `repeat('${letter}', ${MEGABYTES} * 1000000)`;
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, v text, n int);
      insert into items values (1, ${big('s')}, 0)`,
  });
  const first = await peakMb(stage.pipeline.start(UNTIL));
  await stage.sql(`insert into items values (2, ${big('l')}, 0)`);
  await stage.sql('update items set n = 1 where id = 1');
  const second = await peakMb(stage.pipeline.start(UNTIL));
  t.diagnostic(`${Math.round(first)} MB for the snapshot, ${Math.round(second)} MB for the log`);
  assert.ok(Math.max(first, second) < 20 * MEGABYTES, `it took ${first} and ${second} MB`);
  const found = await measureTable(stage.tables, 'items', [
    `count(*) filter (id = 1 and is_current and n = 1 and v = ${big('s')})`,
    `count(*) filter (id = 2 and is_current and n = 0 and v = ${big('l')})`,
    'count(*)',
  ]);
  assert.deepEqual(found, ['1', '1', '3']);
});

test('a value that no topic can hold is refused by name, and memory stays bounded', async () => {
  await using stage = await setStage(server, { schema: 'create table items (id int primary key, v text)' });
  await stage.pipeline.run(UNTIL);
  await stage.sql("insert into items values (1, repeat('x', 300000000))");
  const refused = stage.pipeline.start(UNTIL);
  const most = await peakMb(refused, 1);
  assert.match(
    (await refused.finished).stderr,
    /public\.items with the key .*300000[0-9]{3} bytes.*leave the column out/,
  );
  assert.ok(most < 2000, `it took ${most} MB`);
});

test('a row of 1,600 columns', async () => {
  const names = Array.from({ length: 1599 }, (_, at) => `c${at}`);
  await using stage = await setStage(server, {
    schema: `create table items (id int primary key, ${names.map((name) => `${name} int`).join(', ')});
      insert into items select 1, ${names.map((_, at) => at).join(', ')}`,
  });
  await stage.pipeline.run(UNTIL);
  await stage.sql('update items set c1598 = -1');
  await stage.pipeline.run(UNTIL);
  const { rows } = await readTable(stage.tables, 'items');
  const values = rows.map((row) => names.map((name) => row[name]));
  const snapshot = names.map((_, at) => String(at));
  assert.deepEqual(values, [snapshot, [...snapshot.slice(0, -1), '-1']]);
});

const TABLES = 10_000;

test(`a database of ${TABLES} tables, of which ninety-one are captured`, async (t) => {
  await using stage = await setStage(server, {
    schema: 'create table items (id int primary key, v text)',
    tables: '["public.items", "public.t77??", "!public.t77?0"]',
  });
  for (let from = 0; from < TABLES; from += 1000)
    await stage.sql(`do $$ begin for at in ${from} .. ${from + 999} loop
      execute format('create table t%s (id int primary key, v text)', at); end loop; end $$`);
  await stage.sql("insert into t7701 values (1, 'of many'); insert into items values (1, 'of all')");
  const first = await peakMb(stage.pipeline.start(UNTIL));
  await stage.sql("insert into t7702 values (2, 'later'); insert into t1 values (1, 'not asked for')");
  const second = await peakMb(stage.pipeline.start(UNTIL));
  t.diagnostic(`${Math.round(first)} MB, then ${Math.round(second)} MB`);
  for (const name of ['items', 't7701', 't7702']) await assertSameRows(stage, name);
  await assert.rejects(readTable(stage.tables, 't1'), /no table/);
});
