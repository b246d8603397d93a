// Owns one topic as it was first seen: its id and its number of partitions are pinned, so that a topic made
// again is noticed before an offset of the old one is used, and partitions added before keys go to them that
// nobody reads. Knows no offset and no record.
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../errors.ts';
import type { KafkaClient, TopicMetadata } from './client.ts';

/** Where to ask about a partition. The epoch makes a broker refuse that is no longer its leader. */
export type Place = { node: number; leaderEpoch: number };

/** A broker may hear of a topic later than its leader does; what is absent for longer is not there. */
const SPREAD_MS = { limit: 500, pause: 50 } as const;
const GONE_AFTER_MS = 3000;

export class PinnedTopic {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  readonly #client: KafkaClient;
  #absentSinceMs: number | null = null;

  private constructor(client: KafkaClient, { name, id, partitions }: TopicMetadata) {
    this.#client = client;
    this.partitions = partitions.length;
    this.name = name;
    this.id = id;
  }

  /** Null when there is no such topic. */
  static async pin(client: KafkaClient, name: string): Promise<PinnedTopic | null> {
    const until = performance.now() + SPREAD_MS.limit;
    for (;;) {
      const found = await client.topic(name);
      if (found !== null) return new PinnedTopic(client, found);
      if (performance.now() >= until) return null;
      await sleep(SPREAD_MS.pause);
      await client.refresh([name]);
    }
  }

  /**
   * Throws `topic_changed` when the topic was made again, has other partitions, or is gone for good;
   * `topic_busy` while it may be that the broker does not know it yet.
   */
  async metadata(): Promise<TopicMetadata> {
    const found = await this.#client.topic(this.name);
    const { name: topic, id: before } = this;
    if (found === null) {
      this.#absentSinceMs ??= performance.now();
      if (performance.now() - this.#absentSinceMs < GONE_AFTER_MS)
        throw new VarveError('topic_busy', `The brokers do not know ${topic} now.`, { facts: { topic } });
      throw changed('deleted', { topic, before, now: null });
    }
    this.#absentSinceMs = null;
    if (found.id !== before) throw changed('deleted and made again', { topic, before, now: found.id });
    if (found.partitions.length !== this.partitions) throw resized(topic, this.partitions, found);
    return found;
  }

  /** Asks the brokers first. */
  async refresh(): Promise<void> {
    await this.#client.refresh([this.name]);
  }

  async leader(partition: number): Promise<Place> {
    const { leader: node, leaderEpoch } = (await this.metadata()).partitions[partition] ?? {
      leader: -1,
      leaderEpoch: -1,
    };
    if (node >= 0) return { node, leaderEpoch };
    const { name: topic } = this;
    throw new VarveError('topic_busy', `Partition ${partition} of ${topic} has no leader now.`, {
      facts: { topic, partition },
    });
  }
}

/** Written once, and not there any more. */
export const topicGone = (topic: string): VarveError =>
  changed('deleted', { topic, before: null, now: null });

const changed = (
  how: string,
  facts: { topic: string; before: string | null; now: string | null },
): VarveError =>
  new VarveError(
    'topic_changed',
    `${facts.topic} was ${how} ; offsets of the one before mean nothing now. Make sure ` +
      'that nobody deletes topics of a pipeline, then move its table away and let it be built anew.',
    { facts },
  );

const resized = (topic: string, before: number, { partitions: { length: now } }: TopicMetadata): VarveError =>
  new VarveError(
    'topic_changed',
    `${topic} had ${before} partitions and has ${now} now, so that keys change their partition and lose ` +
      'their order. Make the topic again with the number that it should have, and snapshot its table again.',
    { facts: { topic, before, now } },
  );
