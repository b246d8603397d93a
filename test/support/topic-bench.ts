// Owns what the contract suites of Publisher and Feed run on: one topic storage that can be opened again and
// again.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import type { Feed } from '../../src/topic/feed.ts';
import type { Publisher } from '../../src/topic/publisher.ts';
import { MemoryTopic } from './memory-topic.ts';

export type TopicBench = {
  /** The full name of a topic that belongs to this bench alone. */
  topic(name: string): string;
  /** One at a time: close the one before. */
  openPublisher(): Promise<Publisher>;
  /** Needs a publisher to have been opened once. */
  openFeed(): Promise<Feed>;
  /** Makes retention take all that it may take; nothing of what was not released. */
  expire(publisher: Publisher): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type MakeBench = () => Promise<TopicBench>;

const ownTopic = (name: string): string => `p.${name}`;

export const memoryBench: MakeBench = async () => {
  const store = new MemoryTopic();
  return {
    topic: ownTopic,
    openPublisher: async () => store.publisher(),
    openFeed: async () => store.feed(),
    expire: async () => store.expire(),
    [Symbol.asyncDispose]: async () => undefined,
  };
};

export const embeddedBench: MakeBench = async () => {
  const path = await mkdtemp(join(tmpdir(), 'varve-topic-'));
  let later = 0;
  const now = () => Date.now() + later;
  return {
    topic: ownTopic,
    openPublisher: () => openEmbeddedPublisher({ path, now, randomId: randomUUID }),
    openFeed: () => openEmbeddedFeed({ path }),
    expire: async (publisher) => {
      // The first step seals the segment, the second one finds it old.
      for (let step = 0; step < 2; step++) {
        later += 8 * 86_400_000;
        await publisher.write({ slices: [], state: [{ key: 'clock', value: String(later) }] });
      }
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
};
