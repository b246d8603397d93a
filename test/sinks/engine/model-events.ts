// Owns the step from the events of the laws' model to record batches of the numbers table.
import type { Event } from '../../laws/scd2-model.ts';
import type { Delivery } from '../../laws/scd2-table.ts';
import type { EngineTable } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const NAMES = ['a', 'b'];
const int = (value: number | null | undefined) =>
  value === null || value === undefined ? null : { int: value };

/** Keys alternate between two partitions. */
export const toRecord = ({ key, order, op, ts, tx, values, unchanged, moved, origin }: Event) => ({
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

/** Merges what arrives together; of several sweeps, each in a merge of its own. */
export const mergeDelivery = async (table: EngineTable, batch: readonly Delivery[]): Promise<void> => {
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
