// What differs between two moments of a table is what differs between the two answers of what stood then,
// for random histories, with rewrites in between, from files of one state and of two.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { formatOrder } from '../../../src/change/order.ts';
import type { EngineValue } from '../../../src/sinks/parquet/columns-value.ts';
import type { CompareRequest, CompareResult, Moment } from '../../../src/sinks/parquet/engine/protocol.ts';
import { withoutShared } from '../../../src/sinks/parquet/query-files.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (at: number, ordinal = 0): string =>
  formatOrder({ epoch: 1, position: BigInt(at), phase: 1, ordinal });

type Step = { id: number; a: number | null; isDelete: boolean };

const event = ({ id, a, isDelete }: Step, at: number): EventRecord => ({
  op: isDelete ? 'd' : 'u',
  order: order(at, id),
  ts: BigInt(at) * 1_000_000n,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: a === null ? null : { int: a }, b: null },
});

/** Steps are a commit each, of changes of different rows. */
const histories = fc.array(
  fc.uniqueArray(
    fc.record({
      id: fc.integer({ min: 1, max: 6 }),
      a: fc.option(fc.integer({ min: 0, max: 2 })),
      isDelete: fc.boolean(),
    }),
    { selector: ({ id }) => id, minLength: 1, maxLength: 4 },
  ),
  { minLength: 2, maxLength: 6 },
);

type Values = Map<number, EngineValue>;

const standing = async (table: EngineTable, moment: Moment): Promise<Values> => {
  const request = { ...table.tableFiles(), rows: moment, where: null, limit: 100 };
  const { columns, rows } = await engine.query(request, table.answers);
  const [id, a] = [columns.indexOf('id'), columns.indexOf('a')];
  return new Map(rows.map((row) => [Number(row[id]), row[a] ?? null]));
};

/** `+1 =2`, `-1 =2`, `~1 2 -> 3`, sorted by key. */
const expected = (from: Values, to: Values): string[] =>
  [...new Set([...from.keys(), ...to.keys()])]
    .sort((one, other) => one - other)
    .flatMap((id) => {
      if (!from.has(id)) return [`+${id} =${to.get(id)}`];
      if (!to.has(id)) return [`-${id} =${from.get(id)}`];
      return from.get(id) === to.get(id) ? [] : [`~${id} ${from.get(id)} -> ${to.get(id)}`];
    });

const told = ({ columns, rows }: CompareResult): string[] => {
  const [id, a] = [columns.indexOf('id'), columns.indexOf('a')];
  return rows.map(({ kind, before, after: now }) => {
    if (kind === 'added') return `+${now?.[id]} =${now?.[a]}`;
    if (kind === 'removed') return `-${before?.[id]} =${before?.[a]}`;
    return `~${now?.[id]} ${before?.[a]} -> ${now?.[a]}`;
  });
};

const countsOf = (lines: readonly string[]): CompareResult['counts'] => ({
  added: lines.filter((line) => line.startsWith('+')).length,
  removed: lines.filter((line) => line.startsWith('-')).length,
  changed: lines.filter((line) => line.startsWith('~')).length,
});

const moments = (steps: number): fc.Arbitrary<Moment> =>
  fc.oneof(
    fc.constant<Moment>({ kind: 'current' }),
    fc
      .integer({ min: 0, max: steps + 1 })
      .chain((at) =>
        fc.constantFrom<Moment>(
          { kind: 'asOf', at: { ts: BigInt(at) * 1_000_000n + 500_000n } },
          { kind: 'asOf', at: { order: order(at, 99) } },
        ),
      ),
  );

const both = (
  table: EngineTable,
  from: Moment,
  to: Moment,
): Pick<CompareRequest, 'layout' | 'from' | 'to'> => {
  const { layout, data, deletes } = table.tableFiles();
  return {
    layout,
    from: { data, deletes, moment: from, except: to },
    to: { data, deletes, moment: to, except: from },
  };
};

