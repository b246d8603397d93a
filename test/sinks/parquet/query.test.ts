// Asking a table of many files: one key's life opens few of them, a moment skips what began later or ended
// before, snapshots show what a commit left, and what is not there any more is named.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AskedTable, TableQueries } from '../../../src/sinks/parquet/query.ts';
import { orderAt, TableBench, upkeep, upsert } from '../../support/table-bench.ts';
import { readTable } from '../../support/table-rows.ts';

const COMMITS = 20;
const TS = 1_700_000_000_000_000n;
const second = (n: number): bigint => TS + BigInt(n) * 1_000_000n;

/** Each commit changes one of ten keys, so key and time tell its files apart. */
const fill = async (bench: TableBench): Promise<void> => {
  for (let n = 1; n <= COMMITS; n++) await bench.commit([upsert(n, n % 10, n)]);
};

const open = (queries: TableQueries): Promise<AskedTable> => queries.open({ namespace: 'public', name: 't' });

test('one key, one moment, what differs between two: few of many files are opened', async () => {
  await using bench = await TableBench.make();
  await fill(bench);
  const { files } = await readTable(bench.location, 't');
  const all = files.filter(({ content }) => content === 'data').length;
  assert.equal(all, COMMITS, 'as many files as versions: what ended left its first file');
  const place = { location: bench.location };
  {
    await using queries = new TableQueries(place);
    const table = await open(queries);
    const { rows, columns } = await queries.ask(table, {
      rows: { kind: 'history', key: [7n] },
      where: null,
      limit: 100,
    });
    const a = columns.indexOf('a');
    assert.deepEqual(
      rows.map((row) => row[a]),
      [7, 17],
    );
    const { effort } = queries.engine;
    assert.deepEqual([effort.files, effort.opened, effort.candidates], [all, 2, 2]);
  }
  {
    await using queries = new TableQueries(place);
    const table = await open(queries);
    const then = { kind: 'asOf', at: { ts: second(5) } } as const;
    const { rows } = await queries.ask(table, { rows: then, where: null, limit: 100 });
    assert.equal(rows.length, 5);
    assert.equal(queries.engine.effort.opened, 5, 'what began later or had ended before is not read');
  }
  {
    await using queries = new TableQueries(place);
    const table = await open(queries);
    const then = { kind: 'asOf', at: { order: orderAt(5) } } as const;
    const { rows } = await queries.ask(table, { rows: then, where: null, limit: 100 });
    assert.deepEqual([rows.length, queries.engine.effort.opened], [5, 5]);
  }
  {
    await using queries = new TableQueries(place);
    const table = await open(queries);
    const missing = await queries.ask(table, {
      rows: { kind: 'history', key: [4711n] },
      where: null,
      limit: 1,
    });
    assert.deepEqual([missing.rows, queries.engine.effort.opened], [[], 0]);
  }
  {
    await using queries = new TableQueries({ location: bench.location });
    const table = await open(queries);
    const [from, to] = [COMMITS - 2, COMMITS].map((n) => ({
      table,
      moment: { kind: 'asOf', at: { ts: second(n) } } as const,
    })) as [Parameters<typeof queries.compare>[0], Parameters<typeof queries.compare>[1]];
    const found = await queries.compare(from, to, { layout: table.layout, where: null, limit: 10 });
    assert.deepEqual(found.counts, { added: 0, removed: 0, changed: 2 });
    assert.ok(queries.engine.effort.opened <= 6, `${queries.engine.effort.opened} files`);
  }
});

test('snapshots: what a commit left, what differs between two, and one that has expired', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 100;
  await bench.open();
  const ids: bigint[] = [];
  for (let n = 1; n <= 12; n++) ids.push((await bench.commit([upsert(n, n % 4, n)])).snapshotId ?? 0n);
  await upkeep(bench);
  await using queries = new TableQueries({ location: bench.location });
  const table = await open(queries);
  const at = async (snapshot: bigint) => ({
    table: await queries.openAt(table, snapshot),
    moment: { kind: 'current' } as const,
  });
  const sixth = await at(ids[5] ?? 0n);
  const question = { rows: { kind: 'current' }, where: null, limit: 100 } as const;
  const then = await queries.ask(sixth.table, question);
  const [id, a] = [then.columns.indexOf('id'), then.columns.indexOf('a')];
  const values = (rows: readonly (readonly unknown[])[]): unknown[] => rows.map((row) => [row[id], row[a]]);
  assert.deepEqual(values(then.rows), [
    [0n, 4],
    [1n, 5],
    [2n, 6],
    [3n, 3],
  ]);
  const options = { layout: table.layout, where: null, limit: 10 };
  const eighth = await at(ids[7] ?? 0n);
  const { counts, rows } = await queries.compare(sixth, eighth, options);
  assert.deepEqual(counts, { added: 0, removed: 0, changed: 2 });
  assert.deepEqual(
    rows.map(({ before, after }) => [before?.[id], before?.[a], after?.[a]]),
    [
      [0n, 4, 8],
      [3n, 3, 7],
    ],
  );
  const rewritten = await queries.compare(
    await at(ids[11] ?? 0n),
    { table, moment: { kind: 'current' } },
    options,
  );
  assert.deepEqual(rewritten.counts, { added: 0, removed: 0, changed: 0 }, 'a rewrite changes no row');
  await assert.rejects(queries.openAt(table, 4711n), /no snapshot 4711: .* It has [0-9]+ \(/);
});
