// Laws of the commits of a table that is told to be consistent: whatever the transactions, their parts, the
// partitions and the moments of reading, no commit shows a part of a transaction, and each says which moment
// of the source it is.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  endBefore,
  endOfTransaction,
  formatOrder,
  parseOrder,
  transactionOf,
} from '../../src/change/order.ts';
import { wholeUpTo } from '../../src/sinks/cut.ts';
import { runFold } from '../../src/sinks/fold.ts';
import { cutOf } from '../../src/sinks/parquet/table-memory.ts';
import type { CommitReport, FoldContext, TableSink } from '../../src/sinks/sink.ts';
import { RecordBatchBuilder, readRecords } from '../../src/topic/record-batch.ts';
import { printState, type SnapshotRecord, STATE_KEYS } from '../../src/topic/state.ts';
import { atLevel } from '../support/level.ts';
import { MemoryTopic } from '../support/memory-topic.ts';

const RUNS = atLevel({ test: 300, all: 2000, deep: 20_000 });
const TOPIC = 't';
const PARTITIONS = 3;

const orderOf = (position: number, ordinal: number, phase: 0 | 1 = 1): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase, ordinal });

const batchOf = (orders: readonly string[]): Uint8Array => {
  const out = new RecordBatchBuilder();
  const utf8 = new TextEncoder();
  for (const order of orders) {
    out.beginRecord(0);
    out.nullKey();
    out.beginValue();
    out.writer.raw(Uint8Array.of(0));
    out.endValue();
    out.beginHeaders(1);
    out.header(utf8.encode('varve.order'), utf8.encode(order));
    out.endRecord();
  }
  return out.finish();
};

/** Partitions of a transaction's events, in order, and where it is cut when it is published in parts. */
type Transaction = { places: number[]; cuts: number[]; isSnapshot: boolean };
/** One atomic write: orders by partition, and what the state says from then on. */
type Step = { events: (readonly [partition: number, order: string])[]; state: Record<string, string> };

const transactions = fc.array(
  fc.record({
    places: fc.array(fc.nat(PARTITIONS - 1), { minLength: 1, maxLength: 6 }),
    cuts: fc.array(fc.nat(6), { maxLength: 2 }),
    isSnapshot: fc.constantFrom(false, false, false, true),
  }),
  { minLength: 1, maxLength: 8 },
);

const checkpoint = (order: string | undefined): string =>
  printState({
    resume: '',
    part: null,
    selection: '',
    commitTs: '0',
    ...(order === undefined ? {} : { order }),
  });

const snapshotRecord = (order: string, done: boolean): string => {
  const record: SnapshotRecord = {
    table: ['s', 't'],
    epoch: 1,
    order,
    ts: '1',
    rows: 0,
    estimatedRows: 0,
    done,
    sweep: true,
  };
  return printState(record);
};

/** As it is published: a checkpoint knows of whole transactions, a marker of a whole snapshot. */
const stepsOf = (all: readonly Transaction[]): Step[] => {
  const steps: Step[] = [];
  let whole: string | undefined;
  all.forEach(({ places, cuts, isSnapshot }, at) => {
    const position = at + 1;
    const phase = isSnapshot ? 0 : 1;
    const events = places.map((place, ordinal) => [place, orderOf(position, ordinal + 1, phase)] as const);
    const ends = [...new Set(cuts.map((cut) => cut % events.length)), events.length].sort((a, b) => a - b);
    const group = orderOf(position, 0, 0);
    if (isSnapshot)
      steps.push({ events: [], state: { [STATE_KEYS.snapshot(TOPIC)]: snapshotRecord(group, false) } });
    ends.forEach((end, part) => {
      const isLast = end === events.length;
      if (isLast && !isSnapshot) whole = endOfTransaction(parseOrder(orderOf(position, 0)));
      const state = isSnapshot ? {} : { [STATE_KEYS.checkpoint]: checkpoint(whole) };
      steps.push({ events: events.slice(part === 0 ? 0 : ends[part - 1], end), state });
    });
    if (isSnapshot)
      steps.push({ events: [], state: { [STATE_KEYS.snapshot(TOPIC)]: snapshotRecord(group, true) } });
  });
  return steps;
};

const publish = async (topic: MemoryTopic, { events, state }: Step): Promise<void> => {
  const slices = [...Map.groupBy(events, ([partition]) => partition)].map(([partition, list]) => {
    const orders = list.map(([, order]) => order);
    return { topic: TOPIC, partition, batch: batchOf(orders), records: orders.length };
  });
  const records = Object.entries(state).map(([key, value]) => ({ key, value }));
  await topic.publisher().write({ slices, state: records });
};

const REPORT: CommitReport = {
  snapshotId: 1n,
  events: 0,
  opened: 0,
  closed: 0,
  duplicates: 0,
  late: 0,
  dead: 0,
  conflicts: 0,
  incomplete: 0,
};

/** Takes orders, and keeps what it has after each commit. */
class OrderTable implements TableSink {
  readonly taken: string[] = [];
  readonly commits: { taken: string[]; cut: string | null; context: FoldContext }[] = [];
  readonly #offsets = new Map<number, bigint>();

