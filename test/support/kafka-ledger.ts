// Owns a ledger that a publisher writes while its line or its brokers fail: numbered atomic writes over some
// topics, each with the checkpoint that covers it. After every recovery, and at the end, a read_committed
// reader must find each topic as the checkpoint says: all up to it, once, in order, and nothing beyond.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../src/errors.ts';
import type { Feed } from '../../src/topic/feed.ts';
import { abortHanging } from '../../src/topic/kafka/hanging.ts';
import type { AtomicWrite, Publisher } from '../../src/topic/publisher.ts';
import type { KafkaBench } from './kafka-bench.ts';
import { readAll, sliceOf } from './topic-records.ts';

const TOPICS = 3;
const IN_FLIGHT = 2;
/** A broker that was killed is back well before. */
const RECOVER_MS = 60_000;

/** Of write `n` in topic `at`; some writes leave a topic out. */
const valuesOf = (n: number, at: number): string[] =>
  (n + at) % 3 === 0 ? [] : Array.from({ length: 1 + ((n * 7 + at) % 5) }, (_, part) => `${n}.${part}`);

export type LedgerReport = {
  writes: number;
  failures: number;
  /** Of failed writes: how many turned out to be published, and not. */
  published: number;
  lost: number;
  repaired: number;
};

/** Of tests that the ledger notices: what becomes of write `n`. */
type Spoil = (write: AtomicWrite, n: number) => AtomicWrite;

type LedgerParts = { publisher: Publisher; feed: Feed; spoil: Spoil };

export class Ledger {
  readonly topics: readonly string[];
  readonly report: LedgerReport = { writes: 0, failures: 0, published: 0, lost: 0, repaired: 0 };
  readonly #bench: KafkaBench;
  readonly #publisher: Publisher;
  readonly #feed: Feed;
  readonly #spoil: Spoil;
  readonly #read: { next: bigint; values: string[] }[];
  #durable = 0;
  #attempted = 0;

  private constructor(bench: KafkaBench, { publisher, feed, spoil }: LedgerParts) {
    this.#bench = bench;
    this.#spoil = spoil;
    this.#publisher = publisher;
    this.#feed = feed;
    this.topics = Array.from({ length: TOPICS }, (_, at) => bench.topic(`t${at}`));
    this.#read = this.topics.map(() => ({ next: 0n, values: [] }));
  }

  static async open(bench: KafkaBench, spoil: Spoil = (write) => write): Promise<Ledger> {
    const publisher = await bench.openPublisher();
    const ledger = new Ledger(bench, { publisher, feed: await bench.openFeed(), spoil });
    for (const topic of ledger.topics) await publisher.ensureTopic(topic, { partitions: 1 });
    const state = ledger.topics.map((topic) => ({ key: `schema/${topic}/1`, value: '{"v":1}' }));
    await publisher.write({ slices: [], state });
    return ledger;
  }

  /** Writes on, and recovers, until it is over. */
  async writeUntil(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const failed = await this.#writeOn(isOver);
      if (failed) await this.#recover();
    }
  }

  /** Compares what is read with what the checkpoint says. */
  async check(): Promise<void> {
    const checkpoint = this.#checkpoint();
    assert.ok(checkpoint >= this.#durable, `${checkpoint} is before ${this.#durable}, which was durable`);
    for (const [at, topic] of this.topics.entries()) {
      const read = this.#read[at];
      assert.ok(read);
      // What is decided by now; the publisher has waited for it.
      await this.#feed.ends(topic, 0);
      for (const { offset, value } of await readAll(this.#feed, topic, { from: read.next })) {
        read.values.push(value);
        read.next = BigInt(offset) + 1n;
      }
      const expected = Array.from({ length: checkpoint }, (_, n) => valuesOf(n + 1, at)).flat();
      assert.deepEqual(read.values, expected, `${topic} up to write ${checkpoint}`);
    }
  }

  /** All that a reader must have found, by topic. */
  expected(): string[][] {
    return this.#read.map(({ values }) => values);
  }

  async close(): Promise<void> {
    await this.#publisher.close();
    await this.#feed.close();
  }

  #checkpoint(): number {
    return Number(this.#publisher.state().get('checkpoint') ?? 0);
  }

  #write(n: number): Promise<void> {
    const slices = this.topics.flatMap((topic, at) => {
      const values = valuesOf(n, at);
      return values.length === 0 ? [] : [sliceOf(topic, values)];
    });
    this.report.writes++;
    const write = { slices, state: [{ key: 'checkpoint', value: String(n) }] };
    return this.#publisher.write(this.#spoil(write, n));
  }

  /** True when a write failed; all have an outcome then. */
  async #writeOn(isOver: () => boolean): Promise<boolean> {
    const inFlight: Promise<boolean>[] = [];
    for (;;) {
      while (inFlight.length < IN_FLIGHT && !isOver()) {
        const n = ++this.#attempted;
        const written = this.#write(n).then(
          () => {
            assert.equal(n, this.#durable + 1, 'in the order of the calls');
            this.#durable = n;
            return true;
          },
          (thrown: unknown) => {
            assert.ok(thrown instanceof VarveError && thrown.outcome === 'retry', String(thrown));
            return false;
          },
        );
        inFlight.push(written);
      }
      const oldest = inFlight.shift();
      if (oldest === undefined) return false;
      if (await oldest) continue;
      assert.ok(
        (await Promise.all(inFlight)).every((isDurable) => !isDurable),
        'durable behind a failure',
      );
      this.report.failures++;
      return true;
    }
  }

  async #recover(): Promise<void> {
    const until = performance.now() + RECOVER_MS;
    for (;;) {
      try {
        await this.#publisher.recover();
        break;
      } catch (thrown) {
        if (!(thrown instanceof VarveError) || performance.now() > until) throw thrown;
        if (thrown.kind === 'hanging_transaction') await this.#repair();
        else if (thrown.outcome !== 'retry') throw thrown;
        await sleep(20);
      }
    }
    const checkpoint = this.#checkpoint();
    assert.ok(checkpoint <= this.#attempted, `${checkpoint} is behind ${this.#attempted}, the last one`);
    if (checkpoint > this.#durable) this.report.published++;
    else this.report.lost++;
    await this.check();
    this.#durable = this.#attempted = checkpoint;
  }

  async #repair(): Promise<void> {
    const { client, prefix } = this.#bench;
    await abortHanging({ client, prefix, topics: this.topics });
    this.report.repaired++;
  }
}
