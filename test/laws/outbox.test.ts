// What an outbox publishes, over a topic in memory: which partition, in which batches, and what becomes of
// records that are too large.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatOrder } from '../../src/change/order.ts';
import type { OutboxNotice, OutboxOptions } from '../../src/topic/outbox-options.ts';
import type { DecodedRecord } from '../support/golden.ts';
import { begin, FIRST, flush, outboxBench, TRANSACTION, write } from '../support/outbox-bench.ts';
import { plainCells, plainTable, TYPE } from '../support/plain-table.ts';

const murmur2 = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2.js') as (
  key: Buffer,
) => number;

const COLUMNS = { id: TYPE.int, v: TYPE.text, n: TYPE.int } as const;
const TABLE = plainTable({ name: ['s', 't'], columns: COLUMNS, key: ['id'], required: ['id', 'n'] });
const KEYLESS = plainTable({ name: ['s', 'k'], columns: COLUMNS, key: [] });
const TOPIC = 'test.s.t';

type Value = { op: string; before: object | null; after: Record<string, unknown> | null };
const said = ({ value }: DecodedRecord): Value | null => structuredClone(value) as Value | null;
const headerOf = ({ headers }: DecodedRecord, name: string): string | undefined =>
  headers.find(([other]) => other === name)?.[1];
const idOf = ({ key }: DecodedRecord): number => (key as { id: number }).id;

/** By the serialized key, which is a zero byte, the schema's id and a zigzag number. */
const partitionOfId = (id: number, keyId: number, partitions: number): number => {
  const key = [0, 0, 0, 0, keyId];
  let rest = ((id << 1) ^ (id >> 31)) >>> 0;
  for (; rest > 0x7f; rest >>>= 7) key.push((rest & 0x7f) | 0x80);
  return (murmur2(Buffer.from([...key, rest])) & 0x7fffffff) % partitions;
};

