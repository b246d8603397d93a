// The merge engine on real files: whatever comes in, in whatever order and batches, the files read back are
// what the rules say, and so are the pitfalls of an Iceberg writer.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { arrivals, deliver, histories, rules, wholeImages } from '../../laws/scd2-history.ts';
import { Model, refuseLate } from '../../laws/scd2-model.ts';
import { deliveries, eventsOf } from '../../laws/scd2-table.ts';
import { atLevel } from '../../support/level.ts';
import { EngineTable, modelRow, SharedEngine } from './engine-table.ts';
import { mergeDelivery } from './model-events.ts';

const RUNS = atLevel({ test: 12, all: 60, deep: 400 });

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

describe('merged files', () => {
  for (const [name, buckets] of [
    ['one bucket', 1],
    ['four buckets', 4],
  ] as const) {
    it(`hold what the rules say, for any order and cut of the events (${name})`, async () => {
      await fc.assert(
        fc.asyncProperty(histories(6), arrivals, async ({ events, barriers }, arrival) => {
          using table = new EngineTable({ engine, buckets });
          for (const batch of deliver(deliveries(events, barriers), arrival))
            await mergeDelivery(table, batch);
          const rows = (await table.rows('id, _order')).map(modelRow);
          assert.deepEqual(rows, new Model(events, barriers, {}).rows());
          assert.ok(table.results.every(({ dead }) => dead.length === 0));
        }),
        { numRuns: RUNS },
      );
    });
  }

  it('follow every option', async () => {
    await fc.assert(
      fc.asyncProperty(histories(6), arrivals, rules, async ({ events, barriers }, arrival, options) => {
        using table = new EngineTable({ engine, rules: options, buckets: 2 });
        const isTaken = options.late === 'apply';
        const batches = deliver(deliveries(isTaken ? events : wholeImages(events), barriers), arrival);
        for (const batch of batches) await mergeDelivery(table, batch);
        const { taken, late } = refuseLate(eventsOf(batches.flat()));
        const rows = (await table.rows('id, _order')).map(modelRow);
        assert.deepEqual(rows, new Model(isTaken ? events : taken, barriers, options).rows());
        const dead = table.results.flatMap((result) => result.dead);
        assert.equal(dead.length, options.late === 'dlq' ? late.length : 0);
        const counted = table.results.reduce((sum, { counts }) => sum + counts.late, 0);
        if (!isTaken) assert.equal(counted, late.length);
      }),
      { numRuns: RUNS * 2 },
    );
  });

  it('are the same where truncates are passed over, and stop the merge where they are refused', async () => {
    await fc.assert(
      fc.asyncProperty(histories(6), arrivals, async ({ events, barriers }, arrival) => {
        using table = new EngineTable({ engine, rules: { truncates: 'ignore' } });
        using strict = new EngineTable({ engine, rules: { truncates: 'fail' } });
        const items = deliveries(events, barriers);
        for (const batch of deliver(items, arrival)) await mergeDelivery(table, batch);
        const sweeps = barriers.filter(({ kind }) => kind === 's');
        const rows = (await table.rows('id, _order')).map(modelRow);
        assert.deepEqual(rows, new Model(events, sweeps, {}).rows());
        if (sweeps.length === barriers.length) return;
        await assert.rejects(mergeDelivery(strict, items), { kind: 'truncate_refused' });
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });
});
