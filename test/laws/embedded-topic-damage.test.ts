// Owns the law of damage: whatever byte of a topic directory changes, the answer is the same or an error,
// never another answer and never a fresh start; and what is refused is left as it was.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { VarveError } from '../../src/errors.ts';
import { crc32c } from '../../src/topic/crc32c.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { seededRandom } from '../support/seeded.ts';
import { readAll, sliceOf } from '../support/topic-records.ts';

const FLIPS = 250;

let home = '';
let path = '';
let files: Map<string, Buffer>;
let truth: unknown;

const openHere = (where: string) =>
  openEmbeddedPublisher({ path: where, now: Date.now, randomId: randomUUID, retention: { bytes: 1 << 16 } });

const answersOf = async (where: string): Promise<unknown> => {
  const feed = await openEmbeddedFeed({ path: where });
  try {
    const topics = await feed.topics();
    const schemas = [await feed.schema(1), await feed.schema(2)];
    const state = [...(await feed.state())].sort();
    const contents = [];
    for (const topic of topics) {
      contents.push([
        topic,
        await feed.topicId(topic),
        await feed.ends(topic, 0),
        await readAll(feed, topic),
      ]);
    }
    return { schemas, state, contents };
  } finally {
    await feed.close();
  }
};

const answers = async (where: string): Promise<unknown> => {
  const publisher = await openHere(where);
  try {
    const state = [...publisher.state()].sort();
    return { state, feed: await answersOf(where) };
  } finally {
    await publisher.close();
  }
};

const load = async (where: string): Promise<Map<string, Buffer>> => {
  const names = (await readdir(where)).filter((name) => !name.startsWith('lock.'));
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(where, name))] as const)),
  );
};

const restore = async (where: string, from: ReadonlyMap<string, Buffer>): Promise<void> => {
  await rm(where, { recursive: true, force: true });
  await mkdir(where);
  for (const [name, bytes] of from) await writeFile(join(where, name), bytes);
};

/**
 * The same answers, or an error with a sentence that names the place, from the feed and from the publisher.
 */
const checkDamaged = async (damaged: Map<string, Buffer>, what: string): Promise<'same' | string> => {
  const outcome = async (ask: (where: string) => Promise<unknown>, expected: unknown): Promise<string> => {
    await restore(path, damaged);
    try {
      assert.deepEqual(await ask(path), expected, `another answer after ${what}`);
      return 'same';
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      assert.ok(error.message.includes(path), `${error.kind} does not say where: ${error.message}`);
      if (error.kind === 'state_corrupt')
        assert.deepEqual(await load(path), damaged, `changed after ${what}`);
      return error.kind;
    }
  };
  const { feed } = truth as { feed: unknown };
  await outcome(answersOf, feed);
  return outcome(answers, truth);
};

before(async () => {
  home = await mkdtemp(join(tmpdir(), 'varve-damage-'));
  path = join(home, 'topic');
  const publisher = await openHere(path);
  for (const topic of ['a', 'b']) await publisher.ensureTopic(topic, { partitions: 1 });
  for (const text of ['"x"', '"y"']) await publisher.registerSchema('s', text);
  for (let n = 0; n < 40; n++) {
    const state = [
      { key: 'checkpoint', value: JSON.stringify({ v: 1, n }) },
      { key: `snapshot/${n % 5}`, value: n % 7 === 0 ? null : '{"done":true}' },
    ];
    await publisher.write({
      slices: [sliceOf('a', [`${n}`, `row ${n}`.repeat(20)]), sliceOf('b', ['x'])],
      state,
    });
  }
  await publisher.close();
  const feed = await openEmbeddedFeed({ path });
  await feed.release('a', 0, 3n);
  await feed.close();
  truth = await answers(path);
  files = await load(path);
  assert.ok(files.size > 4, 'several segments, the mark and what was released');
});

after(() => rm(home, { recursive: true, force: true }));

const damage = (name: string, change: (bytes: Buffer) => Buffer | null): Map<string, Buffer> => {
  const damaged = new Map(files);
  const changed = change(Buffer.from(files.get(name) as Buffer));
  if (changed === null) damaged.delete(name);
  else damaged.set(name, changed);
  return damaged;
};

