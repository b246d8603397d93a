// Owns the Publisher of Kafka: the queue of atomic writes, one transaction for those that wait, and when one
// is durable: when every partition it touched shows it, because an acknowledged commit may still be lost.
// Knows no envelope and no source.
//   write -> [add partitions, produce, end] -> every read_committed end has passed it -> resolves
import { asVarveError, VarveError } from '../../errors.ts';
import type { AtomicWrite, EnsuredTopic, Publisher, Slice, TopicSettings } from '../publisher.ts';
import { readBatchHeader } from '../record-batch-header.ts';
import { refuseHanging } from './guard.ts';
import { KafkaProducer, type Written } from './producer.ts';
import { StateFollower } from './state-follower.ts';
import { LAST_TRANSACTION, printPlaces, stateBatches, stateTopic, transactionalId } from './state-topic.ts';
import { TableTopics, type TopicPlan } from './table-topics.ts';
import { takeOver } from './takeover.ts';
import { commitTransaction } from './transaction.ts';
import { untilVisible } from './visible.ts';

export type KafkaPublisherOptions = TopicPlan & {
  delivery: 'exactly_once' | 'at_least_once';
  registry: { register(subject: string, schemaText: string): Promise<number> };
  transactionTimeoutMs: number;
  /** For leaders and coordinators to answer; below `transactionTimeoutMs`. */
  patienceMs?: number;
  /** Milliseconds since 1970-01-01 UTC. */
  now: () => number;
};

/** Writes that wait go together, up to this; a larger one goes alone. */
const GROUP_BYTES = 16 << 20;
const PATIENCE_MS = 20_000;

type Pending = AtomicWrite & { bytes: number; resolve: () => void; reject: (error: unknown) => void };

/**
 * Reads the state and becomes nobody: the first `recover` takes the prefix over. Throws `topic_unfit`,
 * `topic_unreachable`, `topic_denied`, `state_corrupt`.
 */
export const openKafkaPublisher = async (options: KafkaPublisherOptions): Promise<Publisher> => {
  const topics = new TableTopics(options);
  await topics.ensureState();
  const closing = new AbortController();
  const { client, prefix, patienceMs = PATIENCE_MS } = options;
  const reading = { client, patienceMs, undecidedMs: patienceMs, closing: closing.signal };
  const follower = await StateFollower.open(prefix, reading);
  return new KafkaPublisher(options, { topics, follower, closing, state: await follower.read() });
};

type Parts = {
  topics: TableTopics;
  follower: StateFollower;
  closing: AbortController;
  state: ReadonlyMap<string, string>;
};

class KafkaPublisher implements Publisher {
  readonly #options: KafkaPublisherOptions;
  readonly #topics: TableTopics;
  readonly #follower: StateFollower;
  readonly #closing: AbortController;
  readonly #producer: KafkaProducer;
  #state: Map<string, string>;
  #isWriter = false;
  #isClosed = false;
  #failed: unknown = null;
  /** Something was committed and did not become visible: nothing behind it counts as durable. */
  #hidden = false;
  #transactions = 0;
  readonly #queue: Pending[] = [];
  /** Writes are looked at in the order of the calls. */
  #entering: Promise<unknown> = Promise.resolve();
  #running: Promise<void> | null = null;
  /** What is committed becomes visible, and resolves, in order. */
  #showing: Promise<void> = Promise.resolve();

