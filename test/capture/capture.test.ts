// The capture loop over scripted logs and the real embedded topic: whole transactions, checkpoints, parts,
// resumption.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOrder } from '../../src/change/order.ts';
import { VarveError } from '../../src/errors.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import type { Publisher } from '../../src/topic/publisher.ts';
import { readRecords } from '../../src/topic/record-batch.ts';
import { type Checkpoint, readState, STATE_KEYS } from '../../src/topic/state.ts';
import { captureBench } from '../support/capture-bench.ts';
import { insert, scriptedLog, textTable, transaction } from '../support/scripted-log.ts';

const TOPIC = 'test.public.t';

/** [position, ordinal] of every record, in the order of the topic. */
const published = async (path: string, topic = TOPIC): Promise<[number, number][]> => {
  const feed = await openEmbeddedFeed({ path });
  const { batches } = await feed.read(topic, 0, { from: 0n, maxBytes: 1 << 30 });
  const found: [number, number][] = [];
  for (const batch of batches) {
    readRecords(batch, (view) => {
      const { position, ordinal } = parseOrder(
        new TextDecoder().decode(view.header('varve.order') ?? undefined),
      );
      found.push([Number(position), ordinal]);
    });
  }
  await feed.close();
  return found;
};

const checkpointOf = (publisher: Publisher): Checkpoint => {
  const found = readState<Checkpoint>(publisher.state(), STATE_KEYS.checkpoint);
  assert.ok(found);
  return found;
};

const table = textTable('t', ['id', 'v']);

test('whole transactions are published with the checkpoint that covers them, then confirmed', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const log = scriptedLog([
    [...transaction(10, [[table, ['a', 'x']]]), ...transaction(20, [[table, ['b', 'y']]])],
  ]);
  await run(log);
  assert.deepEqual(await published(path), [
    [10, 0],
    [20, 0],
  ]);
  assert.equal(checkpointOf(publisher).resume, '21');
  assert.deepEqual(log.confirmed, ['21']);
});

test('a transaction whose commit never came leaves nothing behind', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const torn = transaction(20, [[table, ['b', 'y']]]).slice(0, 2);
  await run(scriptedLog([transaction(10, [[table, ['a', 'x']]])]));
  await run(scriptedLog([torn]));
  assert.deepEqual(await published(path), [[10, 0]]);
  assert.equal(checkpointOf(publisher).resume, '11');
});

test('a huge transaction goes out in parts, and after a kill only the rest is published', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const rows = Array.from({ length: 50 }, (_, at) => [table, [`k${at}`, 'x'.repeat(1000)]] as const);
  const all = transaction(30, rows);
  await run(scriptedLog([all.slice(0, 41)]), { maxTransactionBytes: 4000 });
  const { part, resume } = checkpointOf(publisher);
  assert.ok(part !== null && part.ordinal > 0 && part.ordinal < 40, 'no part was written');
  assert.equal(resume, '0', 'a part moved the resume point');
  const again = scriptedLog([all]);
  await run(again, { maxTransactionBytes: 4000 });
  assert.deepEqual(again.readFrom, ['0']);
  assert.deepEqual(
    await published(path),
    rows.map((_, at) => [30, at]),
  );
  assert.deepEqual([checkpointOf(publisher).resume, checkpointOf(publisher).part], ['31', null]);
});

test('a source that idles before it sends a half published transaction again changes nothing', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const rows = Array.from({ length: 20 }, (_, at) => [table, [`k${at}`, 'x'.repeat(1000)]] as const);
  const all = transaction(30, rows);
  await run(scriptedLog([all.slice(0, 15)]), { maxTransactionBytes: 4000 });
  const half = checkpointOf(publisher);
  await run(scriptedLog([[{ kind: 'idle', resume: '25', isAsked: true }]]));
  assert.deepEqual(checkpointOf(publisher), half);
  await run(scriptedLog([[{ kind: 'idle', resume: '25', isAsked: false }], all]));
  assert.deepEqual(
    await published(path),
    rows.map((_, at) => [30, at]),
  );
});

test('a half published transaction that does not come again is a gap, not a shrug', async (t) => {
  const { run } = await captureBench(t);
  const rows = Array.from({ length: 20 }, (_, at) => [table, [`k${at}`, 'x'.repeat(1000)]] as const);
  await run(scriptedLog([transaction(30, rows).slice(0, 15)]), { maxTransactionBytes: 4000 });
  const gap = run(scriptedLog([transaction(40, [[table, ['a', 'x']]])]));
  await assert.rejects(gap, (thrown) => thrown instanceof VarveError && thrown.kind === 'history_gap');
});

