// The embedded topic after a write that the disk refused: until it is recovered everything is refused, then
// it goes on from what was durable, without a gap, and readers see no difference.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { limitProcess } from '../support/limits.ts';
import { recordsOf, sliceOf } from '../support/topic-records.ts';

test('after a write that failed it refuses, and recovers to what is durable', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'varve-recover-')), 'topic');
  const publisher = await openEmbeddedPublisher({ path, now: Date.now, randomId: randomUUID });
  await publisher.ensureTopic('a', { partitions: 1 });
  const write = (text: string): Promise<void> =>
    publisher.write({
      slices: [sliceOf('a', [text])],
      state: [{ key: 'last', value: `"${text.slice(0, 6)}"` }],
    });
  await write('first');
  const feed = await openEmbeddedFeed({ path });
  await publisher.recover();
  const schemaId = await publisher.registerSchema('a', '"string"');
  await limitProcess(process.pid, 'fsize', 50_000);
  try {
    const large = 'large '.repeat(20_000);
    const refused = { kind: 'disk_full' };
    const [one, two] = [write(large), write('behind it')];
    await assert.rejects(one, refused);
    await assert.rejects(two, refused);
    await assert.rejects(write('later'), refused);
    await assert.rejects(publisher.ensureTopic('b', { partitions: 1 }), refused);
  } finally {
    await limitProcess(process.pid, 'fsize', 'unlimited');
  }
  await assert.rejects(write('still'), { kind: 'disk_full' });
  await publisher.recover();
  assert.equal(publisher.state().get('last'), '"first"');
  await publisher.ensureTopic('b', { partitions: 1 });
  assert.equal(await publisher.registerSchema('a', '"string"'), schemaId);
  await write('second');
  const { batches, nextOffset } = await feed.read('a', 0, { from: 0n, maxBytes: 1 << 20 });
  assert.deepEqual(
    recordsOf(batches, 0n).map(({ value }) => value),
    ['first', 'second'],
  );
  assert.equal(nextOffset, 2n);
  assert.deepEqual(await feed.topics(), ['a', 'b']);
  await feed.close();
  await publisher.close();
  await rm(join(path, '..'), { recursive: true });
});
