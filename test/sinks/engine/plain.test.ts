// Keys whose events come in order, which the engine merges by joins and not by the rules: several events of
// a key in one batch, clocks that go back, and one that comes late and meets what was left of them.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { formatOrder, transactionOf } from '../../../src/change/order.ts';
import { rules } from '../../laws/scd2-history.ts';
import { type Event, Model, type ModelRules, refuseLate } from '../../laws/scd2-model.ts';
import { atLevel } from '../../support/level.ts';
import { EngineTable, modelRow, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const RUNS = atLevel({ test: 25, all: 150, deep: 1000 });
const KEYS = 3;
const NUMBERS = [null, { int: 0 }, { int: 1 }];

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const step = fc.record({
  key: fc.nat(KEYS - 1),
  op: fc.constantFrom<Event['op'][]>('c', 'u', 'u', 'u', 'd', 'r'),
  value: fc.nat(NUMBERS.length - 1),
  back: fc.constantFrom(0, 0, 0, 0, 4),
  isSameTransaction: fc.constantFrom(false, false, false, false, true),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

type Said = Pick<Event, 'order' | 'ts' | 'op'>;
const eventOf = ({ order, ts, op }: Said, key: number, value: number): Event => ({
  key: `${key}`,
  order,
  op,
  ts,
  tx: transactionOf(order),
  values: op === 'd' ? [] : [NUMBERS[value]?.int ?? null, 7],
  unchanged: [],
  moved: false,
  origin: null,
});

/** A snapshot's rows: of each key one at most, all of one transaction, which commits may cut anywhere. */
const rowsOf = (values: readonly number[]): Event[] =>
  values.map((value, key) => {
    const order = formatOrder({ epoch: 1, position: 0n, phase: 0, ordinal: key });
    return eventOf({ order, ts: 0n, op: 'r' }, key, value);
  });

const eventsOf = (steps: readonly Step[]): Event[] => {
  let position = 0n;
  return steps.map(({ key, op, value, back, isSameTransaction }, ordinal) => {
    // A row of a later snapshot is none of the source's transactions.
    const phase = op === 'r' ? 0 : 1;
    if (!isSameTransaction || position === 0n || phase === 0) position++;
    const order = formatOrder({ epoch: 1, position, phase, ordinal });
    return eventOf({ order, ts: position - BigInt(back), op }, key, value);
  });
};

const toRecord = ({ key, order, op, ts, tx, values }: Event): EventRecord => {
  const [a = null, b = null] = values.map((value) => (value === null ? null : { int: value }));
  return { op, order, ts, tx, key: { id: BigInt(key) }, row: { id: BigInt(key), a, b } };
};

const check = async (table: EngineTable, events: readonly Event[], options: ModelRules): Promise<void> => {
  const rows = (await table.rows('id, _order')).map(modelRow);
  assert.deepEqual(rows, new Model(events, [], options).rows());
};

describe('plain keys', () => {
  for (const collapse of [true, false])
    it(`become what the rules make of them (${collapse ? 'collapsed' : 'every change'})`, async () => {
      const cuts = fc.array(fc.nat(30), { maxLength: 3 });
      const steps = fc.array(step, { minLength: 2, maxLength: 12 });
      const snapshots = fc.array(fc.nat(NUMBERS.length - 1), { maxLength: KEYS });
      await fc.assert(
        fc.asyncProperty(
          fc.tuple(snapshots, steps),
          cuts,
          fc.tuple(fc.nat(14), rules),
          async (plan, places, [late, given]) => {
            const options = { ...given, collapse };
            using table = new EngineTable({ engine, rules: options, buckets: 2 });
            const [read, steps] = plan;
            const events = [...rowsOf(read), ...eventsOf(steps)];
            const held = events[late % events.length] as Event;
            const early = events.filter((event) => event !== held);
            const ends = [...new Set(places.map((place) => place % early.length)), early.length];
            let start = 0;
            for (const end of ends.sort((a, b) => a - b)) {
              await table.merge(early.slice(start, end).map(toRecord));
              start = end;
            }
            await check(table, early, options);
            // Rows that are told again are no news.
            await table.merge(
              rowsOf(read)
                .filter(({ key, order }) => early.some((one) => one.order === order && one.key === key))
                .map(toRecord),
            );
            await check(table, early, options);
            await table.merge([toRecord(held)]);
            const { taken, late: refused } = refuseLate([...early, held]);
            await check(table, options.late === 'apply' ? events : taken, options);
            const dead = table.results.flatMap((result) => result.dead);
            assert.equal(dead.length, options.late === 'dlq' ? refused.length : 0);
          },
        ),
        { numRuns: RUNS, endOnFailure: true },
      );
    });

  it('are left to the rules where the table is ahead of what it says of itself', async () => {
    using table = new EngineTable({ engine });
    const events = eventsOf(
      [0, 1, 2].map((value) => ({ key: 1, op: 'u', value, back: 0, isSameTransaction: false })),
    );
    const [first, second, third] = events as [Event, Event, Event];
    await table.merge([first, third].map(toRecord));
    table.highs = new Map([[0, { order: transactionOf(first.order), ts: 0n }]]);
    const { counts } = await table.merge([toRecord(second)]);
    assert.equal(counts.late, 1);
    await check(table, events, {});
  });
});
