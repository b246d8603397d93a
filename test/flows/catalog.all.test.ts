// What `varve attach` prints is run as it is printed, by every engine that starts here, while the daemon goes
// on committing: each finds one whole transaction, and later ones when it looks again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runAttached, splitTrino } from '../support/attached.ts';
import { until } from '../support/polling.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { pickPort } from '../support/postgres-process.ts';
import { RUN, type Stage, setStage } from '../support/stage.ts';
import { startTrino } from '../support/trino.ts';
import { endOf, type Running } from '../support/varve.ts';

const ROWS = 8;
const PAUSE_MS = 100;
const IDS = Array.from({ length: ROWS }, (_, at) => at + 1);

let server: TestPostgres;
let stage: Stage;
let running: Running;
let writing: Promise<void>;
const over = new AbortController();

/** Every transaction gives all rows the same value. */
const keepWriting = async (): Promise<void> => {
  for (let n = 0; !over.signal.aborted; n++) {
    await stage.sql(`update public.items set v = 'n${n}'`);
    await sleep(PAUSE_MS);
  }
};

before(async () => {
  server = await startPostgres({ major: 17 });
  const port = await pickPort();
  stage = await setStage(server, {
    name: 'shop',
    schema: `create table public.items (id int primary key, v text);
      insert into public.items select g, 'n0' from generate_series(1, ${ROWS}) g`,
    extra: `http:\n  listen: 127.0.0.1:${port}\n`,
  });
  running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  writing = keepWriting();
  // So that no engine is the first to look at an empty place.
  for (let code = 0; code !== 200; )
    ({ status: code } = await fetch(`http://127.0.0.1:${port}/v1/namespaces/public/tables/items`));
});
after(async () => {
  over.abort();
  await writing;
  await endOf(running);
  await stage[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const printedFor = async (engine: string, by: string): Promise<string> => {
  const words = ['attach', 'pipeline.yaml', 'items', '--engine', engine, '--by', by];
  return (await stage.pipeline.run(words)).stdout;
};

/** The number of the transaction that all rows are from. */
const transactionOf = (rows: readonly (readonly [number, string])[]): number => {
  assert.deepEqual(rows.map(([id]) => id).sort(), IDS);
  const values = new Set(rows.map(([, v]) => v));
  assert.equal(values.size, 1, `rows of several transactions: ${[...values]}`);
  return Number([...values][0]?.slice(1));
};

for (const by of ['rest', 'path'])
  for (const [engine, run] of Object.entries(runAttached))
    test(`${engine} by ${by}: what is printed reads one transaction, then a later one`, async () => {
      const text = await printedFor(engine, by);
      const first = transactionOf(await run(text));
      // The next commit may take its time.
      await until(async () => transactionOf(await run(text)) > first);
    });

test('trino by rest: the file and the statement that are printed', async () => {
  const { properties, sql } = splitTrino(await printedFor('trino', 'rest'));
  await using trino = await startTrino({ shop: properties });
  const read = async (): Promise<number> => {
    let rows: unknown[][] = [];
    for (const statement of sql) rows = await trino.query(statement);
    return transactionOf(rows.map(([id, v]) => [Number(id), String(v)]));
  };
  const first = await read();
  await until(async () => (await read()) > first);
  assert.deepEqual(await trino.query('show tables from shop.public'), [['items']]);
  await assert.rejects(trino.query('create table shop.public.other (a int)'), /does not support/);
});
