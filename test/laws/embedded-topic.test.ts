// Owns what the embedded topic promises beyond the contract: one writer a directory, readers in other
// processes, bounded size with back-pressure, and what happens when the disk or the directory goes away.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { VarveError } from '../../src/errors.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { type EmbeddedPublisherOptions, openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { startTopicProcess } from '../support/topic-process.ts';
import { readAll, sliceOf } from '../support/topic-records.ts';

const KB20 = 'y'.repeat(20_000);
const KB100 = 'x'.repeat(100_000);

let home = '';
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'varve-embedded-'));
});
after(() => rm(home, { recursive: true, force: true }));

const openHere = (name: string, more: Partial<EmbeddedPublisherOptions> = {}) =>
  openEmbeddedPublisher({ path: join(home, name), now: Date.now, randomId: randomUUID, ...more });

test('a second writer is refused and told who holds the lock', async () => {
  const path = join(home, 'locked');
  const child = startTopicProcess(['hold', path, '60000']);
  await child.line();
  await assert.rejects(openHere('locked'), {
    kind: 'state_locked',
    facts: { path, pid: String(child.pid) },
  });
  child.kill();
  await child.rest();
  const publisher = await openHere('locked');
  await assert.rejects(openHere('locked'), {
    kind: 'state_locked',
    facts: { path, pid: String(process.pid) },
  });
  await publisher.close();
  await (await openHere('locked')).close();
  assert.deepEqual(
    (await readdir(path)).filter((name) => name.startsWith('lock.')),
    [],
  );
});

test('of writers that start at once, never two are in at a time', { timeout: 60_000 }, async () => {
  const path = join(home, 'race');
  const dead = startTopicProcess(['hold', path, '60000']);
  await dead.line();
  dead.kill();
  await dead.rest();
  const said = await Promise.all(
    Array.from({ length: 6 }, () => startTopicProcess(['hold', path, '150']).rest()),
  );
  const held = said
    .filter(([line]) => line?.startsWith('in '))
    .map((lines) => lines.map((line) => BigInt(line.split(' ')[1] ?? '')));
  assert.ok(held.length > 0, 'somebody got in');
  assert.ok(
    said.every(([line]) => /^(in|failed state_locked) /.test(line ?? '')),
    String(said),
  );
  held.sort(([a = 0n], [b = 0n]) => (a < b ? -1 : 1));
  for (const [at, [entered = 0n]] of held.entries()) {
    const [, left = 0n] = held[at - 1] ?? [];
    assert.ok(entered > left, 'two writers at a time');
  }
});

test('a path too long for a lock is refused with a sentence', async () => {
  await assert.rejects(openHere('long'.repeat(30)), { kind: 'config_invalid', message: /too long/ });
});

test('another process sees what is committed here, across segments', { timeout: 60_000 }, async () => {
  const publisher = await openHere('tailed', { retention: { bytes: 1 << 20 }, hold: () => false });
  await publisher.ensureTopic('a', { partitions: 1 });
  const child = startTopicProcess(['tail', join(home, 'tailed'), '40']);
  assert.equal(await child.line(), 'open');
  const values = Array.from({ length: 40 }, (_, at) => `${at}`.repeat(5000));
  for (const value of values) await publisher.write({ slices: [sliceOf('a', [value])], state: [] });
  assert.deepEqual(await child.rest(), values);
  await publisher.close();
});