test('two moments of one state: what stood then and does not now, and the other way round', async () => {
  await fc.assert(
    fc.asyncProperty(
      histories.chain((steps) => fc.tuple(fc.constant(steps), moments(steps.length), moments(steps.length))),
      async ([steps, from, to]) => {
        using table = new EngineTable({ engine, buckets: 2 });
        for (const [at, changes] of steps.entries())
          await table.merge(changes.map((change) => event(change, at + 1)));
        const lines = expected(await standing(table, from), await standing(table, to));
        const result = await engine.compare(
          { ...both(table, from, to), where: null, limit: 100 },
          table.answers,
        );
        assert.deepEqual(told(result), lines);
        assert.deepEqual(result.counts, countsOf(lines));
      },
    ),
    { numRuns: 12 },
  );
});

test('two states: files that both have are left out, and nothing is missed', async () => {
  using table = new EngineTable({ engine, buckets: 2 });
  const change = (id: number, at: number, a: number): EventRecord => event({ id, a, isDelete: false }, at);
  await table.merge([1, 2, 3, 4, 5, 6].map((id) => change(id, 1, 0)));
  await table.merge([change(7, 2, 0)]);
  const { data, deletes, layout } = table.tableFiles();
  const before = { data, deletes };
  const from = await standing(table, { kind: 'current' });
  await table.merge([change(1, 3, 5), event({ id: 2, a: 0, isDelete: true }, 3)]);
  await table.merge([change(8, 4, 1)]);
  const now = table.tableFiles();
  const lines = expected(from, await standing(table, { kind: 'current' }));
  const live = (files: typeof before) => ({
    data: files.data.map((file) => ({ ...file, sequence: 1, fileSequence: 1, snapshotId: 1n })),
    deletes: files.deletes.map((file) => ({ ...file, sequence: 1, fileSequence: 1, snapshotId: 1n })),
  });
  const [old, fresh] = withoutShared(live(before), live(now));
  assert.ok(fresh.data.length < now.data.length, 'the file of row 7 is in both states as it is');
  const moment = { kind: 'current' } as const;
  const request: CompareRequest = {
    layout,
    from: { ...old, moment, except: null },
    to: { ...fresh, moment, except: null },
    where: null,
    limit: 100,
  };
  assert.deepEqual(told(await engine.compare(request, table.answers)), lines);
  assert.deepEqual(lines, ['~1 0 -> 5', '-2 =0', '+8 =1']);
});

test('rows of which only the key holds a value come and go as well', async () => {
  using table = new EngineTable({ engine });
  await table.merge([event({ id: 1, a: null, isDelete: false }, 1)]);
  await table.merge([
    event({ id: 1, a: null, isDelete: true }, 2),
    event({ id: 2, a: null, isDelete: false }, 2),
  ]);
  const asked = both(table, { kind: 'asOf', at: { ts: 1_500_000n } }, { kind: 'current' });
  const result = await engine.compare({ ...asked, where: null, limit: 10 }, table.answers);
  assert.deepEqual(told(result), ['-1 =null', '+2 =null']);
});

test('a condition counts where it holds before or after; the limit is of what is listed', async () => {
  using table = new EngineTable({ engine });
  const change = (id: number, at: number, a: number): EventRecord => event({ id, a, isDelete: false }, at);
  await table.merge([1, 2, 3, 4].map((id) => change(id, 1, id)));
  await table.merge([change(1, 2, 9), change(2, 2, 9), change(3, 2, 8), change(4, 2, 7)]);
  const asked = both(table, { kind: 'asOf', at: { ts: 1_500_000n } }, { kind: 'current' });
  const result = await engine.compare({ ...asked, where: 'a = 1 OR a = 8 -- so', limit: 1 }, table.answers);
  assert.deepEqual(result.counts, { added: 0, removed: 0, changed: 2 });
  assert.deepEqual(told(result), ['~1 1 -> 9']);
  await assert.rejects(engine.compare({ ...asked, where: 'a IN (SELECT 1)', limit: 1 }, table.answers), {
    kind: 'usage',
  });
});