test('a key stays in the partition that Kafka’s own partitioner gives it, in order', async () => {
  const change = fc.record({ id: fc.integer({ min: -500, max: 500 }), isDelete: fc.boolean() });
  const changes = fc.array(change, { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(changes, fc.integer({ min: 1, max: 12 }), async (all, partitions) => {
      const bench = outboxBench();
      const writing = await begin(bench.open({ partitionsOf: () => partitions }), TABLE);
      for (const { id, isDelete } of all) {
        const row = [String(id), 'v', '1'];
        write(writing, isDelete ? { op: 'd', before: row } : { after: row });
      }
      await flush(writing);
      const read = bench.read(TOPIC);
      assert.equal(read.length, partitions);
      for (const [partition, records] of read.entries()) {
        const orders = records.map((record) => headerOf(record, 'varve.order') ?? assert.fail());
        assert.deepEqual(orders, orders.toSorted(), 'in order');
        for (const record of records) assert.equal(partitionOfId(idOf(record), 1, partitions), partition);
      }
      const events = read.flat().filter(({ value }) => value !== null);
      assert.equal(events.length, all.length);
    }),
    { numRuns: 60 },
  );
});

test('a changed key leaves its old partition and comes up in its new one', async () => {
  const bench = outboxBench();
  const writing = await begin(bench.open({ partitionsOf: () => 5 }), TABLE);
  const [from, to] = [1, 2, 3, 4, 5, 6].filter((id, _, ids) => {
    return id === 1 || partitionOfId(id, 1, 5) !== partitionOfId(ids[0] ?? 0, 1, 5);
  }) as [number, number];
  write(writing, { op: 'u', moved: true, before: [`${from}`, null, '0'], after: [`${to}`, 'x', '1'] });
  await flush(writing);
  const ops = (partition: number) => bench.read(TOPIC)[partition]?.map((record) => said(record)?.op);
  assert.deepEqual(ops(partitionOfId(from, 1, 5)), ['d', undefined]);
  assert.deepEqual(ops(partitionOfId(to, 1, 5)), ['c']);
});

test('a truncate stands in every partition, between the rows around it', async () => {
  const bench = outboxBench();
  const writing = await begin(bench.open({ partitionsOf: () => 3 }), TABLE);
  for (let id = 0; id < 20; id++) write(writing, { after: [`${id}`, 'before', '1'] });
  writing.outbox.truncate(writing.out, writing.ordinal++);
  for (let id = 0; id < 20; id++) write(writing, { after: [`${id}`, 'after', '1'] });
  await flush(writing);
  for (const records of bench.read(TOPIC)) {
    const words = records.map((record) => said(record)?.after?.v ?? said(record)?.op);
    const at = words.indexOf('t');
    assert.ok(at > 0 && at < words.length - 1);
    assert.deepEqual(words, [
      ...words.slice(0, at).fill('before'),
      't',
      ...words.slice(at + 1).fill('after'),
    ]);
    assert.equal(headerOf(records[at] ?? assert.fail(), 'varve.order')?.slice(-2), '14');
  }
});

test('a table without key has one order, so it has one partition’s worth of it', async () => {
  const bench = outboxBench();
  const writing = await begin(bench.open({ partitionsOf: () => 4 }), KEYLESS);
  for (let id = 0; id < 10; id++) write(writing, { after: [`${id}`, 'x', '1'] });
  await flush(writing);
  assert.deepEqual(
    bench.read('test.s.k').map(({ length }) => length),
    [10, 0, 0, 0],
  );
});

test('batches stay below their bound and hold what one large batch would', async () => {
  const texts = fc.array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 80 });
  await fc.assert(
    fc.asyncProperty(
      texts,
      fc.integer({ min: 700, max: 4000 }),
      fc.boolean(),
      async (all, batchBytes, moves) => {
        const written = async (limits: { maxRecordBytes: number; batchBytes: number }) => {
          const bench = outboxBench(limits);
          let now = 1_700_000_000_000_000n;
          const outbox = bench.open({ nowUs: () => now });
          const writing = await begin(outbox, TABLE);
          for (const [id, text] of all.entries()) {
            if (id % 7 === 6) {
              now += 90_000n * 1000n;
              outbox.begin(TRANSACTION, 7n, 'false');
            }
            const after = [`${id + 1}`, text, '1'];
            if (moves) write(writing, { op: 'u', moved: true, before: [`${id}`, null, '0'], after });
            else write(writing, { after });
          }
          await flush(writing);
          return bench;
        };
        const [cut, whole] = await Promise.all([
          written({ maxRecordBytes: batchBytes, batchBytes }),
          written({ maxRecordBytes: 1 << 20, batchBytes: 1 << 30 }),
        ]);
        const sizes = cut.sizes(TOPIC)[0] ?? [];
        assert.ok(
          sizes.every((size) => size <= batchBytes),
          `${sizes} beyond ${batchBytes}`,
        );
        assert.equal(whole.sizes(TOPIC)[0]?.length, 1);
        const total = whole.sizes(TOPIC)[0]?.[0] ?? 0;
        assert.ok(sizes.length <= 1 + Math.ceil((2 * total) / batchBytes), 'no batch is needlessly small');
        assert.deepEqual(cut.read(TOPIC), whole.read(TOPIC));
      },
    ),
    { numRuns: 60 },
  );
});

test('another number of partitions than before is refused, by name', async () => {
  const bench = outboxBench();
  const writing = await begin(bench.open({ partitionsOf: () => 3 }), TABLE);
  write(writing, { after: ['1', 'x', '1'] });
  await flush(writing);
  // Asking for more of a topic that is there changes nothing.
  await bench.open({ partitionsOf: () => 7 }).open(TABLE, FIRST);
  const grown = { start: 0, end: 0, released: 0, batches: [] };
  bench.topic.topic(TOPIC).partitions.push(grown);
  const refused = bench.open({ partitionsOf: () => 3 }).open(TABLE, FIRST);
  await assert.rejects(refused, { kind: 'topic_changed', message: /had 3 partitions .* has 4 now/s });
});

test('operations that are skipped are not published, and ordinals go on counting', async () => {
  const all = async (skip: OutboxOptions['skip'] & object) => {
    const bench = outboxBench();
    const writing = await begin(bench.open({ skip }), TABLE);
    write(writing, { after: ['1', 'x', '1'] });
    write(writing, { op: 'u', after: ['1', 'y', '1'] });
    write(writing, { op: 'u', moved: true, before: ['1', null, '0'], after: ['2', 'y', '1'] });
    write(writing, { op: 'd', before: ['2', null, '0'] });
    writing.outbox.truncate(writing.out, writing.ordinal++);
    write(writing, { op: 'u', after: ['9', 'z', '1'] });
    await flush(writing);
    return bench
      .read(TOPIC)
      .flat()
      .map((record) => `${said(record)?.op ?? '-'}${Number(headerOf(record, 'varve.order')?.slice(-2))}`)
      .join(' ');
  };
  assert.equal(await all([]), 'c0 u1 d2 -2 c2 d3 -3 t4 u5');
  assert.equal(await all(['u']), 'c0 d2 -2 c2 d3 -3 t4');
  assert.equal(await all(['c', 't']), 'u1 d2 -2 d3 -3 u5');
  assert.equal(await all(['d']), 'c0 u1 c2 t4 u5');
});

