// Partition values of every type: the same in the file's tuple, in the manifest and in its list, whatever
// the text or the number.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TYPE } from '../../support/plain-table.ts';
import { changeAt, orderAt, TableBench, upkeep } from '../../support/table-bench.ts';
import { readTable, rowTexts } from '../../support/table-rows.ts';
import { columnsOf } from '../engine/event-batches.ts';

const date = { type: 'int32', name: 'io.debezium.time.Date', version: 1 } as const;
const at = { type: 'int64', name: 'io.debezium.time.MicroTimestamp', version: 1 } as const;
const columns = columnsOf({
  id: { type: TYPE.text, optional: false },
  place: { type: TYPE.text },
  big: { type: TYPE.long },
  born: { type: date },
  seen: { type: at },
  on: { type: TYPE.bool },
});

const values: readonly (readonly [string | null, bigint | null, number | null, bigint | null, boolean])[] = [
  ["o'Neill / 東京", 2n ** 62n + 1n, -1, -1n, true],
  ['', -5n, 0, 0n, false],
  [null, null, null, null, false],
  ['plain', 7n, 20_000, 1_700_000_000_000_000n, true],
];

const events = values.map(([place, big, born, seen, on], n) => ({
  ...changeAt(n + 1),
  key: { id: `k${n}` },
  row: {
    id: `k${n}`,
    place: place === null ? null : { string: place },
    big: big === null ? null : { long: big },
    born: born === null ? null : { int: born },
    seen: seen === null ? null : { long: seen },
    on: { boolean: on },
  },
}));

test('partitions of text, long numbers, dates, times before 1970, and of nothing at all', async () => {
  await using bench = await TableBench.make({ name: ['s', 't'], columns, key: [0] });
  bench.fileRules = { buckets: 2, partitionBy: ['place', 'big', 'day(born)', 'hour(seen)', 'on'] };
  await bench.open();
  await bench.commit(events);
  const { files, state } = await readTable(bench.location, 't');
  const places = files.map(({ partition }) => partition.slice(2));
  assert.deepEqual(
    new Set(places.map((place) => place.map(String).join('|'))),
    new Set([
      `o'Neill / 東京|${2n ** 62n + 1n}|-1|-1|true`,
      '|-5|0|0|false',
      'null|null|null|null|false',
      `plain|7|20000|${1_700_000_000 / 3600 - ((1_700_000_000 / 3600) % 1)}|true`,
    ]),
  );
  // What is in the manifests again, and what the list says of them.
  const [manifest] = state.manifests;
  assert.deepEqual(
    manifest?.partitions.map(({ lower_bound: low, contains_null: none }) => [low?.length ?? null, none]),
    [
      [1, false],
      [4, false],
      [0, true],
      [8, true],
      [4, true],
      [4, true],
      [1, false],
    ],
  );
  for (const [n, event] of events.entries())
    await bench.commit([
      { ...event, ...{ order: orderAt(10 + n), ts: event.ts + 1_000_000_000n, op: 'd' as const } },
    ]);
  bench.shiftMs += 700_000;
  await upkeep(bench);
  const texts = rowTexts(await readTable(bench.location, 't'), ['id', 'big', 'is_current', '_closed_by']);
  assert.deepEqual(
    texts.toSorted(),
    values.map(([, big], n) => `k${n} ${big ?? 'null'} false d`),
  );
});