test('when it is full, writes wait for the sink in order, and nothing unreleased is dropped', async () => {
  const full = Promise.withResolvers<VarveError>();
  const publisher = await openHere('full', { retention: { bytes: 1e6 }, onFull: full.resolve });
  await publisher.ensureTopic('a', { partitions: 1 });
  const writes = Array.from({ length: 30 }, async (_, n) => {
    await publisher.write({ slices: [sliceOf('a', [`${n} ${KB100}`])], state: [] });
    return n;
  });
  assert.equal((await full.promise).kind, 'topic_full');
  const feed = await openEmbeddedFeed({ path: join(home, 'full') });
  const seen: string[] = [];
  for (let from = 0n; from < 30n; ) {
    const { end, start } = await feed.ends('a', 0);
    assert.ok(start <= from, 'dropped before its release');
    // A write that came in between is read again from `end` on.
    const records = await readAll(feed, 'a', { from });
    for (const { value, offset } of records)
      if (BigInt(offset) < end) seen.push(value.split(' ')[0] as string);
    await feed.release('a', 0, end);
    from = end;
    await feed.changed(1000, new AbortController().signal);
  }
  assert.deepEqual(
    await Promise.all(writes),
    Array.from({ length: 30 }, (_, n) => n),
  );
  assert.deepEqual(
    seen,
    Array.from({ length: 30 }, (_, n) => `${n}`),
  );
  assert.ok((await sizeOf('full')) < 1.2e6);
  await feed.close();
  await publisher.close();
});

const sizeOf = async (name: string): Promise<number> => {
  let bytes = 0;
  for (const file of await readdir(join(home, name))) bytes += (await stat(join(home, name, file))).size;
  return bytes;
};