const LIMITS = { maxRecordBytes: 1500, batchBytes: 4000 };
const LARGE = 'x'.repeat(3000);

test('a record that is too large stops, by topic, key and size, and leaves nothing behind', async () => {
  const bench = outboxBench(LIMITS);
  const writing = await begin(bench.open(), TABLE);
  write(writing, { after: ['1', 'small', '1'] });
  const { bytes } = writing.outbox;
  const message = /test\.s\.t with the key \{"id":2\} makes a record of 3\d\d\d bytes; the topic takes 1500/;
  assert.throws(() => write(writing, { after: ['2', LARGE, '1'] }), { kind: 'record_too_large', message });
  assert.equal(writing.outbox.bytes, bytes);
  await flush(writing);
  assert.deepEqual(bench.read(TOPIC).flat().map(idOf), [1]);
});

test('key_only: key and envelope go out, what is missing is named, nothing can be misread', async () => {
  const notices: OutboxNotice[] = [];
  const bench = outboxBench(LIMITS);
  const onNotice = (notice: OutboxNotice): void => void notices.push(notice);
  const writing = await begin(bench.open({ oversizedOf: () => 'key_only', onNotice }), TABLE);
  write(writing, { after: ['1', 'small', '1'] });
  write(writing, { op: 'u', before: ['2', LARGE, '6'], after: ['2', LARGE, '7'] });
  write(writing, { op: 'u', moved: true, before: ['2', null, '0'], after: ['3', LARGE, '8'] });
  write(writing, { after: ['4', 'small', '2'] });
  await flush(writing);
  const [small, large, left, tombstone, moved, last] = bench.read(TOPIC).flat();
  assert.ok(small && large && left && tombstone && moved && last);
  assert.deepEqual(said(small)?.after, { id: 1, v: 'small', n: 1 });
  const placeholder = '__debezium_unavailable_value';
  assert.deepEqual([idOf(large), said(large)?.op, said(large)?.before], [2, 'u', null]);
  assert.deepEqual(said(large)?.after, { id: 2, v: placeholder, n: 0 });
  const sizes = JSON.parse(headerOf(large, 'varve.oversized') ?? '');
  assert.deepEqual([sizes.columns, sizes.limit, sizes.bytes > 3000], [['v', 'n'], 1500, true]);
  assert.equal(headerOf(large, 'varve.unchanged'), undefined, 'it did change');
  assert.deepEqual([said(left)?.op, tombstone.value], ['d', null]);
  assert.equal(headerOf(moved, '__debezium.oldkey'), '{"id":2}');
  assert.deepEqual(said(moved)?.after, { id: 3, v: placeholder, n: 0 });
  assert.deepEqual(said(last)?.after, { id: 4, v: 'small', n: 2 });
  assert.deepEqual(
    notices.map((notice) => notice.kind === 'oversized' && [notice.topic, notice.policy, notice.limit]),
    [
      [TOPIC, 'key_only', 1500],
      [TOPIC, 'key_only', 1500],
    ],
  );
});

test('a delete with a large old row needs no more than its key, whatever the policy but stop', async () => {
  for (const policy of ['key_only', 'dead_letter'] as const) {
    const bench = outboxBench(LIMITS);
    const writing = await begin(bench.open({ oversizedOf: () => policy }), TABLE);
    const whole = { ...plainCells(['1', LARGE, '1']) };
    const row = { kind: 'row', op: 'd', table: null, ordinal: 0, after: null, keyChanged: false } as const;
    writing.outbox.row(writing.out, { ...row, before: whole, beforeIsKey: false });
    await flush(writing);
    const [deleted, tombstone] = bench.read(TOPIC).flat();
    assert.ok(deleted && tombstone);
    assert.deepEqual([said(deleted)?.op, said(deleted)?.before], ['d', { id: 1, v: null, n: 0 }]);
    assert.equal(JSON.parse(headerOf(deleted, 'varve.oversized') ?? '').columns.length, 0);
    assert.deepEqual([idOf(tombstone), tombstone.value], [1, null]);
  }
});

