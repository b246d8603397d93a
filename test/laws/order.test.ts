// Laws of the OrderKey: its text sorts as its parts do, and nothing else is an order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatOrder,
  isOrder,
  type OrderParts,
  orderPrefix,
  parseOrder,
  transactionOf,
} from '../../src/change/order.ts';

const parts = fc.record(
  {
    epoch: fc.integer({ min: 1, max: 0xffffffff }),
    position: fc.bigInt({ min: 0n, max: 2n ** 96n - 1n }),
    phase: fc.constantFrom(0 as const, 1 as const, 2 as const),
    ordinal: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  },
  { noNullPrototype: true },
);

const compareParts = (a: OrderParts, b: OrderParts): number => {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.position !== b.position) return a.position < b.position ? -1 : 1;
  return a.phase === b.phase ? a.ordinal - b.ordinal : a.phase - b.phase;
};

test('parse is the inverse of format', () => {
  fc.assert(fc.property(parts, (given) => assert.deepEqual(parseOrder(formatOrder(given)), given)));
});

test('text order is the order of the parts', () => {
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const [x, y] = [formatOrder(a), formatOrder(b)];
      assert.equal(Math.sign(compareParts(a, b)), x < y ? -1 : x > y ? 1 : 0);
    }),
  );
});

test('events of one transaction share its identity, others do not', () => {
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const same = a.epoch === b.epoch && a.position === b.position && a.phase === b.phase;
      assert.equal(transactionOf(formatOrder(a)) === transactionOf(formatOrder(b)), same);
      assert.ok(formatOrder(a).startsWith(orderPrefix(a)));
    }),
  );
});

test('what format could not have written is refused', () => {
  for (const text of [
    '',
    'x',
    `${formatOrder({ epoch: 1, position: 0n, phase: 0, ordinal: 0 })} `,
    'g'.repeat(48),
  ]) {
    assert.equal(isOrder(text), false);
    assert.throws(() => parseOrder(text), RangeError);
  }
});
