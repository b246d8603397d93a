// A table whose new schema the registry refuses: its changes wait, all others go on, and when the registry
// takes the schema they go on too, in order, once, over kills.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatOrder } from '../../src/change/order.ts';
import { VarveError } from '../../src/errors.ts';
import type { Outbox } from '../../src/topic/outbox.ts';
import type { OutboxNotice } from '../../src/topic/outbox-options.ts';
import { freeParked } from '../../src/topic/parked.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import type { Publisher } from '../../src/topic/publisher.ts';
import { readState, type SchemaRecord, STATE_KEYS } from '../../src/topic/state.ts';
import { makeRow, outboxBench } from '../support/outbox-bench.ts';
import { plainTable, TYPE } from '../support/plain-table.ts';

const TOPIC = 'test.s.t';
const PARKED = 'test.varve.parked.s.t';
const old = plainTable({ name: ['s', 't'], columns: { id: TYPE.int, v: TYPE.text }, key: ['id'] });
const other = plainTable({ name: ['s', 'u'], columns: { id: TYPE.int, v: TYPE.text }, key: ['id'] });
const changed = plainTable({ name: ['s', 't'], columns: { id: TYPE.int, v: TYPE.long }, key: ['id'] });
const again = plainTable({ name: ['s', 't'], columns: { id: TYPE.int, v: TYPE.bool }, key: ['id'] });

/** A registry that refuses what `isRefused` says, under the table's own subject only. */
const guarded = (publisher: Publisher, isRefused: (schema: string) => boolean): Publisher => {
  const register = publisher.registerSchema.bind(publisher);
  publisher.registerSchema = async (subject, schema) => {
    if (subject === `${TOPIC}-value` && isRefused(schema))
      throw new VarveError('schema_incompatible', 'The registry says: the type of v changed.');
    return register(subject, schema);
  };
  return publisher;
};

