// The merge engine on real files: whatever comes in, in whatever order and batches, the files read back are
// what the rules say, and so are the pitfalls of an Iceberg writer.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { arrivals, deliver, histories } from '../../laws/scd2-history.ts';
import { type Event, Model } from '../../laws/scd2-model.ts';
import { type Delivery, deliveries } from '../../laws/scd2-table.ts';
import { EngineTable, modelRow, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const RUNS = Number(process.env.VARVE_LAW_RUNS ?? 25);

const NAMES = ['a', 'b'];
const int = (value: number | null | undefined) =>
  value === null || value === undefined ? null : { int: value };

const toRecord = ({ key, order, op, ts, tx, values, unchanged, moved, origin }: Event) => ({
  partition: Number(key) % 2,
  op,
  order,
  ts,
  tx,
  key: { id: BigInt(key) },
  row: { id: BigInt(key), a: int(values[0]), b: int(values[1]) },
  headers: {
    ...(moved ? { '__debezium.newkey': '{"id":9}' } : {}),
    ...(origin === null ? {} : { '__debezium.oldkey': `{"id":${origin}}` }),
    ...(unchanged.length === 0
      ? {}
      : { 'varve.unchanged': JSON.stringify(unchanged.map((at) => NAMES[at])) }),
  },
});

const mergeDelivery = async (table: EngineTable, batch: readonly Delivery[]): Promise<void> => {
  const records = batch.flatMap((item): (EventRecord & { partition: number })[] => {
    if (item.kind === 'event') return [toRecord(item.event)];
    const { order, ts, kind } = item.barrier;
    return kind === 't' ? [{ partition: 0, op: 't', order, ts }] : [];
  });
  const sweeps = batch.flatMap((item) =>
    item.kind === 'barrier' && item.barrier.kind === 's' ? [item.barrier] : [],
  );
  const fresh = sweeps.filter(({ order }) => !table.barriers.some((known) => known.order === order));
  await table.merge(records, fresh[0] ?? null);
  for (const sweep of fresh.slice(1)) await table.merge([], sweep);
};

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
          assert.deepEqual(rows, new Model(events, barriers, true).rows());
          assert.ok(table.results.every(({ dead }) => dead.length === 0));
        }),
        { numRuns: RUNS },
      );
    });
  }
});
