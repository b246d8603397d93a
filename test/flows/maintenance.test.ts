// A table that is committed to all the time stays readable: few files, few snapshots, nothing left behind, and nobody who
// reads an older snapshot loses a file under their hands.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { access, mkdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { runFold } from '../../src/sinks/fold.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { mostRuns } from '../../src/sinks/parquet/iceberg/maintenance.ts';
import type { LiveFile } from '../../src/sinks/parquet/iceberg-type.ts';
import { fromFileUri, openLocalStore } from '../../src/sinks/parquet/store-local.ts';
import { printState, STATE_KEYS } from '../../src/topic/state.ts';
import { positionDeletes } from '../sinks/iceberg/parquet-files.ts';
import { atLevel } from '../support/level.ts';
import { MemoryTopic } from '../support/memory-topic.ts';
import { TableBench, TOPIC_ID, upsert } from '../support/table-bench.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';

const TOPIC = 'test.public.t';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const KEYS = 7;
const COMMITS = atLevel({ test: 24, all: 300, deep: 2000 });

const change = (n: number) => upsert(n, n % KEYS, n * 10);
/** What the table must hold after changes 1 to `count`: every value a version, the last of each key current. */
const expectedRows = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => at + 1).map((n) => `${n % KEYS} ${n * 10} ${n + KEYS > count}`);
const holds = async (bench: TableBench, count: number): Promise<void> =>
  assert.deepEqual(
    rowTexts(await readTable(bench.location, 't'), ['id', 'a', 'is_current']),
    expectedRows(count),
  );

const commitMany = async (bench: TableBench, first: number, last: number): Promise<void> => {
  for (let n = first; n <= last; n++) {
    await bench.commit([change(n)]);
    await bench.table.maintain();
  }
};

const upkeep = async (bench: TableBench): Promise<void> => {
  while ((await bench.table.maintain()) !== 'done');
};

const areThere = async (files: readonly LiveFile[]): Promise<boolean> => {
  const found = await Promise.allSettled(files.map(({ path }) => access(fromFileUri(path))));
  return found.every(({ status }) => status === 'fulfilled');
};

/** A file that no version names, last touched so long ago. */
const strayFile = async (path: string, ageMs: number): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, 'stray');
  const at = new Date(Date.now() - ageMs);
  await utimes(path, at, at);
};

test(`${COMMITS} commits leave few files and snapshots, and every version`, async () => {
  await using bench = await TableBench.make();
  for (let done = 0; done < COMMITS; done += 12) {
    await commitMany(bench, done + 1, done + 12);
    const { files, state } = await readTable(bench.location, 't');
    assert.ok(files.length <= 30, `${files.length} files are live`);
    const { snapshots } = state.metadata;
    assert.ok(snapshots.length <= bench.keepSnapshots + 1, `${snapshots.length} snapshots are kept`);
  }
  await holds(bench, Math.ceil(COMMITS / 12) * 12);
});

test('intake waits while too many files wait to be merged, also when everything is asked for at once', async () => {
  await using bench = await TableBench.make();
  const topic = new MemoryTopic();
  const publisher = topic.publisher();
  await publisher.ensureTopic(TOPIC, { partitions: 1 });
  for (const [id, text] of bench.writer.texts) topic.schemas[id - 1] = text;
  const state = [{ key: STATE_KEYS.schema(TOPIC, 1), value: printState(bench.writer.record) }];
  for (let n = 1; n <= COMMITS; n++) {
    const batch = bench.writer.batch([change(n)]);
    await publisher.write({ slices: [{ topic: TOPIC, partition: 0, batch, records: 1 }], state });
  }
  const feed = topic.feed();
  // One batch a read, so that every change is a commit of its own.
  const read = feed.read.bind(feed);
  feed.read = (name, partition, from) => read(name, partition, from, 1);
  const runs: Promise<number>[] = [];
  await runFold(
    {
      feed,
      table: bench.table,
      topic: TOPIC,
      limits: { intervalMs: 1000, rows: 1, bytes: 1 << 20 },
      nowMs: Date.now,
      onCommit: () => {
        runs.push(readTable(bench.location, 't').then(({ files }) => mostRuns(files)));
      },
      finish: AbortSignal.abort(),
    },
    new AbortController().signal,
  );
  const most = Math.max(...(await Promise.all(runs)));
  assert.equal(runs.length, COMMITS);
  assert.ok(most <= 8, `${most} small files stood side by side`);
  await holds(bench, COMMITS);
});

test('a rewrite carries offsets and memory unchanged, also for the next process', async () => {
  await using bench = await TableBench.make();
  const batches = Array.from({ length: 12 }, (_, at) => bench.batch([change(at + 1)]));
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
  await holds(bench, 12);
  await commitMany(bench, 13, 14);
  await holds(bench, 14);
});

