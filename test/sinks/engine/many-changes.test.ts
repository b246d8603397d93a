// One key that changes ten thousand times in one batch, is deleted and comes again, and moves: its intervals
// meet, and one row stands.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const CHANGES = 10_000;

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const order = (position: number, ordinal = 1): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal });

type At = { op: EventRecord['op']; order: string; id?: number; a?: number };
const change = ({ op, order: at, id = 1, a = 0 }: At): EventRecord => ({
  op,
  order: at,
  ts: BigInt(Number.parseInt(at.split('.')[1] ?? '', 16)),
  tx: at.split('.')[1] ?? '',
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: { int: a }, b: null },
});

type Found = Awaited<ReturnType<EngineTable['rows']>>;

/** Each row ends where the next one begins; the last one stands. */
const meets = (rows: Found): void => {
  for (const [at, row] of rows.entries()) {
    assert.equal(row._order_end, rows[at + 1]?._order ?? null);
    assert.equal(row.valid_to, rows[at + 1]?.valid_from ?? null);
    assert.equal(row.is_current, at === rows.length - 1);
  }
};

describe('one key in one batch', () => {
  it(`takes ${CHANGES} transactions: every one is a version`, async () => {
    using table = new EngineTable({ engine });
    const events = Array.from({ length: CHANGES }, (_, n) =>
      change({ op: n === 0 ? 'c' : 'u', order: order(n + 1), a: n }),
    );
    await table.merge(events);
    const rows = await table.rows('_order');
    assert.deepEqual(
      rows.map(({ a }) => a),
      events.map((_, n) => n),
    );
    meets(rows);
    const again = await table.merge(events);
    assert.deepEqual([again.counts.duplicates, again.dead.length], [CHANGES, 0]);
    assert.equal((await table.rows('_order')).length, CHANGES);
  });

  it(`takes ${CHANGES} changes of one transaction: the last one is the version`, async () => {
    using table = new EngineTable({ engine });
    await table.merge(
      Array.from({ length: CHANGES }, (_, n) =>
        change({ op: n === 0 ? 'c' : 'u', order: order(1, n + 1), a: n }),
      ),
    );
    const rows = await table.rows('_order');
    assert.deepEqual(
      rows.map(({ a, is_current }) => [a, is_current]),
      [[CHANGES - 1, true]],
    );
  });

  it('is deleted and comes again, also in one transaction: two lives, and a gap', async () => {
    using table = new EngineTable({ engine });
    await table.merge([
      change({ op: 'c', order: order(1), a: 1 }),
      change({ op: 'd', order: order(2) }),
      change({ op: 'c', order: order(4), a: 2 }),
      change({ op: 'd', order: order(4, 2) }),
      change({ op: 'c', order: order(4, 3), a: 3 }),
    ]);
    assert.deepEqual(
      (await table.rows('_order')).map((row) => [row.a, row._order, row._order_end, row._closed_by]),
      [
        [1, order(1), order(2), 'd'],
        [3, order(4, 3), null, null],
      ],
    );
  });
});
