// Owns being told of news: questions that wait at the brokers until something is committed where readers have
// come to the end. What arrives is kept for the next read, within a bound. Knows no record and no state.
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaClient } from './client.ts';
import { FETCH, type FetchPosition, readFetch, writeFetch } from './fetch.ts';
import type { PartitionLog } from './partition-log.ts';

type PollerOptions = { client: KafkaClient; logs: () => Iterable<PartitionLog>; closing: AbortSignal };

type Waiting = { log: PartitionLog; node: number; position: FetchPosition };

/** Short, because a partition that comes to its end meanwhile joins the next question only. */
const MAX_WAIT_MS = 200;
/** Two a broker, so that those who come to the end later need not wait for the first one's answer. */
const LANES = ['poll-1', 'poll-2'] as const;
const PARTITION_BYTES = 1 << 20;
/** A broker sends at least one batch, so this may be exceeded by one batch a lane. */
const KEPT_BYTES = 16 << 20;
/**
 * A caller may have come after another one was told of what it waits for, so it is told again while that is
 * not read: after this, then ever later, because whoever should read it may be at work.
 */
const UNREAD_MS = 20;
/** After a refusal, and after a broker that did not wait although it had nothing: its end lags behind. */
const AFTER_FAULT_MS = 100;
/** A partition may get a leader, and nobody says so. */
const RECHECK_MS = 1000;

export class Poller {
  readonly #options: PollerOptions;
  readonly #polls = new Map<string, Promise<void>>();
  readonly #waiters = new Set<() => void>();
  #news = 0;
  #keptAtMs = 0;
  #ended = 0;
  #told = 0;

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  /** As `Feed.changed`; all who wait at the same time are told. */
  async changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const told = this.#told;
    const sinceMs = performance.now();
    const unreadMs = Math.max(UNREAD_MS, sinceMs - this.#keptAtMs);
    const until = sinceMs + (this.#keptBytes() > 0 ? Math.min(timeoutMs, unreadMs) : timeoutMs);
    const { closing } = this.#options;
    while (this.#news === told && !signal.aborted && !closing.aborted && performance.now() < until) {
      const ended = this.#ended;
      await this.#start();
      // An answer that came meanwhile has found nobody waiting.
      if (this.#news !== told || this.#ended !== ended) continue;
      await this.#stirred(Math.min(RECHECK_MS, until - performance.now()), signal);
    }
    this.#told = this.#news;
  }

  /** Resolves when no question is under way; the client must be closing, or it takes a moment. */
  async settled(): Promise<void> {
    this.#stir();
    await Promise.all(this.#polls.values());
  }

  #keptBytes(): number {
    let bytes = 0;
    for (const { keptBytes } of this.#options.logs()) bytes += keptBytes;
    return bytes;
  }

  /** Asks every broker that leads a partition which nobody asks about yet. */
  async #start(): Promise<void> {
    const room = KEPT_BYTES - this.#keptBytes();
    if (room <= 0) return;
    for (const [node, waiting] of Map.groupBy(await this.#waiting(), ({ node: at }) => at)) {
      const lane = LANES.find((name) => !this.#polls.has(`${node} ${name}`));
      const fresh = waiting.filter(({ log }) => !log.isPolled);
      if (lane === undefined || fresh.length === 0) continue;
      for (const { log } of fresh) log.isPolled = true;
      const key = `${node} ${lane}`;
      const poll = this.#poll(node, lane, { waiting: fresh, maxBytes: room }).finally(() => {
        for (const { log } of fresh) log.isPolled = false;
        this.#polls.delete(key);
        this.#ended++;
        this.#stir();
      });
      this.#polls.set(key, poll);
    }
  }

  async #waiting(): Promise<Waiting[]> {
    const found: Waiting[] = [];
    for (const log of this.#options.logs()) {
      // Without a leader there is nobody to ask; the next read says so with patience.
      const place = await log.waiting(PARTITION_BYTES).catch(() => null);
      if (place !== null) found.push({ log, ...place });
    }
    return found;
  }

  async #poll(
    node: number,
    lane: string,
    { waiting, maxBytes }: { waiting: readonly Waiting[]; maxBytes: number },
  ): Promise<void> {
    const { client, closing } = this.#options;
    const [news, sinceMs] = [this.#news, performance.now()];
    try {
      const positions = waiting.map(({ position }) => position);
      const limits = { maxWaitMs: MAX_WAIT_MS, maxBytes };
      const body = await client.request(node, { ...FETCH, lane }, (out) =>
        writeFetch(out, positions, limits),
      );
      const { partitions } = readFetch(body);
      for (const fetched of partitions) {
        const { topicId, partition } = fetched;
        const asker = waiting.find(
          ({ position }) => position.topicId === topicId && position.partition === partition,
        );
        if (!asker?.log.keep(asker.position.from, fetched)) continue;
        this.#news++;
        this.#keptAtMs = performance.now();
      }
      const isEarly = this.#news === news && performance.now() - sinceMs < MAX_WAIT_MS / 2;
      if (!isEarly && partitions.every(({ error }) => error === 0)) return;
    } catch {
      // Whoever is told reads, and meets the fault with its own patience.
      this.#news++;
    }
    await sleep(AFTER_FAULT_MS, undefined, { signal: closing }).catch(() => undefined);
    await client.refresh().catch(() => undefined);
  }

  #stir(): void {
    const woken = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of woken) wake();
  }

  #stirred(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, timeoutMs));
      this.#waiters.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
