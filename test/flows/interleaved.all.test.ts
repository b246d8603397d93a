// Hundreds of transactions that are open at once: the table has them in the order of their commits, and
// nothing of what was taken back; a transaction that is prepared and left open holds nobody up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { seededRandom } from '../support/seeded.ts';
import { assertSameRows, RUN, readCurrent, type Stage, setStage, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({
  major: 17,
  settings: { max_connections: '260', max_prepared_transactions: '10' },
});
test.after(() => server[Symbol.asyncDispose]());

const OPEN = 200;

const openMany = ({ url }: Stage): Promise<pg.Client[]> =>
  Promise.all(
    Array.from({ length: OPEN }, async () => {
      const client = new pg.Client({ connectionString: url }).on('error', () => undefined);
      await client.connect();
      await client.query('begin');
      return client;
    }),
  );

/** A row that stays, one in a savepoint that is taken back, one in a savepoint that is kept. */
const writeRound = (client: pg.Client, id: number): Promise<unknown> =>
  client.query(`insert into items values (${id}, 'stays');
    savepoint a; insert into items values (${id + 1}, 'no');
    update items set v = 'no' where id = ${id}; rollback to savepoint a;
    savepoint b; insert into items values (${id + 2}, 'kept'); release savepoint b`);

test(`${OPEN} transactions at once, one in five rolled back: in the order of their commits`, async (t) => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const clients = await openMany(stage);
  for (let round = 0; round < 3; round++)
    await Promise.all(clients.map((client, at) => writeRound(client, 1000 + at * 100 + round * 10)));
  const random = seededRandom((text) => t.diagnostic(text));
  const order = clients.map((client, at) => ({ client, at, rank: random() })).sort((a, b) => a.rank - b.rank);
  const committed: string[] = [];
  for (const { client, at } of order) {
    const isKept = at % 5 !== 0;
    // The row is locked from here to the end, so that its versions tell the order.
    await client.query(`update items set v = 'by ${at}' where id = 1; ${isKept ? 'commit' : 'rollback'}`);
    if (isKept) committed.push(`by ${at}`);
    await client.end();
  }
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const { rows } = await readTable(stage.tables, 'items');
  const versions = rows.filter(({ id }) => id === '1').map(({ v }) => v);
  assert.deepEqual(versions, ['first 1', ...committed]);
  assert.deepEqual(
    rows.filter(({ v }) => v === 'no'),
    [],
    'what was taken back is there',
  );
});

test('a prepared transaction that stays open holds nobody up; it comes when it is committed', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await stage.sql("begin; insert into items values (600, 'late'); prepare transaction 'late'");
  await stage.sql("begin; insert into items values (601, 'never'); prepare transaction 'never'");
  await stage.sql("insert into items values (500, 'after both')");
  await until(() => isFolded(stage, 500));
  const ids = (await readCurrent(stage)).map(([id]) => id);
  assert.ok(!ids.includes('600') && !ids.includes('601'), 'what is not committed is there');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await stage.sql("commit prepared 'late'");
  await stage.sql("rollback prepared 'never'");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  const { rows } = await readTable(stage.tables, 'items');
  assert.deepEqual(
    rows.map(({ id }) => id).filter((id) => ['500', '600', '601'].includes(String(id))),
    ['500', '600'],
  );
});
