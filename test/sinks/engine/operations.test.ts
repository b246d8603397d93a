// What the engine does beside merging: rewriting files, answering questions, and surviving its own death.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import type { TableSchema } from '../../../src/change/schema.ts';
import { TYPE } from '../../support/plain-table.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import { columnsOf, type EventRecord, EventWriter } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number, ordinal = 0): string => {
  return formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal });
};
type Numbers = [id: number, a?: number];
const change = (op: EventRecord['op'], at: number, ...[id, a = at]: Numbers): EventRecord => ({
  op,
  order: order(at, id),
  ts: BigInt(at) * 1_000_000n,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: { int: a }, b: null },
});
const ids = [1, 2, 3, 4, 5];

const WIDE: TableSchema = {
  name: ['s', 't'],
  columns: columnsOf({ id: { type: TYPE.long, optional: false }, a: { type: TYPE.text } }),
  key: [0],
};

/** Five rows, three of which change, one of which goes. */
const fill = async (table: EngineTable): Promise<void> => {
  await table.merge(ids.map((id) => change('c', 1, id)));
  await table.merge([change('u', 2, 1), change('u', 2, 2), change('d', 2, 5)]);
  await table.merge([change('u', 3, 1), change('u', 3, 3)]);
};

describe('rewriting', () => {
  it('leaves the same rows in one file, sorted, without deletes', async () => {
    using table = new EngineTable({ engine });
    await fill(table);
    const before = await table.rows();
    assert.equal(await table.rewrite(), 1);
    assert.deepEqual(await table.rows(), before);
    assert.equal(table.tableFiles().deletes.length, 0);
    await table.merge([change('u', 4, 1)]);
    assert.equal((await table.rows()).length, before.length + 1);
  });

  it('makes several files of many rows, none of which shares a key with another', async () => {
    using table = new EngineTable({ engine });
    const many = Array.from({ length: 3000 }, (_, at) => at);
    await table.merge(many.map((id) => change('c', 1, id)));
    await table.merge(many.slice(0, 900).map((id) => change('u', 2, id)));
    const before = await table.rows();
    const files = await table.rewrite(500);
    assert.ok(files >= 5 && files <= 7, `${files} files`);
    assert.deepEqual(await table.rows(), before);
    const records = [...table.files.values()].map((file) => file.records);
    assert.ok(Math.max(...records) < 1000, `${records}`);
    const key = table.layout.key[0] ?? 0;
    const ranges = table
      .tableFiles()
      .data.filter(({ partition }) => partition[0] === true)
      .map(({ stats }) => [stats.get(key)?.lower, stats.get(key)?.upper])
      .map((bounds) => bounds.map((bytes) => Buffer.from(bytes ?? []).readBigInt64LE()))
      .sort(([a = 0n], [b = 0n]) => Number(a - b));
    for (const [at, [lower = 0n]] of ranges.entries())
      if (at > 0) assert.ok(lower > (ranges[at - 1]?.[1] ?? 0n), 'two files share keys');
  });

  it('takes as many files as the memory needs', async () => {
    await using small = new SharedEngine('160MB');
    using table = new EngineTable({ engine: small.engine, writers: [new EventWriter(WIDE)] });
    const text = (id: number) => randomBytes(1500).toString('hex') + id;
    const rows = (from: number): EventRecord[] =>
      Array.from({ length: 8000 }, (_, at) => ({
        op: 'c',
        order: order(from, at),
        ts: 1n,
        key: { id: BigInt(from + at) },
        row: { id: BigInt(from + at), a: { string: text(from + at) } },
      }));
    for (const from of [1, 10_000, 20_000, 30_000]) await table.merge(rows(from));
    assert.ok((await table.rewrite()) > 1);
    assert.equal((await table.rows('id')).length, 32_000);
  });
});