test('closing while it is full gives up what waits', async () => {
  let told = 0;
  const publisher = await openHere('given-up', { retention: { bytes: 3e5 }, onFull: () => told++ });
  await publisher.ensureTopic('a', { partitions: 1 });
  const writes = Array.from({ length: 5 }, () =>
    publisher.write({ slices: [sliceOf('a', [KB100])], state: [] }),
  );
  const outcomes = Promise.allSettled(writes);
  while (told === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await publisher.close();
  const kinds = (await outcomes).map((one) => (one.status === 'fulfilled' ? 'durable' : one.reason.kind));
  assert.deepEqual(kinds, ['durable', 'durable', 'topic_full', 'topic_full', 'topic_full']);
});

test('topics that no sink reads keep to the bounds without a release', async () => {
  const publisher = await openHere('unread', {
    retention: { bytes: 1e6 },
    hold: (topic) => topic === 'read',
  });
  await publisher.ensureTopic('read', { partitions: 1 });
  await publisher.ensureTopic('unread', { partitions: 1 });
  for (let n = 0; n < 40; n++)
    await publisher.write({ slices: [sliceOf('unread', [`${n} ${KB100}`])], state: [] });
  const feed = await openEmbeddedFeed({ path: join(home, 'unread') });
  const { start, end } = await feed.ends('unread', 0);
  assert.ok(end === 40n && start > 20n && start < 40n, `${start} to ${end}`);
  const offsets = (await readAll(feed, 'unread')).map(({ offset }) => BigInt(offset));
  assert.deepEqual(
    offsets,
    Array.from({ length: Number(end - start) }, (_, at) => start + BigInt(at)),
  );
  assert.ok((await sizeOf('unread')) < 1.2e6);
  await feed.close();
  await publisher.close();
});

const DAY_MS = 86_400_000;

/** What is left after `runs` processes, each of which writes one record on its day and ends at once. */
const leftOfRuns = async (name: string, runs: readonly number[]): Promise<bigint> => {
  for (const day of runs) {
    const publisher = await openHere(name, {
      retention: { ageMs: 7 * DAY_MS },
      now: () => day * DAY_MS,
      hold: () => false,
    });
    await publisher.ensureTopic('a', { partitions: 1 });
    await publisher.write({ slices: [sliceOf('a', [String(day)])], state: [] });
    await publisher.close();
  }
  const feed = await openEmbeddedFeed({ path: join(home, name) });
  const { start, end } = await feed.ends('a', 0);
  await feed.close();
  return end - start;
};

test('runs too short to come back to it drop what is too old, too', async () => {
  const runs = Array.from({ length: 30 }, (_, day) => 100 + day);
  const left = await leftOfRuns('short-runs', runs);
  assert.ok(left >= 7n && left <= 9n, `${left} records are left`);
});

test('a reader that retention overtakes is told offset_lost and nothing else', {
  timeout: 60_000,
}, async () => {
  const publisher = await openHere('overtaken', { retention: { bytes: 3e5 }, hold: () => false });
  await publisher.ensureTopic('a', { partitions: 1 });
  const feed = await openEmbeddedFeed({ path: join(home, 'overtaken') });
  let writing = true;
  const writes = (async () => {
    const state = [{ key: 'k', value: 'v' }];
    for (let n = 0; n < 100; n++) await publisher.write({ slices: [sliceOf('a', [KB20])], state });
    writing = false;
  })();
  const seen = new Set<string>();
  while (writing) {
    const { start } = await feed.ends('a', 0);
    try {
      // Another event loop's worth of writes may come in between.
      await Promise.all([
        readAll(feed, 'a', { from: start, maxBytes: 1 }),
        readAll(feed, 'a', { from: start }),
      ]);
      seen.add('read');
    } catch (error) {
      seen.add((error as VarveError).kind ?? error);
    }
  }
  await writes;
  assert.deepEqual(
    [...seen].filter((kind) => kind !== 'read' && kind !== 'offset_lost'),
    [],
  );
  await feed.close();
  await publisher.close();
});

test('one write larger than a segment, and one larger than the bound, go through whole', async () => {
  const publisher = await openHere('large', { retention: { bytes: 1e6 }, hold: () => false });
  await publisher.ensureTopic('a', { partitions: 1 });
  for (const kilobytes of [4, 30]) {
    const value = KB100.repeat(kilobytes);
    await publisher.write({
      slices: [sliceOf('a', [value])],
      state: [{ key: 'k', value: String(kilobytes) }],
    });
    const feed = await openEmbeddedFeed({ path: join(home, 'large') });
    assert.equal((await readAll(feed, 'a')).at(-1)?.value.length, value.length);
    await feed.close();
  }
  await publisher.close();
});

test('a full disk refuses the write and every later one, and nothing of them is there', {
  timeout: 60_000,
}, async () => {
  const path = join(home, 'disk');
  const said = await startTopicProcess(['fill', path], '2000').rest();
  assert.equal(said.at(-1)?.trim(), 'failed disk_full');
  const publisher = await openHere('disk');
  const { n } = JSON.parse(publisher.state().get('checkpoint') ?? '') as { n: number };
  assert.equal(String(n), said.at(-2));
  const feed = await openEmbeddedFeed({ path });
  assert.deepEqual(
    (await readAll(feed, 'a')).map(({ value }) => value),
    Array.from({ length: n + 1 }, (_, at) => String(at).repeat(50_000)),
  );
  await publisher.write({ slices: [sliceOf('a', ['after'])], state: [] });
  assert.equal((await readAll(feed, 'a')).at(-1)?.value, 'after');
  await feed.close();
  await publisher.close();
});

test('a directory deleted under writer and reader is noticed by both', async () => {
  const path = join(home, 'deleted');
  const publisher = await openHere('deleted');
  await publisher.ensureTopic('a', { partitions: 1 });
  const feed = await openEmbeddedFeed({ path });
  await rm(path, { recursive: true });
  const write = { slices: [sliceOf('a', ['x'])], state: [] };
  await assert.rejects(publisher.write(write), { kind: 'state_lost' });
  await assert.rejects(publisher.write(write), { kind: 'state_lost' });
  await assert.rejects(feed.read('a', 0, { from: 0n, maxBytes: 1 }), { kind: 'state_lost' });
  await publisher.close();
  await feed.close();
});

test('a reader notices that another topic stands in the place of its own', async () => {
  const path = join(home, 'replaced');
  await (await openHere('replaced')).close();
  await (await openHere('newcomer')).close();
  const feed = await openEmbeddedFeed({ path });
  await rm(path, { recursive: true });
  await rename(join(home, 'newcomer'), path);
  await assert.rejects(feed.topics(), { kind: 'topic_changed' });
  await feed.close();
});
