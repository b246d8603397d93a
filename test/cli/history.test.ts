// One row's life as it is told: what each version changed, gaps and their reasons, durations as people say
// them, and values that a terminal must not take for commands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LifeVersion, lifeSteps } from '../../src/cli/life.ts';
import { cellOf, durationText, keyText, valueText } from '../../src/cli/row-text.ts';
import type { IcebergField } from '../../src/sinks/parquet/iceberg-type.ts';

const FIELDS: readonly IcebergField[] = [
  { id: 1, name: 'id', required: true, type: 'int' },
  { id: 2, name: 'a', required: false, type: 'string' },
  { id: 3, name: 'b', required: false, type: 'binary' },
  { id: 4, name: 'valid_from', required: true, type: 'timestamptz' },
];

type Told = Partial<Omit<LifeVersion, 'values'>> & { from: bigint; a: string };

const version = ({ a, from, ...more }: Told): LifeVersion => {
  const key = more.key ?? [7];
  return {
    values: [key[0] ?? 7, a, Uint8Array.of(1), from],
    file: 'f',
    key,
    from,
    to: null,
    op: 'u',
    order: String(from).padStart(4, '0'),
    orderEnd: null,
    tx: '1',
    commitTs: from,
    closedBy: null,
    previousKey: null,
    ...more,
  };
};

test('a life: changed columns, a deletion and a return, another key, the end', () => {
  const steps = lifeSteps(
    [
      version({ a: 'y', from: 2n, to: 3n, closedBy: 'd' }),
      version({ a: 'x', from: 1n, to: 2n, closedBy: 'u', op: 'r' }),
      version({ a: 'y', from: 9n, to: 10n, closedBy: 'k', op: 'c' }),
      version({ a: 'z', from: 10n, to: 12n, key: [8], previousKey: '{"id":7}', op: 'c', closedBy: 's' }),
    ],
    { fields: FIELDS, key: [1] },
  );
  assert.deepEqual(
    steps.map((step) =>
      step.kind === 'gap'
        ? ['gap', step.from, step.to, step.closedBy]
        : [step.version.from, step.changed, step.rekeyedFrom],
    ),
    [
      [1n, null, null],
      [2n, ['a'], null],
      ['gap', 3n, 9n, 'd'],
      [9n, null, null],
      [10n, ['id', 'a'], [7]],
      ['gap', 12n, null, 's'],
    ],
  );
});

test('durations: two units at most', () => {
  const DAY = 86_400_000_000n;
  for (const [micros, text] of [
    [0n, '0 us'],
    [999n, '999 us'],
    [1000n, '1 ms'],
    [1_500_000n, '1.5 s'],
    [59_999_999n, '59.9 s'],
    [60_000_000n, '1 min'],
    [3_661_000_000n, '1 h 1 min'],
    [DAY, '1 d'],
    [3n * DAY + 4n * 3_600_000_000n + 5n, '3 d 4 h'],
    [-1_500_000n, '-1.5 s'],
  ] as const)
    assert.equal(durationText(micros), text);
});

test('a value is one line, and no command to a terminal', () => {
  const evil = 'a\n\u001b[31mred\u0007\u009b2J\u2028\t';
  assert.equal(cellOf(evil, 'string', false), 'a\\n\\u001b[31mred\\u0007\\u009b2J\\u2028\\t');
  assert.equal(cellOf('x'.repeat(100), 'string', false), 'x'.repeat(100));
  assert.equal(String(cellOf('x'.repeat(100), 'string', true)).length, 60);
  assert.deepEqual(
    [null, '', 0, false].map((value) => valueText(value, 'string', false)),
    ['NULL', "''", '0', 'false'],
  );
  assert.equal(keyText([7, 'x'], FIELDS.slice(0, 2)), 'id=7, a=x');
});