test('any flipped bit gives the same answer or an error', { timeout: 120_000 }, async (t) => {
  const random = seededRandom((text) => t.diagnostic(text));
  const below = (bound: number): number => Math.floor(random() * bound);
  const seen = new Map<string, number>();
  const names = [...files.keys()];
  for (let flip = 0; flip < FLIPS; flip++) {
    const name = names[flip % names.length] as string;
    const at = below((files.get(name) as Buffer).length);
    const bit = 1 << below(8);
    const flipped = damage(name, (bytes) => {
      bytes[at] = (bytes[at] as number) ^ bit;
      return bytes;
    });
    const outcome = await checkDamaged(flipped, `bit ${bit} of byte ${at} of ${name} was flipped`);
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  t.diagnostic(JSON.stringify([...seen]));
  assert.ok((seen.get('state_corrupt') ?? 0) > 0 && (seen.get('record_corrupt') ?? 0) > 0);
});

test('any file cut short, emptied or longer is refused', { timeout: 60_000 }, async () => {
  for (const [name, bytes] of files) {
    for (const length of [0, 1, 20, Math.floor(bytes.length / 2), bytes.length - 1]) {
      const outcome = await checkDamaged(
        damage(name, (whole) => whole.subarray(0, length)),
        `${name} has ${length} bytes`,
      );
      assert.equal(outcome, 'state_corrupt', `${name} cut to ${length} of ${bytes.length}`);
    }
    // Zeros behind the last segment are what a power failure leaves; everywhere else they are damage.
    const longer = await checkDamaged(
      damage(name, (whole) => Buffer.concat([whole, Buffer.alloc(9)])),
      `${name} grew`,
    );
    const isLast = name === [...files.keys()].filter((file) => file.endsWith('.segment')).at(-1);
    assert.equal(longer, isLast ? 'same' : 'state_corrupt', `${name} grew`);
  }
});

test('a missing file is refused, but for the release, without which nothing is dropped', {
  timeout: 60_000,
}, async () => {
  for (const name of files.keys()) {
    const outcome = await checkDamaged(
      damage(name, () => null),
      `${name} is missing`,
    );
    assert.equal(outcome, name === 'released' ? 'same' : 'state_corrupt', name);
  }
});

test('a segment of another topic, or in another place, is refused', async () => {
  const other = join(home, 'other');
  const publisher = await openHere(other);
  await publisher.close();
  const foreign = (await load(other)).get('000000000001.segment') as Buffer;
  const [first = '', second = ''] = [...files.keys()].filter((name) => name.endsWith('.segment'));
  const swapped = new Map(files);
  swapped.set(first, files.get(second) as Buffer).set(second, files.get(first) as Buffer);
  assert.equal(await checkDamaged(swapped, 'two segments were swapped'), 'state_corrupt');
  for (const name of [first, second]) {
    assert.equal(
      await checkDamaged(
        damage(name, () => foreign),
        `${name} is foreign`,
      ),
      'state_corrupt',
    );
  }
});

test('a directory with other content is refused and left alone', async () => {
  const other = join(home, 'documents');
  await mkdir(other);
  await writeFile(join(other, 'thesis.txt'), 'years of work');
  await assert.rejects(openHere(other), { kind: 'state_foreign' });
  assert.deepEqual([...(await load(other))], [['thesis.txt', Buffer.from('years of work')]]);
  await assert.rejects(openEmbeddedFeed({ path: other }), { kind: 'state_lost' });
  await assert.rejects(openEmbeddedFeed({ path: join(home, 'nowhere') }), { kind: 'state_lost' });
  await assert.rejects(openHere(join(other, 'thesis.txt', 'topic')), { kind: 'disk_failed' });
});

test('a layout from the future is refused by its number', async () => {
  const text = (files.get('mark') as Buffer).toString('latin1').trimEnd().slice(9).replace('"v":1', '"v":2');
  const sum = crc32c(Buffer.from(text)).toString(16).padStart(8, '0');
  await restore(
    path,
    damage('mark', () => Buffer.from(`${`${sum} ${text}`.padEnd(255)}\n`)),
  );
  await assert.rejects(openHere(path), { kind: 'state_newer', message: /layout 2/ });
  await assert.rejects(openEmbeddedFeed({ path }), { kind: 'state_newer' });
});

test('a copy of the directory is the same topic', async () => {
  await restore(path, files);
  const copy = join(home, 'copy');
  await cp(path, copy, { recursive: true });
  assert.deepEqual(await answers(copy), truth);
});