  constructor(options: KafkaPublisherOptions, { topics, follower, closing, state }: Parts) {
    const { client, prefix, delivery, transactionTimeoutMs, patienceMs = PATIENCE_MS } = options;
    this.#options = options;
    this.#topics = topics;
    this.#follower = follower;
    this.#closing = closing;
    this.#state = new Map(state);
    this.#producer = new KafkaProducer({
      client,
      transactionalId: delivery === 'exactly_once' ? transactionalId(prefix) : null,
      transactionTimeoutMs,
      patienceMs,
      closing: closing.signal,
    });
  }

  state(): ReadonlyMap<string, string> {
    return this.#state;
  }

  ensureTopic(name: string, settings: TopicSettings): Promise<EnsuredTopic> {
    return this.#topics.ensure(name, settings);
  }

  registerSchema(subject: string, schema: string): Promise<number> {
    return this.#options.registry.register(subject, schema);
  }

  write(write: AtomicWrite): Promise<void> {
    if (this.#isClosed) return Promise.reject(closed());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const enter = async (): Promise<void> => {
      this.#refuseUnlessWriting();
      await this.#checkSlices(write.slices);
      // Meanwhile one before it may have failed.
      this.#refuseUnlessWriting();
      const bytes = write.slices.reduce((sum, { batch }) => sum + batch.length, 0);
      this.#queue.push({ ...write, bytes, resolve, reject });
      this.#running ??= this.#run();
    };
    this.#entering = this.#entering.then(enter).catch(reject);
    return promise;
  }

  async recover(): Promise<void> {
    if (this.#isClosed) throw closed();
    if (this.#isWriter && this.#failed === null) return;
    const { client, delivery } = this.#options;
    await this.#settled();
    // Whatever is still on its way there must not arrive after the new epoch.
    if (this.#failed !== null) {
      client.drop();
      this.#topics.forget();
    }
    await takeOver(this.#producer, client, this.#options.prefix);
    const look = async (topics: readonly string[]): Promise<void> => {
      if (delivery === 'exactly_once') await refuseHanging(client, topics, this.#closing.signal);
    };
    await look([stateTopic(this.#options.prefix)]);
    this.#follower.owe();
    this.#state = new Map(await this.#follower.read());
    // The state, as it is by now, names all tables.
    await look(this.#tableTopics());
    this.#failed = null;
    this.#hidden = false;
    this.#isWriter = true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#settled();
    this.#closing.abort();
  }

  /** All writes that were called have an outcome. */
  async #settled(): Promise<void> {
    await this.#entering;
    await this.#running;
    await this.#showing;
  }

  #refuseUnlessWriting(): void {
    if (!this.#isWriter) throw new VarveError('usage', 'The publisher has not taken over its topics yet.');
    if (this.#failed !== null) throw this.#failed;
  }

  /** What the caller did wrong leaves no trace; anything else leaves a hole, which nothing may follow. */
  async #checkSlices(slices: readonly Slice[]): Promise<void> {
    try {
      for (const slice of slices) await this.#checkSlice(slice);
    } catch (thrown) {
      if (!['usage', 'record_corrupt'].includes(asVarveError(thrown).kind)) this.#fail(thrown, []);
      throw thrown;
    }
  }

  async #checkSlice({ topic, partition, batch, records }: Slice): Promise<void> {
    const facts = { topic, partition };
    if (partition >= (await this.#topics.partitions(topic)))
      throw new VarveError(
        'usage',
        `There is no topic ${topic} with partition ${partition}; create it first.`,
        {
          facts,
        },
      );
    const header = readBatchHeader(batch);
    if (header.records === records && header.lastOffset - header.baseOffset === records - 1) return;
    throw new VarveError(
      'record_corrupt',
      `A batch for ${topic} holds ${header.records} records, not the ${records} it was handed over with.`,
      { facts },
    );
  }

  /** Never throws: every failure is the callers'. */
  async #run(): Promise<void> {
    let group: Pending[] = [];
    try {
      while (this.#queue.length > 0 && this.#failed === null) {
        group = this.#takeGroup();
        this.#show(group, await this.#commit(group));
        group = [];
      }
    } catch (thrown) {
      this.#fail(thrown, group);
    } finally {
      this.#running = null;
    }
  }

  /** Nobody else writes them. */
  #tableTopics(): string[] {
    const schemas = [...this.#state.keys()].filter((key) => key.startsWith('schema/'));
    return [...new Set(schemas.map((key) => key.slice('schema/'.length, key.lastIndexOf('/'))))];
  }

  #fail(thrown: unknown, group: readonly Pending[]): void {
    this.#failed ??= thrown;
    for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(thrown);
  }

  #takeGroup(): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += pending.bytes;
      if (count > 0 && bytes > GROUP_BYTES) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #commit(group: readonly Pending[]): Promise<Written[]> {
    const slices = group.flatMap((one) => one.slices);
    const state = group.flatMap((one) => one.state);
    return this.#options.delivery === 'exactly_once'
      ? this.#commitAtOnce(slices, state)
      : this.#commitInOrder(slices, state);
  }

  async #commitAtOnce(slices: readonly Slice[], state: AtomicWrite['state']): Promise<Written[]> {
    const batches = this.#producer.sequence(slices);
    const last = { key: LAST_TRANSACTION, value: printPlaces(++this.#transactions, batches) };
    const stateful = this.#producer.sequence(this.#stateSlices([...state, last]));
    return commitTransaction(this.#producer, this.#options.client, {
      batches: [...batches, ...stateful],
      beforeEnd: () => this.#refuseAfterHidden(),
    });
  }

  /**
   * A commit that the brokers acknowledged and lost would be taken along in part by the next one of the same
   * producer, so that one waits for it.
   */
  async #refuseAfterHidden(): Promise<void> {
    await this.#showing;
    if (this.#hidden) throw this.#failed;
  }

  /** Without transactions: what a record needs before it, and what says that it is done after it. */
  async #commitInOrder(slices: readonly Slice[], state: AtomicWrite['state']): Promise<Written[]> {
    const before = state.filter(({ key }) => key.startsWith('schema/'));
    const after = state.filter(({ key }) => !key.startsWith('schema/'));
    for (const step of [this.#stateSlices(before), slices, this.#stateSlices(after)])
      await this.#producer.produce(this.#producer.sequence(step));
    return [];
  }

  #stateSlices(records: AtomicWrite['state']): Slice[] {
    const { prefix, now } = this.#options;
    return stateBatches(records, now()).map((one) => ({ topic: stateTopic(prefix), partition: 0, ...one }));
  }

  /** Meanwhile the next transaction is under way. */
  #show(group: readonly Pending[], written: readonly Written[]): void {
    const { client, patienceMs: limitMs = PATIENCE_MS } = this.#options;
    const shown = untilVisible(client, written, { limitMs, closing: this.#closing.signal });
    shown.catch(() => undefined);
    this.#showing = this.#showing
      .then(() => shown)
      .then(() => {
        if (this.#hidden) throw this.#failed;
        for (const { state, resolve } of group) {
          for (const { key, value } of state) {
            if (value === null) this.#state.delete(key);
            else this.#state.set(key, value);
          }
          resolve();
        }
      })
      .catch((thrown: unknown) => {
        this.#hidden = true;
        this.#fail(thrown, group);
      });
  }
}

const closed = (): VarveError => new VarveError('usage', 'The publisher is closed.');
