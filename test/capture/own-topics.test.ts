// What capture publishes beside the changes: where transactions begin and end, over parts and kills too, and
// heartbeats on a log where nothing happens.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { LogEvent } from '../../src/change/event.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { type Checkpoint, readState, STATE_KEYS } from '../../src/topic/state.ts';
import { captureBench } from '../support/capture-bench.ts';
import { type DecodedRecord, decodeBatch, GOLDEN, loadGolden } from '../support/golden.ts';
import { insert, scriptedLog, textTable, transaction } from '../support/scripted-log.ts';

const FORM = { transactionTopic: true };
const RECORDED = join(GOLDEN, 'postgres/tx-metadata-heartbeat');
const table = textTable('t', ['id', 'v']);
const other = textTable('u', ['id', 'v']);

/** All records of a topic, in order. */
const recordsOf = async (path: string, topic: string): Promise<DecodedRecord[]> => {
  const feed = await openEmbeddedFeed({ path });
  const texts = new Map<number, string>();
  for (let id = 1; id < 20; id++) texts.set(id, await feed.schema(id).catch(() => ''));
  const found: DecodedRecord[] = [];
  const { end } = await feed.ends(topic, 0);
  for (let from = 0n; from < end; ) {
    const read = await feed.read(topic, 0, { from, maxBytes: 1 << 20 });
    found.push(...read.batches.flatMap((batch) => decodeBatch(topic, batch, (id) => texts.get(id) ?? '')));
    from = read.nextOffset;
  }
  await feed.close();
  return found;
};

type Mark = {
  status: string;
  id: string;
  event_count: bigint | null;
  data_collections: { data_collection: string; event_count: bigint }[] | null;
  ts_ms: bigint;
};

const marksOf = async (path: string): Promise<unknown[]> =>
  (await recordsOf(path, 'test.transaction')).map(({ value }) => {
    const { status, id, event_count, data_collections, ts_ms } = structuredClone(value) as unknown as Mark;
    const counts = data_collections?.map((part) => [part.data_collection, Number(part.event_count)]);
    return [status, id, event_count === null ? null : Number(event_count), counts ?? null, Number(ts_ms)];
  });

type Block = { id: string; total_order: bigint; data_collection_order: bigint } | null;

const blocksOf = async (path: string, topic: string): Promise<unknown[]> =>
  (await recordsOf(path, topic)).map(({ value }) => {
    const block = (structuredClone(value) as { transaction: Block } | null)?.transaction;
    return block && [block.id, Number(block.total_order), Number(block.data_collection_order)];
  });

test('every change says its number, the transaction topic where transactions begin and end', async (t) => {
  const { path, run } = await captureBench(t);
  const changes = transaction(10, [
    [table, ['a', 'x']],
    [other, ['b', 'y']],
    [table, ['c', 'z']],
  ]);
  await run(
    scriptedLog([[...changes, ...transaction(20, []), ...transaction(30, [[other, ['d', 'w']]])]]),
    {},
    FORM,
  );
  assert.deepEqual(await marksOf(path), [
    ['BEGIN', '10:10', null, null, 10],
    [
      'END',
      '10:10',
      3,
      [
        ['public.t', 2],
        ['public.u', 1],
      ],
      10,
    ],
    ['BEGIN', '30:30', null, null, 30],
    ['END', '30:30', 1, [['public.u', 1]], 30],
  ]);
  assert.deepEqual(await blocksOf(path, 'test.public.t'), [
    ['10:10', 1, 1],
    ['10:10', 3, 2],
  ]);
  assert.deepEqual(await blocksOf(path, 'test.public.u'), [
    ['10:10', 2, 1],
    ['30:30', 1, 1],
  ]);
});

test('its records have the schemas that Debezium’s have, to the letter', async (t) => {
  const { path, run } = await captureBench(t);
  await run(scriptedLog([transaction(10, [[table, ['a', 'x']]])]), { heartbeatMs: 1 }, FORM);
  const { records, schemas } = loadGolden(RECORDED);
  const recorded = (topic: string) => {
    const found = records.find((record) => record.topic === topic);
    const text = (id: string | null | undefined): string => JSON.stringify(schemas[id ?? '']?.avro);
    return [text(found?.keySchema), text(found?.valueSchema)];
  };
  for (const [ours, theirs] of [
    ['test.transaction', 'golden.transaction'],
    ['__debezium-heartbeat.test', '__debezium-heartbeat.golden'],
  ] as const) {
    const [first] = await recordsOf(path, ours);
    assert.deepEqual([first?.keySchema, first?.valueSchema], recorded(theirs), ours);
  }
  const [beat] = await recordsOf(path, '__debezium-heartbeat.test');
  assert.deepEqual(structuredClone(beat?.key), { serverName: 'test' });
  assert.deepEqual(structuredClone(beat?.value), { ts_ms: 0n });
  const [mark] = await recordsOf(path, 'test.transaction');
  assert.deepEqual(structuredClone(mark?.key), { id: '10:10' });
});

