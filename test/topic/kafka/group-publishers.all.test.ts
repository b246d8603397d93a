// That several workers write to one prefix without harm: dead letters go beside the one that captures, and
// who was fenced can take over again, when asked once more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeDeadLetters } from '../../../src/topic/dead-letters.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { readValues, sliceOf } from '../../support/topic-records.ts';

const limits = { timeout: 60_000 };

test('dead letters of a worker that does not capture do not fence the one that does', limits, async () => {
  await using bench = await kafkaBench();
  const publisher = await bench.openPublisher();
  const a = bench.topic('a');
  await publisher.ensureTopic(a, { partitions: 1 });
  await publisher.write({ slices: [sliceOf(a, ['x'])], state: [] });
  const graveyard = await bench.peek({ delivery: 'at_least_once' });
  await graveyard.recover();
  const value = new TextEncoder().encode('bad');
  const dead = [{ partition: 0, offset: 7n, key: null, value, reason: 'no schema' }];
  const burying = { graveyard, prefix: bench.prefix, nowMs: Date.now };
  await writeDeadLetters(burying, a, dead);
  await publisher.write({ slices: [sliceOf(a, ['y'])], state: [] });
  await writeDeadLetters(burying, a, dead);
  const feed = await bench.openFeed();
  assert.deepEqual(await readValues(feed, `${bench.prefix}.varve.dead`), ['bad', 'bad']);
  assert.deepEqual(await readValues(feed, a), ['x', 'y']);
  await feed.close();
  await graveyard.close();
  await publisher.close();
});

test('who was fenced is told so once, and takes over when it is asked again', limits, async () => {
  await using bench = await kafkaBench();
  const first = await bench.openPublisher();
  const a = bench.topic('a');
  await first.ensureTopic(a, { partitions: 1 });
  const write = (publisher: typeof first, value: string): Promise<void> =>
    publisher.write({ slices: [sliceOf(a, [value])], state: [{ key: 'k', value }] });
  await write(first, 'first');
  const second = await bench.openPublisher();
  await second.ensureTopic(a, { partitions: 1 });
  await write(second, 'second');
  await assert.rejects(write(first, 'zombie'), { kind: 'topic_busy' });
  await assert.rejects(first.recover(), { kind: 'fenced' });
  await write(second, 'still second');
  await first.recover();
  assert.equal(first.state().get('k'), 'still second');
  await write(first, 'first again');
  await assert.rejects(write(second, 'zombie'), { kind: 'topic_busy' });
  const feed = await bench.openFeed();
  assert.deepEqual(await readValues(feed, a), ['first', 'second', 'still second', 'first again']);
  await feed.close();
  await second.close();
  await first.close();
});

test('what arrived for a topic that was left holds nobody up, and it can be read again', limits, async () => {
  await using bench = await kafkaBench();
  const publisher = await bench.openPublisher();
  const [a, b] = [bench.topic('a'), bench.topic('b')];
  const never = new AbortController().signal;
  for (const topic of [a, b]) await publisher.ensureTopic(topic, { partitions: 1 });
  const feed = await bench.openFeed();
  assert.deepEqual([await readValues(feed, a), await readValues(feed, b)], [[], []]);
  await publisher.write({ slices: [sliceOf(a, ['x'])], state: [] });
  await feed.changed(5000, never);
  feed.leave(a);
  // Nobody asks for news of the topic, so only the other one's end the waiting.
  await feed.changed(100, never);
  const news = feed.changed(30_000, never);
  await publisher.write({ slices: [sliceOf(b, ['y'])], state: [] });
  await news;
  assert.deepEqual([await readValues(feed, a), await readValues(feed, b)], [['x'], ['y']]);
  await feed.close();
  await publisher.close();
});
