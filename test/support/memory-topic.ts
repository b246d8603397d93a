// Owns a topic in memory: the same promises as the real ones, for tests of what stands on them. It forgets
// with the process, so nothing here is durable but in name.
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { VarveError } from '../../src/errors.ts';
import type { Feed, FeedBatch, ReadRange, TopicEnds } from '../../src/topic/feed.ts';
import type { AtomicWrite, EnsuredTopic, Publisher, TopicSettings } from '../../src/topic/publisher.ts';
import { baseOffsetBytes, readBatchHeader } from '../../src/topic/record-batch-header.ts';

type Stored = { next: number; batch: Uint8Array };
type Partition = { start: number; end: number; released: number; batches: Stored[] };
type Topic = { id: string; partitions: Partition[] };
type Limits = Omit<EnsuredTopic, 'partitions' | 'id'>;

const NO_LIMITS: Limits = { maxRecordBytes: 1 << 27, batchBytes: 1 << 30 };

export class MemoryTopic {
  readonly topics = new Map<string, Topic>();
  readonly state = new Map<string, string>();
  readonly schemas: string[] = [];
  /** Every write that was made durable, oldest first. */
  readonly writes: AtomicWrite[] = [];
  readonly bell = new EventEmitter().setMaxListeners(0);
  readonly limits: Limits;
  commits = 0;

  constructor(limits: Limits = NO_LIMITS) {
    this.limits = limits;
  }

  publisher(): Publisher {
    return new MemoryPublisher(this);
  }

  feed(): Feed {
    return new MemoryFeed(this);
  }

  topic(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic) return topic;
    throw new VarveError('usage', `There is no topic ${name}.`);
  }

  partition(name: string, partition: number): Partition {
    const found = this.topics.get(name)?.partitions[partition];
    if (found) return found;
    throw new VarveError('usage', `There is no topic ${name} with partition ${partition}.`);
  }

  commit(): void {
    this.commits++;
    this.bell.emit('commit');
  }

  /** What retention would do in time: all that was released goes, in whole batches. */
  expire(): void {
    for (const partition of [...this.topics.values()].flatMap(({ partitions }) => partitions)) {
      while (partition.batches[0] && partition.batches[0].next <= partition.released) {
        partition.start = (partition.batches.shift() as Stored).next;
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

  async ensureTopic(name: string, settings: TopicSettings): Promise<EnsuredTopic> {
    const { topics, limits } = this.#store;
    const fresh = (): Partition => ({ start: 0, end: 0, released: 0, batches: [] });
    const made = { id: randomUUID(), partitions: Array.from({ length: settings.partitions }, fresh) };
    if (!topics.has(name)) topics.set(name, made);
    this.#store.commit();
    return { ...limits, id: null, partitions: this.#store.topic(name).partitions.length };
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
      this.#store.partition(topic, partition);
      if (readBatchHeader(batch).records !== records)
        throw new VarveError('record_corrupt', 'Not that many.');
    }
    for (const { topic, partition, batch, records } of write.slices) {
      const into = this.#store.partition(topic, partition);
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
    return this.#store.topic(topic).partitions.length;
  }

  async read(topic: string, partition: number, { from, maxBytes }: ReadRange): Promise<FeedBatch> {
    const { start, end, batches } = this.#store.partition(topic, partition);
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
    const { start, end } = this.#store.partition(topic, partition);
    return { start: BigInt(start), end: BigInt(end) };
  }

  async topicId(topic: string): Promise<string> {
    return this.#store.topic(topic).id;
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
    const known = this.#store.partition(topic, partition);
    if (offset > known.end) throw new VarveError('offset_lost', `${topic} ends at ${known.end}.`);
    known.released = Math.max(known.released, Number(offset));
  }

  leave(): void {}

  async close(): Promise<void> {}
}