test('a changed key counts as the two events that it is, a truncate as one', async (t) => {
  const { path, run } = await captureBench(t);
  const [begin, , commit] = transaction(10, [[table, ['a', 'x']]]);
  assert.ok(begin && commit);
  const moved = { ...insert(table, 0, ['b', 'x']), op: 'u' as const, keyChanged: true };
  const events: LogEvent<PreparedTable>[] = [
    begin,
    { ...moved, before: insert(table, 0, ['a', 'x']).after },
    { kind: 'truncate', tables: [table, other], ordinal: 1 },
    commit,
  ];
  await run(scriptedLog([events]), {}, FORM);
  const counts = [
    ['public.t', 3],
    ['public.u', 1],
  ];
  assert.deepEqual((await marksOf(path))[1], ['END', '10:10', 4, counts, 10]);
  const blocks = [['10:10', 1, 1], null, ['10:10', 2, 2], ['10:10', 3, 3]];
  assert.deepEqual(
    await blocksOf(path, 'test.public.t'),
    blocks.map((block) => block ?? undefined),
  );
});

test('a huge transaction has one beginning, one end and right numbers, over parts and a kill', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const rows = Array.from({ length: 50 }, (_, at) => {
    return [at % 5 === 4 ? other : table, [`k${at}`, 'x'.repeat(1000)]] as const;
  });
  const all = transaction(30, rows);
  await run(scriptedLog([all.slice(0, 41)]), { maxTransactionBytes: 4000 }, FORM);
  const checkpoint = readState<Checkpoint>(publisher.state(), STATE_KEYS.checkpoint);
  const { ordinal, counts } = checkpoint?.part ?? assert.fail('no part was written');
  assert.equal(
    Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0),
    ordinal + 1,
  );
  assert.deepEqual(await marksOf(path), [['BEGIN', '30:30', null, null, 30]]);
  await run(scriptedLog([all]), { maxTransactionBytes: 4000 }, FORM);
  const collections = [
    ['public.t', 40],
    ['public.u', 10],
  ];
  assert.deepEqual(await marksOf(path), [
    ['BEGIN', '30:30', null, null, 30],
    ['END', '30:30', 50, collections, 30],
  ]);
  const numbers = [...(await blocksOf(path, 'test.public.t')), ...(await blocksOf(path, 'test.public.u'))];
  assert.deepEqual(
    numbers.map((block) => (block as [string, number])[1]).sort((a, b) => a - b),
    rows.map((_, at) => at + 1),
  );
});

test('on a silent log heartbeats go out, each with a checkpoint, and the end is not held up', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const log = scriptedLog([transaction(10, [[table, ['a', 'x']]])], { ends: false });
  let beats = 0;
  const until = (): boolean => beats++ > 8;
  await run(log, { heartbeatMs: 5, until });
  const found = await recordsOf(path, '__debezium-heartbeat.test');
  assert.ok(found.length >= 2, `${found.length} heartbeats`);
  assert.equal(readState<Checkpoint>(publisher.state(), STATE_KEYS.checkpoint)?.resume, '11');
  assert.equal((await recordsOf(path, 'test.public.t')).length, 1);
});

test('no heartbeat comes between the parts of a transaction', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const rows = Array.from({ length: 20 }, (_, at) => [table, [`k${at}`, 'x'.repeat(1000)]] as const);
  const all = transaction(30, rows);
  const chunks = all.slice(0, -1).map((event) => [event]);
  await run(scriptedLog(chunks), { maxTransactionBytes: 4000, heartbeatMs: 1 });
  assert.ok(readState<Checkpoint>(publisher.state(), STATE_KEYS.checkpoint)?.part);
  await assert.rejects(recordsOf(path, '__debezium-heartbeat.test'));
});