test('another selection of tables is refused while a transaction is half published', async (t) => {
  const { run } = await captureBench(t);
  const rows = Array.from({ length: 20 }, (_, at) => [table, [`k${at}`, 'x'.repeat(1000)]] as const);
  await run(scriptedLog([transaction(30, rows).slice(0, 15)]), { maxTransactionBytes: 4000 });
  const other = run(scriptedLog([transaction(30, rows)]), { selection: 'fewer' });
  await assert.rejects(other, (thrown) => thrown instanceof VarveError && thrown.kind === 'state_foreign');
});

test('a NULL in a column that the schema calls required relaxes the column and loses nothing', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  await run(
    scriptedLog([
      transaction(10, [
        [table, ['a', 'x']],
        [table, ['b', null]],
        [table, ['c', 'z']],
      ]),
    ]),
  );
  assert.deepEqual(await published(path), [
    [10, 0],
    [10, 1],
    [10, 2],
  ]);
  assert.ok(publisher.state().has(STATE_KEYS.schema(TOPIC, 2)), 'the relaxed schema was not recorded');
});

test('stopping before a position leaves that transaction unread, and all before it durable', async (t) => {
  const { publisher, path, run } = await captureBench(t);
  const chunk = [...transaction(10, [[table, ['a', 'x']]]), ...transaction(20, [[table, ['b', 'y']]])];
  await run(scriptedLog([chunk], { ends: false }), { before: 20n });
  assert.deepEqual(await published(path), [[10, 0]]);
  assert.equal(checkpointOf(publisher).resume, '11');
});

test('it ends once a durable checkpoint reaches what was asked for, also on an idle stream', async (t) => {
  const { publisher, run } = await captureBench(t);
  const until = (resume: string): boolean => Number(resume) >= 99;
  await run(
    scriptedLog([transaction(10, [[table, ['a', 'x']]]), [{ kind: 'idle', resume: '99', isAsked: false }]], {
      ends: false,
    }),
    { until },
  );
  assert.equal(checkpointOf(publisher).resume, '99');
});

test('truncates stand between the rows that surround them', async (t) => {
  const { path, run } = await captureBench(t);
  const [begin, , commit] = transaction(10, [[table, ['a', 'x']]]);
  assert.ok(begin && commit);
  const events = [
    begin,
    insert(table, 0, ['a', 'x']),
    { kind: 'truncate' as const, tables: [table], ordinal: 1 },
    insert(table, 2, ['b', 'y']),
    commit,
  ];
  await run(scriptedLog([events]));
  assert.deepEqual(await published(path), [
    [10, 0],
    [10, 1],
    [10, 2],
  ]);
});

test('rows that changed without events stop the pipeline, and the next start still knows it', async (t) => {
  const { publisher, run } = await captureBench(t);
  const log = scriptedLog([
    transaction(10, [[table, ['a', 'x']]]),
    [{ kind: 'stale', table: ['public', 't'], reason: 'rewritten' }],
  ]);
  await assert.rejects(run(log), (thrown) => thrown instanceof VarveError && thrown.kind === 'table_stale');
  assert.ok(publisher.state().has(STATE_KEYS.stale(TOPIC)));
  assert.equal(checkpointOf(publisher).resume, '11');
});

test('a key that changed stops the table', async (t) => {
  const { run } = await captureBench(t);
  const other = { ...table, schema: { ...table.schema, key: [1] } };
  await run(scriptedLog([transaction(10, [[table, ['a', 'x']]])]));
  const changed = run(scriptedLog([transaction(20, [[other, ['a', 'x']]])]));
  await assert.rejects(changed, (thrown) => thrown instanceof VarveError && thrown.kind === 'key_changed');
});

test('a publisher that fails stops the capture and nothing is confirmed', async (t) => {
  const { publisher, run } = await captureBench(t);
  const log = scriptedLog([transaction(10, [[table, ['a', 'x']]])], { ends: false });
  t.mock.method(publisher, 'write', () => Promise.reject(new VarveError('disk_full', 'The disk is full.')));
  await assert.rejects(run(log), (thrown) => thrown instanceof VarveError && thrown.kind === 'disk_full');
  assert.deepEqual(log.confirmed, []);
});

test('what makes a table stale is passed over while that table is being read again', async (t) => {
  const { publisher, run } = await captureBench(t);
  const stale = { kind: 'stale' as const, table: ['public', 't'] as const, reason: 'rewritten' };
  await run(scriptedLog([transaction(10, [[table, ['a', 'x']]]), [stale]]), {
    mending: new Set(['public.t']),
  });
  assert.equal(checkpointOf(publisher).resume, '11');
  assert.equal(publisher.state().has(STATE_KEYS.stale(TOPIC)), false);
});