const isNew = (schema: string): boolean => /"name":"v","type":\["null","(long|boolean)"/.test(schema);

let position = 0n;

const write = async (outbox: Outbox, rows: readonly (readonly [PreparedTable, string, string])[]) => {
  position++;
  for (const [ordinal, [table, id, v]] of rows.entries()) {
    const order = formatOrder({ epoch: 1, position, phase: 1, ordinal });
    const out = outbox.find(table) ?? (await outbox.open(table, order));
    if (ordinal === 0) outbox.begin({ epoch: 1, position, phase: 1 }, 7n, 'false');
    outbox.row(out, makeRow(ordinal, { after: [id, v] }));
  }
  await outbox.flush([]);
  await outbox.settled();
};

const IDS = (records: readonly { key: unknown }[]): number[] =>
  records.map(({ key }) => (key as { id: number }).id);

test('only its changes wait, with the reason; freed, they go on in order, new ones behind them', async () => {
  const bench = outboxBench();
  const notices: OutboxNotice[] = [];
  let refuses = isNew;
  const publisher = guarded(bench.topic.publisher(), (schema) => refuses(schema));
  const more = {
    publisher,
    partitionsOf: () => 3,
    onNotice: (notice: OutboxNotice) => void notices.push(notice),
  };
  const outbox = bench.open(more);
  await write(outbox, [
    [old, '1', 'a'],
    [other, '1', 'a'],
  ]);
  await write(outbox, [
    [changed, '2', '20'],
    [other, '2', 'b'],
  ]);
  await write(outbox, [
    [again, '3', 't'],
    [changed, '4', '40'],
    [other, '3', 'c'],
  ]);
  assert.deepEqual(IDS(bench.read(TOPIC).flat()), [1]);
  assert.deepEqual(IDS(bench.read('test.s.u').flat()).sort(), [1, 2, 3]);
  assert.deepEqual(IDS(bench.read(PARKED).flat()).sort(), [2, 3, 4]);
  assert.deepEqual(
    notices.map((notice) => notice.kind === 'blocked' && [notice.topic, notice.parked, notice.reason]),
    [[TOPIC, PARKED, 'The registry says: the type of v changed.']],
  );
  const moving = { publisher, feed: bench.topic.feed(), prefix: 'test', subjects: 'topic_name' } as const;
  const reason = 'The registry says: the type of v changed.';
  assert.deepEqual(await freeParked(moving), [{ topic: TOPIC, parked: PARKED, reason }]);
  assert.deepEqual(IDS(bench.read(TOPIC).flat()), [1], 'still blocked, so nothing moved');
  const next = bench.open(more);
  await write(next, [[changed, '5', '50']]);
  refuses = () => false;
  assert.deepEqual(await freeParked(moving), []);
  assert.deepEqual(await freeParked(moving), []);
  await write(bench.open(more), [[changed, '6', '60']]);
  const records = bench.read(TOPIC);
  assert.deepEqual(IDS(records.flat()).sort(), [1, 2, 3, 4, 5, 6]);
  for (const list of records) {
    const orders = list.map(({ headers }) => headers.find(([name]) => name === 'varve.order')?.[1] ?? '');
    assert.deepEqual(orders, orders.toSorted());
  }
  const state = bench.topic.state;
  const schemas = [1, 2, 3, 4].map((n) => readState<SchemaRecord>(state, STATE_KEYS.schema(TOPIC, n)));
  assert.deepEqual(
    schemas.map((record) => record?.columns[1]?.type.type),
    ['string', 'int64', 'boolean', 'int64'],
  );
  const parkedAgain = readState<{ schemas: unknown[] }>(state, STATE_KEYS.parked(TOPIC));
  assert.deepEqual(parkedAgain?.schemas, []);
});

test('a kill between the steps of freeing loses nothing and repeats nothing', async () => {
  for (let kill = 1; kill <= 4; kill++) {
    const bench = outboxBench();
    let refuses = isNew;
    const make = (): Publisher => guarded(bench.topic.publisher(), (schema) => refuses(schema));
    const outbox = bench.open({ publisher: make(), partitionsOf: () => 2 });
    await write(outbox, [[old, '1', 'a']]);
    for (const id of ['2', '3', '4', '5']) await write(outbox, [[changed, id, id]]);
    refuses = () => false;
    const dying = make();
    const inner = dying.write.bind(dying);
    let writes = 0;
    dying.write = (all) => (++writes === kill ? Promise.reject(new Error('killed')) : inner(all));
    const feed = bench.topic.feed();
    await freeParked({ publisher: dying, feed, prefix: 'test', subjects: 'topic_name' }).catch(
      () => undefined,
    );
    await freeParked({ publisher: make(), feed, prefix: 'test', subjects: 'topic_name' });
    assert.deepEqual(IDS(bench.read(TOPIC).flat()).sort(), [1, 2, 3, 4, 5], `killed at write ${kill}`);
    const schemas = [...bench.topic.state.keys()].filter((key) =>
      key.startsWith(STATE_KEYS.schemasOf(TOPIC)),
    );
    assert.equal(schemas.length, 2);
  }
});

test('blocked a second time, what went on before stays where it is', async () => {
  const bench = outboxBench();
  let refuses = isNew;
  const publisher = guarded(bench.topic.publisher(), (schema) => refuses(schema));
  const moving = { publisher, feed: bench.topic.feed(), prefix: 'test', subjects: 'topic_name' } as const;
  await write(bench.open({ publisher }), [
    [old, '1', 'a'],
    [changed, '2', '20'],
  ]);
  refuses = () => false;
  await freeParked(moving);
  refuses = (schema) => schema.includes('boolean');
  await write(bench.open({ publisher }), [
    [changed, '3', '30'],
    [again, '4', 't'],
  ]);
  assert.deepEqual(IDS(bench.read(TOPIC).flat()), [1, 2, 3]);
  refuses = () => false;
  await freeParked(moving);
  assert.deepEqual(IDS(bench.read(TOPIC).flat()), [1, 2, 3, 4]);
});

test('rows of a snapshot do not wait: the table stops instead', async () => {
  const bench = outboxBench();
  const publisher = guarded(bench.topic.publisher(), isNew);
  const outbox = bench.open({ publisher });
  const snapshot = formatOrder({ epoch: 1, position: 1n, phase: 0, ordinal: 0 });
  await assert.rejects(outbox.open(changed, snapshot), {
    kind: 'schema_incompatible',
    message: /registry says/,
  });
  await write(outbox, [
    [old, '1', 'a'],
    [changed, '2', '20'],
  ]);
  await assert.rejects(outbox.open(old, snapshot), { kind: 'schema_incompatible', message: /wait/ });
});
