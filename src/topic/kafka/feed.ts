// Owns the Feed of Kafka: topics and partitions by name, read where their leaders are, with what no partition
// knows alone: the state that belongs to what was read, and being told of news. Knows no socket, no envelope,
// no consumer group; offsets are the caller's.
import { VarveError } from '../../errors.ts';
import type { Feed, FeedBatch, ReadRange, TopicEnds } from '../feed.ts';
import type { KafkaClient } from './client.ts';
import { PartitionLog, type Reading } from './partition-log.ts';
import { persist } from './patience.ts';
import { PinnedTopic, topicGone } from './pinned-topic.ts';
import { Poller } from './poller.ts';
import { StateFollower } from './state-follower.ts';
import { stateTopic } from './state-topic.ts';

type KafkaFeedOptions = {
  /** Stays the caller's: it is closed after the feed, by who opened it. */
  client: KafkaClient;
  prefix: string;
  /** Avro schema text of an id; throws `schema_unknown`. */
  schema: (id: number) => Promise<string>;
  patienceMs?: number;
  undecidedMs?: number;
};

/** Longer than a broker's restart; what takes longer is the caller's to try again. */
const PATIENCE_MS = 15_000;
const UNDECIDED_MS = 30_000;

/** Throws `state_lost` when nothing was ever published under this prefix, `topic_unreachable`. */
export const openKafkaFeed = async (options: KafkaFeedOptions): Promise<Feed> => {
  const { client, prefix, patienceMs = PATIENCE_MS, undecidedMs = UNDECIDED_MS } = options;
  const closing = new AbortController();
  const reading = { client, patienceMs, undecidedMs, closing: closing.signal };
  const topic = await PinnedTopic.pin(client, stateTopic(prefix));
  if (topic === null) {
    throw new VarveError(
      'state_lost',
      `Kafka has no topic ${prefix}.varve.state: nothing was published under ${prefix} yet, or it was ` +
        'deleted. Check the brokers and the prefix.',
      { facts: { prefix } },
    );
  }
  return new KafkaFeed(options, { reading, closing, state: new PartitionLog(topic, 0, reading) });
};

type FeedParts = { reading: Reading; closing: AbortController; state: PartitionLog };

class KafkaFeed implements Feed {
  readonly #prefix: string;
  readonly #schema: KafkaFeedOptions['schema'];
  readonly #reading: Reading;
  readonly #closing: AbortController;
  readonly #stateLog: PartitionLog;
  readonly #state: StateFollower;
  readonly #poller: Poller;
  readonly #topics = new Map<string, PinnedTopic>();
  readonly #logs = new Map<string, PartitionLog>();

  constructor({ prefix, schema }: KafkaFeedOptions, { reading, closing, state }: FeedParts) {
    this.#prefix = prefix;
    this.#schema = schema;
    this.#reading = reading;
    this.#closing = closing;
    this.#stateLog = state;
    this.#state = new StateFollower(state);
    const logs = (): Iterable<PartitionLog> => [state, ...this.#logs.values()];
    this.#poller = new Poller({ client: reading.client, logs, closing: closing.signal });
  }

  async topics(): Promise<readonly string[]> {
    const names = await this.#persist('list the topics', () => this.#reading.client.topics());
    const state = this.#stateLog.topic.name;
    return names.filter((name) => name.startsWith(`${this.#prefix}.`) && name !== state).sort();
  }

  async partitions(topic: string): Promise<number> {
    const pinned = await this.#topic(topic);
    await this.#persist(`describe ${topic}`, () => pinned.metadata());
    return pinned.partitions;
  }

  async read(topic: string, partition: number, range: ReadRange): Promise<FeedBatch> {
    const batch = await (await this.#log(topic, partition)).read(range);
    if (batch.batches.length > 0) this.#state.owe();
    return batch;
  }

  async ends(topic: string, partition: number): Promise<TopicEnds> {
    return (await this.#log(topic, partition)).ends();
  }

  async topicId(topic: string): Promise<string> {
    const pinned = await this.#topic(topic);
    await this.#persist(`describe ${topic}`, async () => {
      await pinned.refresh();
      await pinned.metadata();
    });
    return pinned.id;
  }

  schema(id: number): Promise<string> {
    return this.#schema(id);
  }

  state(): Promise<ReadonlyMap<string, string>> {
    return this.#state.read();
  }

  async changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    if (this.#logs.size === 0) await this.#followAll();
    await this.#poller.changed(timeoutMs, signal);
  }

  /** Kafka's own retention decides, so this only refuses what cannot be true. */
  async release(topic: string, partition: number, offset: bigint): Promise<void> {
    await (await this.#log(topic, partition)).mustHold(offset);
  }

  leave(topic: string): void {
    for (const [key, log] of this.#logs) if (log.topic.name === topic) this.#logs.delete(key);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#poller.settled();
  }

  /** Who has asked about nothing yet is told of everything. */
  async #followAll(): Promise<void> {
    await this.#stateLog.follow();
    for (const topic of await this.topics()) {
      const partitions = await this.partitions(topic);
      for (let at = 0; at < partitions; at++) await (await this.#log(topic, at)).follow();
    }
  }

  async #missing(name: string): Promise<VarveError> {
    const written = [...(await this.#state.read()).keys()].some((key) => key.startsWith(`schema/${name}/`));
    if (written) return topicGone(name);
    return new VarveError('usage', `Kafka has no topic ${name}.`, { facts: { topic: name } });
  }

  async #topic(name: string): Promise<PinnedTopic> {
    const known = this.#topics.get(name);
    if (known) return known;
    const pinned = await this.#persist(`describe ${name}`, () => PinnedTopic.pin(this.#reading.client, name));
    if (pinned === null) throw await this.#missing(name);
    const first = this.#topics.get(name) ?? pinned;
    this.#topics.set(name, first);
    return first;
  }

  async #log(name: string, partition: number): Promise<PartitionLog> {
    const key = `${partition} ${name}`;
    const known = this.#logs.get(key);
    if (known) return known;
    const topic = await this.#topic(name);
    if (partition < 0 || partition >= topic.partitions)
      throw new VarveError('usage', `${name} has no partition ${partition}.`, {
        facts: { topic: name, partition },
      });
    const log = this.#logs.get(key) ?? new PartitionLog(topic, partition, this.#reading);
    this.#logs.set(key, log);
    return log;
  }

  #persist<Value>(what: string, attempt: () => Promise<Value>): Promise<Value> {
    const { client, patienceMs: limitMs, closing } = this.#reading;
    return persist(attempt, { what, limitMs, refresh: () => client.refresh(), closing });
  }
}
