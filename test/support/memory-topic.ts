// Owns a topic in memory: the same promises as the real ones, for tests of what stands on them. It forgets
// with the process, so nothing here is durable but in name.
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { VarveError } from '../../src/errors.ts';
import type { Feed, FeedBatch, ReadRange, TopicEnds } from '../../src/topic/feed.ts';
import type { AtomicWrite, Publisher } from '../../src/topic/publisher.ts';
import { baseOffsetBytes, readBatchHeader } from '../../src/topic/record-batch-header.ts';

type Stored = { next: number; batch: Uint8Array };
type Topic = { id: string; start: number; end: number; released: number; batches: Stored[] };

export class MemoryTopic {
  readonly topics = new Map<string, Topic>();
  readonly state = new Map<string, string>();
  readonly schemas: string[] = [];
  /** Every write that was made durable, oldest first. */
  readonly writes: AtomicWrite[] = [];
  readonly bell = new EventEmitter().setMaxListeners(0);
  commits = 0;

  publisher(): Publisher {
    return new MemoryPublisher(this);
  }

  feed(): Feed {
    return new MemoryFeed(this);
  }

  topic(name: string, partition: number): Topic {
    const topic = this.topics.get(name);
    if (topic && partition === 0) return topic;
    throw new VarveError('usage', `There is no topic ${name} with partition ${partition}.`);
  }

  commit(): void {
    this.commits++;
    this.bell.emit('commit');
  }

  /** What retention would do in time: all that was released goes, in whole batches. */
  expire(): void {
    for (const topic of this.topics.values()) {
      while (topic.batches[0] && topic.batches[0].next <= topic.released) {
        topic.start = (topic.batches.shift() as Stored).next;
      }
    }
  }
}

class MemoryPublisher implements Publisher {
  readonly #store: MemoryTopic;
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(store: MemoryTopic) {
    this.#store = store;
  }

  state(): ReadonlyMap<string, string> {
    return this.#store.state;
  }

  async ensureTopic(name: string): Promise<number> {
    const fresh = { id: randomUUID(), start: 0, end: 0, released: 0, batches: [] };
    if (!this.#store.topics.has(name)) this.#store.topics.set(name, fresh);
    this.#store.commit();
    return 1;
  }

  async registerSchema(_subject: string, schema: string): Promise<number> {
    const known = this.#store.schemas.indexOf(schema);
    return known >= 0 ? known + 1 : this.#store.schemas.push(schema);
  }

  write(write: AtomicWrite): Promise<void> {
    const done = this.#last.then(async () => {
      await turn();
      this.#apply(write);
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  async recover(): Promise<void> {}

  async close(): Promise<void> {
    await this.#last;
    this.#closed = true;
  }

  #apply(write: AtomicWrite): void {
    if (this.#closed) throw new VarveError('usage', 'The publisher is closed.');
    for (const { topic, partition, batch, records } of write.slices) {
      this.#store.topic(topic, partition);
      if (readBatchHeader(batch).records !== records)
        throw new VarveError('record_corrupt', 'Not that many.');
    }
    for (const { topic, batch, records } of write.slices) {
      const into = this.#store.topic(topic, 0);
      const placed = batch.slice();
      placed.set(baseOffsetBytes(into.end));
      into.batches.push({ next: into.end + records, batch: placed });
      into.end += records;
    }
    for (const { key, value } of write.state) {
      if (value === null) this.#store.state.delete(key);
      else this.#store.state.set(key, value);
    }
    this.#store.writes.push(write);
    this.#store.commit();
  }
}

class MemoryFeed implements Feed {
  readonly #store: MemoryTopic;
  #seen: number;

  constructor(store: MemoryTopic) {
    this.#store = store;
    this.#seen = store.commits;
  }

  async topics(): Promise<readonly string[]> {
    return [...this.#store.topics.keys()].sort();
  }

  async partitions(topic: string): Promise<number> {
    this.#store.topic(topic, 0);
    return 1;
  }

  async read(topic: string, partition: number, { from, maxBytes }: ReadRange): Promise<FeedBatch> {
    const { start, end, batches } = this.#store.topic(topic, partition);
    if (from < start || from > end) throw new VarveError('offset_lost', `${topic} holds ${start} to ${end}.`);
    const found: Stored[] = [];
    let bytes = 0;
    for (const stored of batches) {
      if (stored.next <= from) continue;
      bytes += stored.batch.length;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(stored);
    }
    return {
      partition,
      batches: found.map(({ batch }) => batch),
      nextOffset: BigInt(found.at(-1)?.next ?? from),
    };
  }

  async ends(topic: string, partition: number): Promise<TopicEnds> {
    const { start, end } = this.#store.topic(topic, partition);
    return { start: BigInt(start), end: BigInt(end) };
  }

  async topicId(topic: string): Promise<string> {
    return this.#store.topic(topic, 0).id;
  }

  async schema(id: number): Promise<string> {
    const text = this.#store.schemas[id - 1];
    if (text === undefined) throw new VarveError('schema_unknown', `There is no schema ${id}.`);
    return text;
  }

  async state(): Promise<ReadonlyMap<string, string>> {
    return new Map(this.#store.state);
  }

  async changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    if (this.#seen === this.#store.commits) {
      await once(this.#store.bell, 'commit', { signal: either }).catch(() => undefined);
    }
    this.#seen = this.#store.commits;
  }

  async release(topic: string, partition: number, offset: bigint): Promise<void> {
    const known = this.#store.topic(topic, partition);
    if (offset > known.end) throw new VarveError('offset_lost', `${topic} ends at ${known.end}.`);
    known.released = Math.max(known.released, Number(offset));
  }

  async close(): Promise<void> {}
}
