// Owns the law that a write is whole or not there, wherever the writer dies: killed for real, and with the
// end of the log torn as a power failure tears it.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { seededRandom } from '../support/seeded.ts';
import { CRASH_RETENTION, crashValues, crashWrite } from '../support/topic-crash.ts';
import { startTopicProcess } from '../support/topic-process.ts';
import { readAll } from '../support/topic-records.ts';

const ROUNDS = 10;

const openHere = (path: string) =>
  openEmbeddedPublisher({
    path,
    now: Date.now,
    randomId: randomUUID,
    retention: CRASH_RETENTION,
    hold: () => false,
  });

/** The topic holds exactly the writes 0 to n, with n from its own checkpoint; returns n. */
const checkWhole = async (path: string): Promise<number> => {
  const publisher = await openHere(path);
  const { n } = JSON.parse(publisher.state().get('checkpoint') ?? '{"n":-1}') as { n: number };
  const feed = await openEmbeddedFeed({ path });
  const expected = new Map<string, string[]>([
    ['a', []],
    ['b', []],
  ]);
  for (let write = 0; write <= n; write++) {
    for (const [topic, values] of crashValues(write)) expected.get(topic)?.push(...values);
  }
  for (const topic of await feed.topics()) {
    const { start, end } = await feed.ends(topic, 0);
    const values = expected.get(topic) ?? [];
    assert.equal(end, BigInt(values.length), `end of ${topic} after write ${n}`);
    const records = await readAll(feed, topic);
    assert.deepEqual(records, values.map((value, offset) => ({ offset, value })).slice(Number(start)));
  }
  await feed.close();
  await publisher.close();
  return n;
};

/** Runs the writer until `acks` writes were confirmed and `afterMs` have passed; returns the last one. */
const runAndKill = async (
  path: string,
  { acks, afterMs }: { acks: number; afterMs: number },
): Promise<number> => {
  const writer = startTopicProcess(['write', path]);
  const said = [];
  while (said.length < acks) said.push(await writer.line());
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  writer.kill();
  said.push(...(await writer.rest()));
  for (const line of said) assert.match(line ?? 'the writer ended', /^\d+$/);
  return Number(said.at(-1));
};

test('a writer killed at any moment leaves whole writes, and none that it confirmed is missing', {
  timeout: 120_000,
}, async (t) => {
  const random = seededRandom((text) => t.diagnostic(text));
  const path = await mkdtemp(join(tmpdir(), 'varve-crash-'));
  for (let round = 0; round < ROUNDS; round++) {
    const acks = 1 + Math.floor(random() * 200);
    const confirmed = await runAndKill(path, { acks, afterMs: random() * 20 });
    const survived = await checkWhole(path);
    assert.ok(survived >= confirmed, `round ${round}: ${confirmed} was confirmed, ${survived} is there`);
  }
  assert.ok((await readdir(path)).includes('000000000001.segment') === false, 'no segment was ever dropped');
  await rm(path, { recursive: true });
});

test('a log torn anywhere behind the mark opens as the writes before the tear', {
  timeout: 60_000,
}, async (t) => {
  const random = seededRandom((text) => t.diagnostic(text));
  const path = await mkdtemp(join(tmpdir(), 'varve-torn-'));
  const publisher = await openHere(path);
  for (const topic of ['a', 'b']) await publisher.ensureTopic(topic, { partitions: 1 });
  for (let n = 0; n < 6; n++) await publisher.write(crashWrite(n));
  // The mark is not synced with every write, so after a power failure it may be an old one.
  const oldMark = await readFile(join(path, 'mark'));
  const log = join(path, '000000000001.segment');
  const marked = (await stat(log)).size;
  const ends = [];
  for (let n = 6; n < 14; n++) {
    await publisher.write(crashWrite(n));
    ends.push({ n, end: (await stat(log)).size });
  }
  const full = (await stat(log)).size;
  await publisher.close();
  const copy = `${path}-copy`;
  for (let run = 0; run < 60; run++) {
    await cp(path, copy, { recursive: true });
    await writeFile(join(copy, 'mark'), oldMark);
    const tear = marked + Math.floor(random() * (full - marked + 1));
    const torn = join(copy, '000000000001.segment');
    if (run % 2 === 0) await truncate(torn, tear);
    else {
      // A sector that never reached the disk reads as zeros.
      const bytes = await readFile(torn);
      bytes.fill(0, tear, Math.min(tear + 512, bytes.length));
      await writeFile(torn, bytes);
    }
    const whole = ends.filter(({ end }) => end <= tear).at(-1)?.n ?? 5;
    const survived = await checkWhole(copy);
    // Zeros over zeros are no tear.
    assert.ok(
      survived === whole || (run % 2 === 1 && survived > whole),
      `torn at ${tear}: ${survived}, not ${whole}`,
    );
    await rm(copy, { recursive: true });
  }
  await rm(path, { recursive: true });
});

test('a crash between a new segment and the mark that names it loses nothing', async () => {
  const path = await mkdtemp(join(tmpdir(), 'varve-roll-'));
  const publisher = await openHere(path);
  for (const topic of ['a', 'b']) await publisher.ensureTopic(topic, { partitions: 1 });
  let mark = await readFile(join(path, 'mark'));
  let n = 0;
  for (; !(await readdir(path)).includes('000000000002.segment'); n++) {
    mark = await readFile(join(path, 'mark'));
    await publisher.write(crashWrite(n));
  }
  await publisher.close();
  await writeFile(join(path, 'mark'), mark);
  assert.equal(await checkWhole(path), n - 1);
  await rm(path, { recursive: true });
});
