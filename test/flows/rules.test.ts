// The options of versions through the whole pipeline: what the file says is what the table does, and every
// commit of a consistent table is a moment of the source.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable, type TextRow } from '../support/table-rows.ts';
import { endOf, makePipeline } from '../support/varve.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];
const ACCOUNTS = 12;
const TRANSFERS = 60;

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

/** Rows that stood when everything up to `order` had happened. */
const standing = (rows: readonly TextRow[], order: string): TextRow[] =>
  rows.filter(
    ({ _order, _order_end }) => `${_order}` <= order && (_order_end === null || `${_order_end}` > order),
  );
const sum = (rows: readonly TextRow[]): number =>
  rows.reduce((total, { balance }) => total + Number(balance), 0);

test('every snapshot of a consistent table is a moment at which the source was', async () => {
  const client = await server.connect();
  await client.query(`drop schema public cascade; create schema public;
    create table account (id int primary key, balance int not null);
    create table booking (id serial primary key, balance int not null);
    insert into account select g, 100 from generate_series(1, ${ACCOUNTS}) g;`);
  await using pipeline = await makePipeline({
    url: server.url,
    name: 'rules',
    commitMs: 100,
    extra: '  consistent: true\n',
  });
  await pipeline.run(UNTIL);
  const running = pipeline.start(['run', 'pipeline.yaml']);
  await running.saw(/streaming/);
  for (let at = 0; at < TRANSFERS; at++) {
    const [from, to] = [(at % ACCOUNTS) + 1, ((at * 5 + 3) % ACCOUNTS) + 1];
    await client.query(`begin; update account set balance = balance - 7 where id = ${from};
      insert into booking (balance) values (7); update account set balance = balance + 7 where id = ${to};
      commit`);
  }
  await endOf(running);
  await pipeline.run(UNTIL);
  const cuts = new Map<string, string[]>();
  for (const name of ['account', 'booking']) {
    const { state, rows } = await readTable(join(pipeline.directory, 'tables'), name);
    const summaries = state.metadata.snapshots.map(({ summary }) => summary['varve.cut'] ?? '');
    assert.ok(summaries.length > 0 && summaries.every((cut) => cut !== ''), `${name}: ${summaries}`);
    cuts.set(name, summaries.toSorted());
    if (name === 'account')
      for (const cut of summaries) assert.equal(sum(standing(rows, cut)), ACCOUNTS * 100, cut);
    else assert.equal(standing(rows, summaries.at(-1) ?? '').length, TRANSFERS);
  }
  assert.deepEqual(cuts.get('account')?.at(-1), cuts.get('booking')?.at(-1), 'both end at the same moment');
  await client.end();
});

test('updates of nothing, deletes and truncates do what the file says', async () => {
  const client = await server.connect();
  await client.query(`drop schema public cascade; create schema public;
    create table kept (id int primary key, balance int not null);
    insert into kept values (1, 10), (2, 20);`);
  const extra = '  noop: keep\n  on_delete: close_and_mark\n  on_truncate: ignore\n  collapse: none\n';
  await using pipeline = await makePipeline({ url: server.url, name: 'rules_too', extra });
  await pipeline.run(UNTIL);
  await client.query('update kept set balance = balance where id = 1');
  await client.query(
    'begin; update kept set balance = 21 where id = 2; delete from kept where id = 2; commit',
  );
  await client.query('truncate kept');
  await pipeline.run(UNTIL);
  const { rows } = await readTable(join(pipeline.directory, 'tables'), 'kept');
  assert.deepEqual(
    rows
      .map(({ id, balance, _op, _closed_by, is_current }) =>
        [id, balance, _op, _closed_by, is_current].join(' '),
      )
      .sort(),
    ['1 10 r u false', '1 10 u  true', '2 20 r u false', '2 21 d d false', '2 21 u d false'],
  );
  const marker = rows.find(({ _op }) => _op === 'd');
  assert.deepEqual([marker?.valid_from, marker?._order], [marker?.valid_to, marker?._order_end]);
  await client.end();
});
