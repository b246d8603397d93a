// Laws of the rules that turn changes into versions, against a naive model that sees all events at once.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { transactionOf } from '../../src/change/order.ts';
import { arrivals, deliver, deliverLanes, histories, rules, wholeImages } from './scd2-history.ts';
import { type Event, Model, type Row, refuseLate } from './scd2-model.ts';
import { type Delivery, deliveries, eventsOf, MemoryTable } from './scd2-table.ts';

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
          const table = new MemoryTable({ collapse });
          for (const batch of deliver(deliveries(events, barriers), arrival)) table.commit(batch);
          const rows = table.rows();
          check(rows);
          assert.deepEqual(rows, new Model(events, barriers, { collapse }).rows());
          assert.deepEqual(table.dead, []);
        }),
        { numRuns: RUNS },
      );
    });
  }

  it('follows every option, and with late ones refused the order in which a key was heard of', () => {
    fc.assert(
      fc.property(histories(8), arrivals, rules, ({ events, barriers }, arrival, options) => {
        const table = new MemoryTable(options);
        const isTaken = options.late === 'apply';
        const whole = isTaken ? events : wholeImages(events);
        const batches = deliver(deliveries(whole, barriers), arrival);
        for (const batch of batches) table.commit(batch);
        const { taken, late } = refuseLate(eventsOf(batches.flat()));
        const rows = table.rows();
        check(rows);
        assert.deepEqual(rows, new Model(isTaken ? events : taken, barriers, options).rows());
        assert.deepEqual(table.dead, options.late === 'dlq' ? late.map(() => 'late') : []);
        if (!isTaken) assert.equal(table.counts.late, late.length);
      }),
      { numRuns: RUNS },
    );
  });

  it('takes the later of two payloads of one order, but a delete before all, and says so', () => {
    fc.assert(
      fc.property(
        histories(6),
        arrivals,
        fc.tuple(fc.nat(), fc.boolean()),
        (history, arrival, [pick, isDelete]) => {
          const { events, barriers } = history;
          const said = events[pick % Math.max(1, events.length)];
          if (said === undefined || said.unchanged.length > 0 || said.moved || said.origin !== null) return;
          const empty = { op: 'd', values: [] } as const;
          const other: Event = { ...said, ...(isDelete ? empty : { op: 'u', values: [7, 7] }) };
          const batches = deliver(deliveries([...events, other], barriers), arrival);
          const table = new MemoryTable({ collapse: false });
          for (const batch of batches) table.commit(batch);
          const heard = eventsOf(batches.flat()).filter((event) => event === said || event === other);
          const winner = heard.find(({ op }) => op === 'd') ?? heard.at(-1);
          const isOne = said.op === 'd' && other.op === 'd';
          const agreed = events.map((event) => (event === said ? (winner as Event) : event));
          assert.deepEqual(table.rows(), new Model(agreed, barriers, { collapse: false }).rows());
          assert.ok(table.dead.every((reason) => reason === 'order_conflict'));
          assert.equal(table.counts.conflicts, table.dead.length);
          assert.equal(table.dead.length > 0, !isOne);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('needs no more order than a partition has, even when one transaction uses a key twice', () => {
    fc.assert(
      fc.property(histories(8, { mayReuse: true }), arrivals, ({ events, barriers }, arrival) => {
        const table = new MemoryTable();
        const laneOf = (item: Delivery) => (item.kind === 'event' ? item.event.key : 'barriers');
        for (const batch of deliverLanes(deliveries(events, barriers), laneOf, arrival)) table.commit(batch);
        assert.deepEqual(table.rows(), new Model(events, barriers, {}).rows());
      }),
      { numRuns: RUNS },
    );
  });

  it('shows at every order what a reader of the database saw', () => {
    fc.assert(
      fc.property(histories(8), arrivals, ({ events, barriers }, arrival) => {
        const table = new MemoryTable();
        for (const batch of deliver(deliveries(events, barriers), arrival)) table.commit(batch);
        const model = new Model(events, barriers, {});
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
        const table = new MemoryTable();
        for (const batch of deliver(past, one)) table.commit(batch);
        table.raiseHorizon(`${horizon}ffffffffffff`);
        for (const batch of deliver(all, other)) table.commit(batch);
        assert.deepEqual(table.rows(), new Model(events, barriers, {}).rows());
        assert.ok(table.dead.every((reason) => reason === 'too_late'));
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });
});