test('a reader of an older snapshot keeps its files for a day; then they go', async () => {
  await using bench = await TableBench.make();
  bench.keepSnapshots = 3;
  await bench.open();
  await commitMany(bench, 1, 6);
  const old = await readTable(bench.location, 't');
  await commitMany(bench, 7, 14);
  // The metadata log names the newest hundred versions, whatever their age.
  let { state } = await readTable(bench.location, 't');
  for (let n = 0; n < 110; n++) state = await commit(bench.io, state, { properties: { n: String(n) } });
  await bench.open();
  bench.shiftMs = 23 * HOUR_MS;
  await upkeep(bench);
  assert.ok(await areThere(old.files), 'a file of an older snapshot went within a day');
  bench.shiftMs = 25 * HOUR_MS;
  await upkeep(bench);
  assert.ok(!(await areThere(old.files)), 'nothing of an expired snapshot went');
  const versions = (await bench.names()).filter((name) => name.endsWith('.metadata.json'));
  assert.ok(versions.length <= 101, `${versions.length} metadata files are left`);
  await holds(bench, 14);
});

test('what nobody names goes after three days, looked for once a day', async () => {
  await using bench = await TableBench.make();
  await commitMany(bench, 1, 3);
  const stray = (name: string): string => join(bench.location, 'public', 't', 'data', name);
  await strayFile(stray('young.parquet'), 2 * DAY_MS);
  await strayFile(stray('old.parquet'), 4 * DAY_MS);
  await bench.open();
  bench.shiftMs += HOUR_MS;
  await upkeep(bench);
  assert.ok((await bench.names()).includes('old.parquet'), 'the table was listed again within the day');
  bench.shiftMs += DAY_MS - HOUR_MS + 60_000;
  await upkeep(bench);
  const left = (await bench.names()).filter((name) => /^(young|old)/.test(name));
  assert.deepEqual(left, [], 'both are older than three days by now');
  await strayFile(stray('next.parquet'), 2 * DAY_MS);
  bench.shiftMs += DAY_MS;
  await upkeep(bench);
  assert.ok(!(await bench.names()).includes('next.parquet'));
  await holds(bench, 3);
});

test('an orphan that is young is spared', async () => {
  await using bench = await TableBench.make();
  const stray = join(bench.location, 'public', 't', 'data', 'young.parquet');
  await strayFile(stray, 2 * DAY_MS);
  await strayFile(join(dirname(stray), 'old.parquet'), 4 * DAY_MS);
  await commitMany(bench, 1, 1);
  await upkeep(bench);
  const left = (await bench.names()).filter((name) => /^(young|old)/.test(name));
  assert.deepEqual(left, ['young.parquet']);
});

test("the companion's files that no commit names any more go too", async () => {
  await using bench = await TableBench.make();
  const root = join(bench.location, 'public', 't__varve_state');
  // A delete of a key that the table does not have leaves a mark, and with it a state file.
  const mark = { op: 'd' as const, key: { id: 99n }, row: { id: 99n, a: null, b: null } };
  await bench.commit([{ ...change(1), ...mark }]);
  const kept = await bench.names('__varve_state');
  assert.equal(kept.length, 1);
  await strayFile(join(root, 'stray.parquet'), 4 * DAY_MS);
  await upkeep(bench);
  assert.deepEqual(await bench.names('__varve_state'), kept);
});

test('delete files that another writer left pointing nowhere go with the next rewrite', async () => {
  await using bench = await TableBench.make();
  await bench.commit([change(1)]);
  const { state, files } = await readTable(bench.location, 't');
  const store = openLocalStore(bench.location, { uuid: randomUUID });
  // History has no file yet, so what deletes from it deletes nothing.
  const gone = {
    ...(files[0] as LiveFile),
    path: `${state.location}/data/gone.parquet`,
    partition: [false, 0],
  };
  const uri = `${state.location}/data/dangling-deletes.parquet`;
  const dangling = { ...(await positionDeletes(gone, [0n], { store, uri })), referencedDataFile: null };
  await commit(bench.io, state, {
    snapshot: { id: 4711n, operation: 'overwrite', add: [dangling], remove: [], summary: {} },
  });
  await bench.open();
  for (let n = 2; n <= 8; n++) await bench.commit([change(n)]);
  await upkeep(bench);
  const paths = (await readTable(bench.location, 't')).files.map(({ path }) => path);
  assert.ok(!paths.includes(uri), 'the dangling delete file is still live');
  await holds(bench, 8);
});