test('key_only of a table without key, and a key that is too large itself, stop all the same', async () => {
  const bench = outboxBench(LIMITS);
  const outbox = bench.open({ oversizedOf: () => 'key_only' });
  const keyless = await begin(outbox, KEYLESS);
  const without = { kind: 'record_too_large', message: /of a table without key/ };
  assert.throws(() => write(keyless, { after: ['1', LARGE, '1'] }), without);
  const table = plainTable({ name: ['s', 't'], columns: COLUMNS, key: ['v'] });
  const writing = await begin(outbox, table);
  assert.throws(() => write(writing, { after: ['1', LARGE, '1'] }), { kind: 'record_too_large' });
  write(writing, { after: ['1', 'small', '1'] });
  await flush(writing);
  assert.equal(bench.read(TOPIC).flat().length, 1);
});

test('claim_check: the whole value is kept before the record that says where', async () => {
  const kept = new Map<string, Uint8Array>();
  const bench = outboxBench(LIMITS);
  const puts: (() => void)[] = [];
  const claims = {
    locate: (name: string) => `mem:///${name}`,
    put: (name: string, value: Uint8Array) =>
      new Promise<void>((resolve) => {
        puts.push(() => {
          kept.set(`mem:///${name}`, value);
          resolve();
        });
      }),
  };
  const writing = await begin(bench.open({ oversizedOf: () => 'claim_check', claims }), TABLE);
  write(writing, { after: ['2', LARGE, '7'] });
  await writing.outbox.flush([{ key: 'k', value: '1' }]);
  await new Promise(setImmediate);
  assert.equal(bench.topic.writes.length, 0, 'nothing is published before the value is kept');
  for (const put of puts) put();
  await writing.outbox.settled();
  const [record] = bench.read(TOPIC).flat();
  assert.ok(record);
  const claim = JSON.parse(headerOf(record, 'varve.claim') ?? '') as { location: string; bytes: number };
  const value = kept.get(claim.location) ?? assert.fail(`nothing is kept as ${claim.location}`);
  assert.equal(value.length, claim.bytes);
  assert.ok(Buffer.from(value).includes(LARGE));
  assert.deepEqual([...value.subarray(0, 5)], [0, 0, 0, 0, 2], 'framed as a record’s value is');
  assert.deepEqual(JSON.parse(headerOf(record, 'varve.oversized') ?? '').columns, ['v', 'n']);
});

test('claim_check: a value that cannot be kept publishes nothing', async () => {
  const bench = outboxBench(LIMITS);
  const claims = { locate: (name: string) => name, put: () => Promise.reject(new Error('no room')) };
  const writing = await begin(bench.open({ oversizedOf: () => 'claim_check', claims }), TABLE);
  write(writing, { after: ['2', LARGE, '7'] });
  const { durable } = await writing.outbox.flush([{ key: 'k', value: '1' }]);
  await assert.rejects(durable, /no room/);
  assert.equal(bench.topic.writes.length, 0);
  const nowhere = bench.open({ oversizedOf: () => 'claim_check' }).open(TABLE, FIRST);
  await assert.rejects(nowhere, { kind: 'config_invalid' });
});

test('dead_letter: the record goes aside with its place and the reason, in the same write', async () => {
  const bench = outboxBench(LIMITS);
  const writing = await begin(bench.open({ oversizedOf: () => 'dead_letter' }), TABLE);
  write(writing, { after: ['1', 'small', '1'] });
  write(writing, { after: ['2', LARGE, '7'] });
  write(writing, { after: ['3', 'small', '1'] });
  await flush(writing);
  assert.deepEqual(bench.read(TOPIC).flat().map(idOf), [1, 3]);
  const found = bench.readUndecoded('test.varve.dead');
  const order = formatOrder({ ...TRANSACTION, ordinal: 1 });
  assert.deepEqual(
    found.map(({ key }) => key),
    [`${TOPIC}/0/${order}`],
  );
  assert.equal(found[0]?.headers['varve.reason'], 'record_too_large');
  assert.equal(bench.topic.writes.length, 1);
});
