// What a table remembers beside its rows: printed and read back, barriers kept as long as a late event may
// meet them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatOrder } from '../../../src/change/order.ts';
import {
  advanceClock,
  cutOf,
  EMPTY_MEMORY,
  horizonOf,
  keptBarriers,
  printMemory,
  readMemory,
  type TableMemory,
} from '../../../src/sinks/parquet/table-memory.ts';

const order = (position: number): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal: 0 });
const high = (position: number) => ({ order: order(position), ts: BigInt(position) * 1000n });

const memory: fc.Arbitrary<TableMemory> = fc.record(
  {
    topicId: fc.option(fc.uuid()),
    offsets: fc
      .dictionary(fc.nat(9).map(String), fc.bigInt(0n, 2n ** 62n))
      .map((by) => new Map(Object.entries(by).map(([at, to]) => [Number(at), to]))),
    highs: fc
      .array(fc.nat(1000))
      .map((positions) => new Map(positions.map((position, at) => [at, high(position)]))),
    barriers: fc.array(fc.nat(1000).map((position) => ({ ...high(position), kind: 't' as const }))),
    stateFiles: fc.array(fc.string()),
    clock: fc.array(fc.nat(1000).map(high)),
    schema: fc.nat(),
    cut: fc.option(fc.nat(1000).map(order)),
  },
  { noNullPrototype: true },
);

test('memory that is printed reads back the same', () => {
  fc.assert(
    fc.property(memory, (given) => {
      const printed = printMemory(given);
      assert.deepEqual(
        readMemory((key) => printed[key] ?? null),
        given,
      );
    }),
  );
  assert.deepEqual(
    readMemory(() => null),
    EMPTY_MEMORY,
  );
});

test('damaged memory is an error, never an empty one', () => {
  const printed = printMemory({ ...EMPTY_MEMORY, offsets: new Map([[0, 5n]]) });
  const damaged = { ...printed, 'varve.offsets': '{"0":"5' };
  assert.throws(() => readMemory((key) => damaged[key as keyof typeof damaged] ?? null), /damaged/);
});

test('the horizon follows the slowest partition, one window behind what was folded', () => {
  let clock = EMPTY_MEMORY.clock;
  let highs = EMPTY_MEMORY.highs;
  for (let position = 1; position <= 1000; position++) {
    highs = new Map([
      [0, high(position)],
      [1, high(Math.ceil(position / 2))],
    ]);
    clock = advanceClock(clock, highs, 100_000n);
  }
  const horizon = horizonOf({ ...EMPTY_MEMORY, clock, highs }, 100_000n);
  assert.ok(horizon !== null && horizon <= order(400), 'it is too near');
  assert.ok(horizon >= order(390), 'it is too far');
  assert.ok(clock.length <= 51, `${clock.length} steps are kept`);
  assert.equal(horizonOf(EMPTY_MEMORY, 100_000n), null);
});

test('a cut is one only where nothing above it is folded', () => {
  const highs = new Map([
    [0, high(5)],
    [1, high(7)],
  ]);
  assert.equal(cutOf(highs, order(7)), order(7));
  assert.equal(cutOf(highs, order(6)), null);
  assert.equal(cutOf(highs, null), null);
});

test('barriers are kept until nothing later than the horizon can meet them', () => {
  const barriers = [1, 2, 3].map((position) => ({ ...high(position), kind: 't' as const }));
  assert.deepEqual(keptBarriers(barriers, null), barriers);
  assert.deepEqual(keptBarriers(barriers, order(2)), barriers.slice(2));
});
