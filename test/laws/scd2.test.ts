// Laws of the rules that turn changes into versions, against a naive model that sees all events at once.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { transactionOf } from '../../src/change/order.ts';
import { arrivals, deliver, deliverLanes, histories } from './scd2-history.ts';
import { Model, type Row } from './scd2-model.ts';
import { type Delivery, deliveries, MemoryTable } from './scd2-table.ts';

const RUNS = Number(process.env.VARVE_LAW_RUNS ?? 3000);

const check = (rows: readonly Row[]): void => {
  const byKey = Map.groupBy(rows, ({ key }) => key);
  for (const versions of byKey.values()) {
    assert.ok(versions.filter(({ to }) => to === null).length <= 1, 'at most one open version a key');
    versions.forEach((version, at) => {
      const next = versions[at + 1];
      assert.ok(version.to === null || version.to >= version.from, 'no interval ends before it begins');
      if (next === undefined) return;
      assert.ok(version.to !== null && version.to <= next.from, 'intervals do not overlap');
      assert.ok(version.orderEnd !== null && version.orderEnd <= next.order, 'orders do not overlap');
    });
  }
};

describe('a table that remembers', () => {
  for (const collapse of [true, false]) {
    const name = collapse ? 'one version a transaction' : 'every change kept';
    it(`is a function of the set of events (${name})`, () => {
      fc.assert(
        fc.property(histories(8), arrivals, ({ events, barriers }, arrival) => {
          const table = new MemoryTable(collapse);
          for (const batch of deliver(deliveries(events, barriers), arrival)) table.commit(batch);
          const rows = table.rows();
          check(rows);
          assert.deepEqual(rows, new Model(events, barriers, collapse).rows());
          assert.deepEqual(table.dead, []);
        }),
        { numRuns: RUNS },
      );
    });
  }

  it('needs no more order than a partition has, even when one transaction uses a key twice', () => {
    fc.assert(
      fc.property(histories(8, { mayReuse: true }), arrivals, ({ events, barriers }, arrival) => {
        const table = new MemoryTable(true);
        const laneOf = (item: Delivery) => (item.kind === 'event' ? item.event.key : 'barriers');
        for (const batch of deliverLanes(deliveries(events, barriers), laneOf, arrival)) table.commit(batch);
        assert.deepEqual(table.rows(), new Model(events, barriers, true).rows());
      }),
      { numRuns: RUNS },
    );
  });

  it('shows at every order what a reader of the database saw', () => {
    fc.assert(
      fc.property(histories(8), arrivals, ({ events, barriers }, arrival) => {
        const table = new MemoryTable(true);
        for (const batch of deliver(deliveries(events, barriers), arrival)) table.commit(batch);
        const model = new Model(events, barriers, true);
        for (const { order } of [...events, ...barriers]) {
          const at = `${transactionOf(order)}~`;
          const seen = table
            .rows()
            .filter((row) => row.order <= at && (row.orderEnd === null || row.orderEnd > at))
            .map(({ key, image }) => [key, JSON.stringify(image.values)] as const);
          assert.deepEqual(new Map(seen), model.stateAt(order));
        }
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });

  it('keeps its rows when what is out of reach is forgotten', () => {
    fc.assert(
      fc.property(histories(8), fc.tuple(arrivals, arrivals), fc.nat(7), (history, [one, other], cut) => {
        const { events, barriers } = history;
        const orders = [...new Set(events.map(({ order }) => transactionOf(order)))].sort();
        const horizon = orders[cut % Math.max(1, orders.length)];
        if (horizon === undefined) return;
        const all = deliveries(events, barriers);
        const isPast = (order: string) => transactionOf(order) <= horizon;
        const past = all.filter((item) =>
          isPast(item.kind === 'event' ? item.event.order : item.barrier.order),
        );
        const table = new MemoryTable(true);
        for (const batch of deliver(past, one)) table.commit(batch);
        table.raiseHorizon(`${horizon}ffffffffffff`);
        for (const batch of deliver(all, other)) table.commit(batch);
        assert.deepEqual(table.rows(), new Model(events, barriers, true).rows());
        assert.ok(table.dead.every((reason) => reason === 'too_late'));
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });
});