describe('merging', () => {
  it('closes what a truncate and a sweep do not name, and drops files of which no row is left', async () => {
    using table = new EngineTable({ engine, buckets: 4 });
    await fill(table);
    await table.merge([{ op: 't', order: order(5), ts: 9n }, change('c', 6, 7)]);
    const rows = await table.rows('id, _order');
    assert.deepEqual(
      rows.filter(({ is_current }) => is_current).map(({ id }) => id),
      ['7'],
    );
    assert.deepEqual(
      rows.filter(({ _closed_by }) => _closed_by === 't').map(({ id }) => id),
      ['1', '2', '3', '4'],
    );
    assert.ok(
      rows.every(({ valid_from, valid_to }) => valid_to === null || String(valid_from) <= String(valid_to)),
    );
    const current = table.tableFiles().data.filter(({ partition }) => partition[0] === true);
    assert.deepEqual([current.length, table.tableFiles().deletes.length], [1, 0]);
    const sweep = formatOrder({ epoch: 2, position: 1n, phase: 0, ordinal: 0 });
    const seen = formatOrder({ epoch: 2, position: 1n, phase: 0, ordinal: 1 });
    await table.merge([change('c', 7, 8), { ...change('r', 6, 7), order: seen }]);
    await table.merge([], { order: sweep, ts: 20_000_000n, kind: 's' });
    const after = await table.rows('id, _order');
    assert.deepEqual(
      after.filter(({ is_current }) => is_current).map(({ id }) => id),
      ['7'],
    );
    assert.deepEqual(
      after.filter(({ _closed_by }) => _closed_by === 's').map(({ id }) => id),
      ['8'],
    );
  });

  it('keeps marks in few files, and forgets those past the horizon', async () => {
    using table = new EngineTable({ engine });
    await table.merge([change('c', 1, 1, 0)]);
    for (let at = 2; at < 20; at++) {
      table.horizon = at > 10 ? order(at - 3) : null;
      await table.merge([change('u', at, 1, 0)]);
    }
    assert.ok(table.state.length <= 9, `${table.state.length} state files`);
    const last = table.results.findLast(({ stateRemoved }) => stateRemoved.length > 0);
    assert.ok((last?.stateAdded?.rows ?? 99) < 9);
    const late = await table.merge([{ ...change('u', 18, 1, 7), order: order(18, 0) }]);
    assert.equal(late.counts.late, 0);
    assert.equal((await table.rows()).length, 1, 'the same transaction ends with what it had');
  });
});

describe('questions', () => {
  const ask = async (
    table: EngineTable,
    question: object,
    { where = null as string | null, limit = 100 } = {},
  ) => {
    const request = { ...table.tableFiles(), rows: question as { kind: 'current' }, where, limit };
    const { columns, rows, more } = await engine.query(request, table.answers);
    const at = ['id', 'a'].map((name) => columns.indexOf(name));
    return { rows: rows.map((values) => at.map((column) => Number(values[column]))), more };
  };

  it('are answered as of now, a time, an order, and for one key', async () => {
    using table = new EngineTable({ engine, buckets: 2 });
    await fill(table);
    assert.deepEqual((await ask(table, { kind: 'current' })).rows, [
      [1, 3],
      [2, 2],
      [3, 3],
      [4, 1],
    ]);
    const then = await ask(table, { kind: 'asOf', at: { ts: 1_500_000n } });
    assert.deepEqual(then.rows, [
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 1],
      [5, 1],
    ]);
    const part = await ask(table, { kind: 'asOf', at: { order: order(2, 1) } });
    assert.deepEqual(part.rows, [
      [1, 2],
      [2, 1],
      [3, 1],
      [4, 1],
      [5, 1],
    ]);
    assert.deepEqual((await ask(table, { kind: 'history', key: [1n] })).rows, [
      [1, 1],
      [1, 2],
      [1, 3],
    ]);
    assert.deepEqual(await ask(table, { kind: 'current' }, { where: 'a > 1 -- most', limit: 2 }), {
      rows: [
        [1, 3],
        [2, 2],
      ],
      more: true,
    });
  });

  it('cannot reach beyond the table', async () => {
    using table = new EngineTable({ engine });
    await fill(table);
    const file = `${table.directory}/written`;
    for (const where of [
      "(SELECT count(*) FROM read_text('/etc/hostname')) > 0",
      "true); COPY (SELECT 1) TO 'x'; SELECT (1",
      `true); COPY (SELECT 1) TO '${file}'; SELECT (true`,
      'nothing = 1',
      'id = ',
      "CAST('secret' AS INTEGER) = id",
    ])
      await assert.rejects(
        ask(table, { kind: 'current' }, { where }),
        (error: { kind: string; message: string }) => {
          assert.equal(error.kind, 'usage', where);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
      );
    assert.ok(!readdirSync(table.directory).includes('written'));
  });
});

describe('the process', () => {
  it('is lost alone: the operation fails, the next one works', async () => {
    using table = new EngineTable({ engine });
    await fill(table);
    const request = table.request([change('u', 9, 1)]);
    const answers = {
      ...table.answers,
      localCopy: (uri: string) => {
        if (engine.pid !== null) process.kill(engine.pid, 'SIGKILL');
        return table.answers.localCopy(uri);
      },
    };
    await assert.rejects(engine.merge(request, answers), { kind: 'engine_failed' });
    const result = await table.apply(await engine.merge(request, table.answers));
    assert.equal(result.counts.opened, 1);
  });

  it('names a file that is not there, and goes on', async () => {
    using table = new EngineTable({ engine });
    await fill(table);
    const request = table.request([change('u', 9, 1)]);
    const answers = { ...table.answers, localCopy: async () => '/nowhere/x.parquet' };
    await assert.rejects(engine.merge(request, answers), { kind: 'table_corrupt', message: /is missing/ });
    const pid = engine.pid;
    await table.apply(await engine.merge(request, table.answers));
    assert.equal(engine.pid, pid);
  });
});
