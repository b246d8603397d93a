// A table that is committed to all the time stays readable: few files and few snapshots, merged in time, and
// nothing that was remembered is lost by it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runFold } from '../../src/sinks/fold.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { mostRuns } from '../../src/sinks/parquet/iceberg/maintenance.ts';
import type { LiveFile } from '../../src/sinks/parquet/iceberg-type.ts';
import { printState, STATE_KEYS } from '../../src/topic/state.ts';
import { positionDeletes } from '../sinks/iceberg/parquet-files.ts';
import { atLevel } from '../support/level.ts';
import { MemoryTopic } from '../support/memory-topic.ts';
import {
  changeAt,
  changeMany,
  holdsChanges,
  orderAt,
  TableBench,
  TOPIC_ID,
  upkeep,
  upsert,
} from '../support/table-bench.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';

const TOPIC = 'test.public.t';
const COMMITS = atLevel({ test: 24, all: 300, deep: 2000 });

test(`${COMMITS} commits leave few files and snapshots, and every version`, async () => {
  await using bench = await TableBench.make();
  for (let done = 0; done < COMMITS; done += 12) {
    await changeMany(bench, done + 1, done + 12);
    const { files, state } = await readTable(bench.location, 't');
    assert.ok(files.length <= 30, `${files.length} files are live`);
    const { snapshots } = state.metadata;
    assert.ok(snapshots.length <= bench.keepSnapshots + 1, `${snapshots.length} snapshots are kept`);
  }
  await holdsChanges(bench, Math.ceil(COMMITS / 12) * 12);
});

test('intake waits while too many files wait to be merged, also on the way to an end', async () => {
  await using bench = await TableBench.make();
  const keys = Array.from({ length: 16 }, (_, at) => at);
  const topic = new MemoryTopic();
  const publisher = topic.publisher();
  await publisher.ensureTopic(TOPIC, { partitions: 1 });
  for (const [id, text] of bench.writer.texts) topic.schemas[id - 1] = text;
  // Every commit writes into more buckets than one step of upkeep merges.
  const large = { done: false, order: orderAt(0), estimatedRows: 40_000_000 };
  const state = [
    { key: STATE_KEYS.schema(TOPIC, 1), value: printState(bench.writer.record) },
    { key: STATE_KEYS.snapshot(TOPIC), value: printState(large) },
  ];
  for (let n = 1; n <= COMMITS; n++) {
    const batch = bench.writer.batch(keys.map((id) => upsert(n * keys.length + id, id, n)));
    await publisher.write({ slices: [{ topic: TOPIC, partition: 0, batch, records: keys.length }], state });
  }
  const feed = topic.feed();
  // One batch a read, so that each is a commit of its own.
  const read = feed.read.bind(feed);
  feed.read = (name, partition, { from }) => read(name, partition, { from, maxBytes: 1 });
  const { table } = bench;
  const commitNext = table.commit.bind(table);
  const runs: number[] = [];
  table.commit = async (...given) => {
    if (runs.length > 0) runs.push(mostRuns((await readTable(bench.location, 't')).files));
    else runs.push(0);
    return commitNext(...given);
  };
  const limits = { intervalMs: 1000, rows: 1, bytes: 1 << 20 };
  const rest = { consistent: false, nowMs: Date.now, onCommit: () => undefined, finish: AbortSignal.abort() };
  await runFold({ feed, table, topic: TOPIC, limits, ...rest }, new AbortController().signal);
  assert.equal(runs.length, COMMITS);
  assert.ok(Math.max(...runs) < 8, `${Math.max(...runs)} small files stood side by side: ${runs}`);
  assert.ok(Math.max(...runs) >= 5, `it was never put to the test: ${runs}`);
  const found = rowTexts(await readTable(bench.location, 't'), ['a', 'is_current']);
  assert.deepEqual(
    found,
    Array.from({ length: COMMITS * keys.length }, (_, at) => {
      const n = 1 + Math.floor(at / keys.length);
      return `${n} ${n === COMMITS}`;
    }),
  );
});

test('a rewrite carries offsets and memory unchanged, also for the next process', async () => {
  await using bench = await TableBench.make();
  const batches = Array.from({ length: 12 }, (_, at) => bench.batch([changeAt(at + 1)]));
  for (const batch of batches) await bench.table.commit([batch], bench.context, TOPIC_ID);
  await upkeep(bench);
  const { state } = await readTable(bench.location, 't');
  assert.equal(state.snapshot?.summary.operation, 'replace');
  await bench.open();
  assert.deepEqual([...bench.table.offsets()], [[0, 12n]]);
  assert.equal(bench.table.topicId(), TOPIC_ID);
  // Whoever starts from older offsets changes nothing.
  const again = await bench.table.commit(batches, bench.context, TOPIC_ID);
  assert.equal(again.opened + again.closed, 0);
  await holdsChanges(bench, 12);
  await changeMany(bench, 13, 14);
  await holdsChanges(bench, 14);
});

test('delete files that another writer left pointing nowhere go with the next rewrite', async () => {
  await using bench = await TableBench.make();
  await bench.commit([changeAt(1)]);
  const { state, files } = await readTable(bench.location, 't');
  // History has no file yet, so what deletes from it deletes nothing.
  const gone = {
    ...(files[0] as LiveFile),
    path: `${state.location}/data/gone.parquet`,
    partition: [false, 0],
  };
  const uri = `${state.location}/data/dangling-deletes.parquet`;
  const dangling = {
    ...(await positionDeletes(gone, [0n], { store: bench.io.store, uri })),
    referencedDataFile: null,
  };
  await commit(bench.io, state, {
    snapshot: { id: 4711n, operation: 'overwrite', add: [dangling], remove: [], summary: {} },
  });
  await bench.open();
  for (let n = 2; n <= 8; n++) await bench.commit([changeAt(n)]);
  await upkeep(bench);
  const paths = (await readTable(bench.location, 't')).files.map(({ path }) => path);
  assert.ok(!paths.includes(uri), 'the dangling delete file is still live');
  await holdsChanges(bench, 8);
});
