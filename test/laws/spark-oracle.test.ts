// What Apache Spark's AUTO CDC (SCD type 2) made of the same events, recorded by
// test/fixtures/spark-auto-cdc/record.py: our rules must give the same intervals, batch by batch. By order,
// not by time, and with every change kept, because there the two differ on purpose; the last tests say how.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatOrder } from '../../src/change/order.ts';
import type { Event, Row } from './scd2-model.ts';
import { MemoryTable } from './scd2-table.ts';

type Values = readonly [number | null, number | null];
type Told = [batch: number, seq: number, tx: number, ts: number, op: 'c' | 'u' | 'd', ...values: Values];
type Recorded = { events: readonly Told[]; spark: readonly [from: number, to: number | null, ...Values][] };

const recorded = readFileSync(new URL('../fixtures/spark-auto-cdc/histories.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

/** One position a transaction; the order at the source is unique in all of them. */
const orderOf = (seq: number, tx: number): string =>
  formatOrder({ epoch: 1, position: BigInt(tx), phase: 1, ordinal: seq });

const eventOf = ([, seq, tx, ts, op, ...values]: Told): Event => ({
  key: 'k',
  order: orderOf(seq, tx),
  op,
  ts: BigInt(ts),
  tx: String(tx),
  values: op === 'd' ? [] : values,
  unchanged: [],
  moved: false,
  origin: null,
});

const foldAll = (events: readonly Told[], collapse: boolean): Row[] => {
  const table = new MemoryTable({ collapse });
  for (const batch of Map.groupBy(events, ([at]) => at).values())
    table.commit(batch.map((told) => ({ kind: 'event', event: eventOf(told) })));
  assert.deepEqual(table.dead, []);
  return table.rows();
};

/** As Spark's rows are: the order where it begins and ends, and the values. */
const intervals = (rows: readonly Row[], events: readonly Told[]): Recorded['spark'] => {
  const seqs = new Map(events.map(([, seq, tx]) => [orderOf(seq, tx), seq]));
  return rows.map(({ order, orderEnd, image: { values } }) => [
    seqs.get(order) ?? -1,
    orderEnd === null ? null : (seqs.get(orderEnd) ?? -1),
    values[0] ?? null,
    values[1] ?? null,
  ]);
};

/** The last order of each transaction. */
const transactionEnds = (events: readonly Told[]): number[] => {
  const ends = new Map<number, number>();
  for (const [, seq, tx] of events) ends.set(tx, Math.max(seq, ends.get(tx) ?? 0));
  return [...ends.values()];
};
const sharesTransactions = (events: readonly Told[]): boolean =>
  transactionEnds(events).length < new Set(events.map(([, seq]) => seq)).size;

/** The values that stand at this order; undefined: there is no row. */
const valuesAt = (rows: Recorded['spark'], seq: number): unknown =>
  rows.find(([from, to]) => from <= seq && (to === null || to > seq))?.slice(2);

/** Whether the source's clock went back, in the order of the events. */
const clockGoesBack = (events: readonly Told[]): boolean => {
  const times = [...events].sort((one, two) => one[1] - two[1]).map(([, , , ts]) => ts);
  return times.some((ts, at) => ts < (times[at - 1] ?? ts));
};

test('the recorded histories hold what they are for', () => {
  const count = (has: (history: Recorded) => boolean): number => recorded.filter(has).length;
  const isLate = ({ events }: Recorded): boolean =>
    events.some(([batch, seq]) => events.some((other) => other[0] < batch && other[1] > seq));
  const isTwice = ({ events }: Recorded): boolean =>
    new Set(events.map(([, seq]) => seq)).size < events.length;
  const hasNoop = ({ events, spark }: Recorded): boolean =>
    new Set(events.filter(([, , , , op]) => op !== 'd').map(([, seq]) => seq)).size > spark.length;
  const hasUnknownDelete = ({ events, spark }: Recorded): boolean =>
    events.some(([, seq, , , op]) => op === 'd' && !spark.some(([, to]) => to === seq));
  const isShared = ({ events }: Recorded): boolean => sharesTransactions(events);
  const isBack = ({ events }: Recorded): boolean => clockGoesBack(events);
  for (const has of [isLate, isTwice, hasNoop, hasUnknownDelete, isShared, isBack])
    assert.ok(count(has) >= 50, `${has.name}: ${count(has)} of ${recorded.length}`);
  assert.ok(recorded.length >= 500);
});

test('every change kept: the same intervals as Spark, whatever came late, twice or changed nothing', () => {
  for (const { events, spark } of recorded)
    assert.deepEqual(intervals(foldAll(events, false), events), spark, JSON.stringify(events));
});

test('collapse: transaction: Spark knows none, so the two agree at the end of every one', () => {
  let fewer = 0;
  for (const { events, spark } of recorded) {
    const ours = intervals(foldAll(events, true), events);
    if (!sharesTransactions(events)) assert.deepEqual(ours, spark, JSON.stringify(events));
    for (const end of transactionEnds(events)) assert.deepEqual(valuesAt(ours, end), valuesAt(spark, end));
    fewer += Number(ours.length < spark.length);
  }
  assert.ok(fewer > 20, `only ${fewer} histories have fewer versions`);
});

test('times: those of the orders; where the clock was set back, none ends before it begins', () => {
  let moved = 0;
  for (const { events, spark } of recorded) {
    const clock = new Map(events.map(([, seq, , ts]) => [seq, BigInt(ts)]));
    const times = spark.map(([from, to]) => [clock.get(from), to === null ? null : clock.get(to)]);
    const rows = foldAll(events, false);
    const ours = rows.map(({ from, to }) => [from, to]);
    if (!clockGoesBack(events)) assert.deepEqual(ours, times, JSON.stringify(events));
    // Spark takes the time itself for the order, or would let a version end before it began.
    rows.forEach(({ from, to, ts }, at) => {
      assert.ok(from >= ts && (to === null || to >= from), JSON.stringify(events));
      assert.ok((rows[at - 1]?.to ?? from) <= from, JSON.stringify(events));
    });
    moved += Number(JSON.stringify(ours, print) !== JSON.stringify(times, print));
  }
  assert.ok(moved > 20, `only ${moved} histories have other times`);
});

const print = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
