// Laws of a table in latest mode: whatever comes, in whatever order, however often and cut into whatever
// batches, it holds what a table that remembers shows of now, and nothing else; however rows go.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { transactionOf } from '../../src/change/order.ts';
import type { WriteWay } from '../../src/sinks/parquet/engine/protocol.ts';
import { EngineTable, latestRow, SharedEngine } from '../sinks/engine/engine-table.ts';
import { mergeDelivery } from '../sinks/engine/model-events.ts';
import { atLevel } from '../support/level.ts';
import { arrivals, deliver, histories } from './scd2-history.ts';
import { Model } from './scd2-model.ts';
import { deliveries } from './scd2-table.ts';

const RUNS = atLevel({ test: 8, all: 100, deep: 1500 });
/** `isCut`: into buckets. */
const rules = fc.record({
  isCut: fc.boolean(),
  collapse: fc.constantFrom(true, true, false),
  keepNoops: fc.constantFrom(false, false, true),
});
const WAYS: readonly WriteWay[] = ['merge_on_read', 'copy_on_write'];

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

/** What stands now, without what tells of the past. */
const standing = (model: Model) =>
  model
    .rows()
    .filter(({ closedBy }) => closedBy === null)
    .map(({ key, order, from, op, ts, tx, image }) => ({ key, order, from, op, ts, tx, image }));

describe('a table of what is now', () => {
  for (const write of WAYS)
    it(`is a function of the set of events (${write})`, async () => {
      await fc.assert(
        fc.asyncProperty(histories(6), arrivals, rules, async (history, arrival, chosen) => {
          const { events, barriers } = history;
          const { isCut, ...rest } = chosen;
          using table = new EngineTable({
            engine,
            mode: 'latest',
            write,
            buckets: isCut ? 4 : 1,
            // What a delete leaves where deletes are marked is of the past as well.
            rules: { ...rest, markDeletes: isCut },
          });
          for (const batch of deliver(deliveries(events, barriers), arrival))
            await mergeDelivery(table, batch);
          assert.deepEqual(
            (await table.rows('id')).map(latestRow),
            standing(new Model(events, barriers, rest)),
          );
          assert.ok(table.results.every(({ dead }) => dead.length === 0));
          if (write === 'copy_on_write') assert.deepEqual(table.tableFiles().deletes, []);
        }),
        { numRuns: RUNS, endOnFailure: true },
      );
    });

  it('keeps its rows when what is out of reach is forgotten', async () => {
    await fc.assert(
      fc.asyncProperty(
        histories(6),
        fc.tuple(arrivals, arrivals),
        fc.nat(5),
        async ({ events, barriers }, [one, other], cut) => {
          const orders = [...new Set(events.map(({ order }) => transactionOf(order)))].sort();
          const horizon = orders[cut % Math.max(1, orders.length)];
          if (horizon === undefined) return;
          const all = deliveries(events, barriers);
          const past = all.filter(
            (item) => transactionOf(item.kind === 'event' ? item.event.order : item.barrier.order) <= horizon,
          );
          using table = new EngineTable({ engine, mode: 'latest' });
          for (const batch of deliver(past, one)) await mergeDelivery(table, batch);
          table.horizon = `${horizon}.${'f'.repeat(12)}`;
          for (const batch of deliver(all, other)) await mergeDelivery(table, batch);
          const withoutTime = ({ from: _from, ...row }: { from: bigint | null }) => row;
          assert.deepEqual(
            (await table.rows('id')).map(latestRow).map(withoutTime),
            standing(new Model(events, barriers, {})).map(withoutTime),
          );
        },
      ),
      { numRuns: RUNS, endOnFailure: true },
    );
  });
});