  offsets(): ReadonlyMap<number, bigint> {
    return this.#offsets;
  }

  topicId(): null {
    return null;
  }

  async commit(...[batches, context]: Parameters<TableSink['commit']>): Promise<CommitReport> {
    const closed = new Set<number>();
    for (const { partition, batches: list } of batches)
      for (const batch of list)
        readRecords(batch, (record) => {
          const next = this.#offsets.get(partition) ?? 0n;
          if (closed.has(partition) || BigInt(record.offset) < next) return;
          const order = new TextDecoder().decode(record.header('varve.order') ?? undefined);
          if (context.cut.limit !== null && order > context.cut.limit) closed.add(partition);
          else {
            this.taken.push(order);
            this.#offsets.set(partition, BigInt(record.offset) + 1n);
          }
        });
    const highs = new Map([[0, { order: this.taken.toSorted().at(-1) ?? '', ts: 0n }]]);
    const cut = cutOf(highs, context.cut.whole);
    this.commits.push({ taken: [...this.taken], cut, context });
    return REPORT;
  }

  async isPaused(): Promise<boolean> {
    return false;
  }

  async maintain(): Promise<'done'> {
    return 'done';
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}

type Folding = { steps: readonly Step[]; pace: readonly number[]; consistent: boolean; rows: number };

/** Folds while it is written: before each look at the topic, as many writes as `pace` says. */
const foldWhileWriting = async ({ steps, pace, consistent, rows }: Folding): Promise<OrderTable> => {
  const topic = new MemoryTopic();
  await topic.publisher().ensureTopic(TOPIC, { partitions: PARTITIONS });
  const waiting = [...steps];
  const finish = new AbortController();
  let looks = 0;
  const go = async (): Promise<void> => {
    for (let left = pace[looks++ % pace.length] ?? 1; left > 0 && waiting.length > 0; left--)
      await publish(topic, waiting.shift() as Step);
    if (waiting.length === 0) finish.abort();
  };
  const feed = topic.feed();
  const watched = (name: 'read' | 'ends' | 'state'): void => {
    const call = feed[name].bind(feed) as (...given: unknown[]) => unknown;
    Object.assign(feed, {
      [name]: async (...given: unknown[]) => {
        await go();
        return call(...given);
      },
    });
  };
  for (const name of ['read', 'ends', 'state'] as const) watched(name);
  feed.changed = go;
  const table = new OrderTable();
  const shared = { feed, table, topic: TOPIC, consistent, finish: finish.signal };
  let now = 0;
  const limits = { intervalMs: 1, rows, bytes: 1 << 30 };
  const rest = { limits, nowMs: () => now++, onCommit: () => undefined };
  await runFold({ ...shared, ...rest }, new AbortController().signal);
  return table;
};

const allOrders = (steps: readonly Step[]): string[] =>
  steps.flatMap(({ events }) => events.map(([, order]) => order)).sort();

const paces = fc
  .array(fc.nat(3), { minLength: 1, maxLength: 7 })
  .filter((pace) => pace.some((one) => one > 0));

describe('a consistent table', () => {
  it('never shows a part of a transaction, knows its moment, and ends with everything', async () => {
    await fc.assert(
      fc.asyncProperty(transactions, paces, fc.integer({ min: 1, max: 9 }), async (given, pace, rows) => {
        const steps = stepsOf(given);
        const orders = allOrders(steps);
        const { commits, taken } = await foldWhileWriting({ steps, pace, rows, consistent: true });
        const isRow = (order: string) => parseOrder(order).phase === 0;
        for (const commit of commits) {
          const has = new Set(commit.taken);
          assert.equal(has.size, commit.taken.length, 'nothing twice');
          const begun = new Set(commit.taken.filter((order) => !isRow(order)).map(transactionOf));
          const owed = orders.filter((order) => begun.has(transactionOf(order)) && !has.has(order));
          assert.deepEqual(owed, [], 'a transaction is shown in part');
          if (commit.cut !== null)
            assert.deepEqual(
              [...has].sort(),
              orders.filter((order) => order <= `${commit.cut}`),
            );
          // Only rows of a snapshot that is not whole are of no moment.
          const last = [...has].sort().at(-1) ?? '';
          const rest = orders.some(
            (order) => isRow(order) && transactionOf(order) === transactionOf(last) && !has.has(order),
          );
          if (commit.cut === null && last !== '') assert.ok(isRow(last), `no cut at ${last}`);
          else assert.ok(!rest);
          const { snapshot } = commit.context;
          if (snapshot !== null)
            assert.ok(
              orders.every(
                (order) => transactionOf(order) !== transactionOf(snapshot.order) || has.has(order),
              ),
            );
        }
        assert.deepEqual([...taken].sort(), orders);
      }),
      { numRuns: RUNS },
    );
  });

  it('waits with a half transaction, and refuses one that is larger than it may hold', async () => {
    const topic = new MemoryTopic();
    await topic.publisher().ensureTopic(TOPIC, { partitions: PARTITIONS });
    const many = Array.from({ length: 200 }, (_, ordinal) => [0, orderOf(2, ordinal)] as const);
    await publish(topic, { events: [[0, orderOf(1, 0)]], state: { checkpoint: checkpoint(orderOf(1, 0)) } });
    await publish(topic, { events: many, state: {} });
    const fold = async (bytes: number): Promise<string[]> => {
      const table = new OrderTable();
      const limits = { intervalMs: 1, rows: 1000, bytes };
      const shared = { feed: topic.feed(), table, topic: TOPIC, consistent: true, limits };
      const rest = { nowMs: Date.now, onCommit: () => undefined, finish: AbortSignal.abort() };
      await runFold({ ...shared, ...rest }, new AbortController().signal);
      return table.taken;
    };
    assert.deepEqual(await fold(1 << 20), [orderOf(1, 0)]);
    await assert.rejects(fold(100), { kind: 'transaction_too_large' });
  });
});

describe('what is whole', () => {
  const order = endOfTransaction(parseOrder(orderOf(5, 0)));
  const state = (more: Record<string, string> = {}) =>
    new Map([['checkpoint', checkpoint(order)], ...Object.entries(more)]);

  it('ends below the changes that wait for their schema, and above a finished snapshot', () => {
    assert.deepEqual(wholeUpTo(state(), TOPIC), { order, rows: null });
    assert.equal(wholeUpTo(new Map(), TOPIC).order, null);
    const schemas = [{ first: orderOf(4, 3) }];
    const parked = printState({ table: ['s', 't'], reason: '', schemas, moved: {} });
    assert.equal(
      wholeUpTo(state({ [STATE_KEYS.parked(TOPIC)]: parked }), TOPIC).order,
      endBefore(orderOf(4, 3)),
    );
    const group = orderOf(9, 0, 0);
    const done = wholeUpTo(state({ [STATE_KEYS.snapshot(TOPIC)]: snapshotRecord(group, true) }), TOPIC);
    assert.deepEqual(done, { order: endOfTransaction(parseOrder(group)), rows: group });
    const begun = wholeUpTo(state({ [STATE_KEYS.snapshot(TOPIC)]: snapshotRecord(group, false) }), TOPIC);
    assert.deepEqual(begun, { order, rows: group });
  });

  it('does not keep the rows of a snapshot waiting for its end', async () => {
    const topic = new MemoryTopic();
    await topic.publisher().ensureTopic(TOPIC, { partitions: PARTITIONS });
    const snapshot = { [STATE_KEYS.snapshot(TOPIC)]: snapshotRecord(orderOf(1, 0, 0), false) };
    for (let part = 0; part < 9; part++) {
      const events = Array.from(
        { length: 20 },
        (_, at) => [at % 2, orderOf(1, 1 + part * 20 + at, 0)] as const,
      );
      await publish(topic, { events, state: snapshot });
    }
    const table = new OrderTable();
    const feed = topic.feed();
    const read = feed.read.bind(feed);
    feed.read = (name, partition, { from }) => read(name, partition, { from, maxBytes: 1 });
    const limits = { intervalMs: 1, rows: 50, bytes: 100 };
    const shared = { feed, table, topic: TOPIC, consistent: true, limits };
    const rest = { nowMs: Date.now, onCommit: () => undefined, finish: AbortSignal.abort() };
    await runFold({ ...shared, ...rest }, new AbortController().signal);
    assert.equal(table.taken.length, 180);
    assert.ok(table.commits.length > 2 && table.commits.every(({ cut }) => cut === null));
  });
});

describe('any other table', () => {
  it('names a moment where it happens to show one, and never a wrong one', async () => {
    let named = 0;
    await fc.assert(
      fc.asyncProperty(transactions, paces, fc.integer({ min: 1, max: 9 }), async (given, pace, rows) => {
        const steps = stepsOf(given);
        const orders = allOrders(steps);
        const { commits, taken } = await foldWhileWriting({ steps, pace, rows, consistent: false });
        for (const { taken: has, cut } of commits) {
          if (cut === null) continue;
          named++;
          assert.deepEqual(
            [...has].sort(),
            orders.filter((order) => order <= cut),
          );
        }
        assert.deepEqual([...taken].sort(), orders);
      }),
      { numRuns: RUNS },
    );
    assert.ok(named > RUNS / 2, `${named} were named`);
  });
});

describe('the end of what lies before a transaction', () => {
  it('is at or above every event before it, and below its own', () => {
    const parts = fc.record({
      epoch: fc.integer({ min: 1, max: 3 }),
      position: fc.bigInt(0n, 3n),
      phase: fc.constantFrom(0 as const, 1 as const, 2 as const),
      ordinal: fc.nat(3),
    });
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const [order, end] = [formatOrder(one), endBefore(formatOrder(other)) ?? ''];
        const isBefore = transactionOf(order) < transactionOf(formatOrder(other));
        assert.equal(order <= end, isBefore);
      }),
    );
  });
});
