// Owns running the table half: one fold a topic, topics that appear later included; what comes right is tried
// again. Where several processes run one pipeline, only this one's share: what is lost stops, what is gained
// starts from the table's own offsets.
import { tableChoices } from './config-table.ts';
import type { VarveError } from './errors.ts';
import { foldUnlessPaused } from './fold-pause.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { FOLLOWING, SHARING } from './progress.ts';
import { retrying } from './retry.ts';
import { runFold } from './sinks/fold.ts';
import type { CommitReport, OpenedTable, Sink } from './sinks/sink.ts';
import { readState, type SchemaRecord, STATE_KEYS } from './topic/state.ts';
import type { JoinWorkers, Workers } from './workers.ts';

/**
 * Aborting `finish` asks for everything up to the topics' ends as they are then, and for a return after that.
 * Without `join` all topics are this process's.
 */
type FoldHalf = {
  parts: PipelineParts;
  sink: Sink;
  finish: AbortSignal;
  tries: number;
  join: JoinWorkers | null;
};

const WAIT_MS = 1000;

const foldTopic = async (
  { parts, sink, finish, tries }: FoldHalf,
  topic: string,
  signal: AbortSignal,
): Promise<void> => {
  const { feed, config, progress, steadyMs, random } = parts;
  if (config.table === undefined) return;
  const { table } = config;
  let commits = 0;
  const once = async (): Promise<void> => {
    const record = readState<SchemaRecord>(await feed.state(), STATE_KEYS.schema(topic, 1));
    if (record === null) return;
    const [namespace, name] = record.table;
    const choices = tableChoices(table, record.table);
    const limits = {
      intervalMs: choices.commit_interval_ms,
      rows: choices.commit_rows,
      bytes: choices.commit_bytes,
    };
    if (record.key.length === 0 && choices.mode !== 'append') progress.keyless(topic);
    const fold = {
      feed,
      topic,
      limits,
      consistent: choices.consistent,
      nowMs: steadyMs,
      finish,
      onCommit: (report: CommitReport, offsets: ReadonlyMap<number, bigint>) => {
        commits++;
        progress.folded(topic, report, offsets);
      },
    };
    const pausable = {
      open: async () => {
        const opened = await sink.open(topic, { namespace, name });
        progress.recovered(topic);
        return opened;
      },
      fold: (opened: OpenedTable, until: AbortSignal) => runFold({ ...fold, table: opened }, until),
      onPaused: (isPaused: boolean) => progress.paused(topic, isPaused),
      finish,
    };
    await foldUnlessPaused(pausable, signal);
  };
  const onRetry = (error: VarveError, pauseMs: number): void => progress.retrying(topic, error, pauseMs);
  await retrying(once, { tries, progress: () => commits, onRetry, random }, signal);
};

const tableTopics = (state: ReadonlyMap<string, string>): string[] => {
  const keys = [...state.keys()].filter((key) => key.startsWith('schema/'));
  return [...new Set(keys.map((key) => key.slice('schema/'.length, key.lastIndexOf('/'))))];
};

class Folds {
  readonly #half: FoldHalf;
  readonly #signal: AbortSignal;
  readonly #failed = new AbortController();
  /** Grows whenever it is seen what there is to fold. */
  #looks = 0;
  readonly #running = new Map<string, { stop: AbortController; done: Promise<void> }>();

  constructor(half: FoldHalf, signal: AbortSignal) {
    this.#half = half;
    this.#signal = AbortSignal.any([signal, this.#failed.signal]);
  }

  /** Starts and stops until exactly these run; one that is still stopping starts again later. */
  #run(share: ReadonlySet<string>): void {
    for (const [topic, { stop }] of this.#running) if (!share.has(topic)) stop.abort();
    for (const topic of share) if (!this.#running.has(topic)) this.#start(topic);
    this.#half.parts.progress.sharing(share.size);
  }

  #start(topic: string): void {
    const stop = new AbortController();
    const done = this.#fold(topic, stop.signal);
    this.#running.set(topic, { stop, done });
    done.catch(() => this.#failed.abort());
  }

  async #fold(topic: string, stop: AbortSignal): Promise<void> {
    const { feed, progress } = this.#half.parts;
    await foldTopic(this.#half, topic, AbortSignal.any([this.#signal, stop]));
    if (!stop.aborted) return;
    // What was read and not committed is read again by whoever has it now.
    feed.leave(topic);
    progress.handedOver(topic);
    this.#running.delete(topic);
  }

  /** Until there may be topics to start or to stop. */
  async #wait(workers: Workers | null): Promise<void> {
    const { parts, finish } = this.#half;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#signal, finish, over.signal]);
    const news = [workers?.changed(WAIT_MS, signal)].filter((one) => one !== undefined);
    // Who folds nothing would be told of every topic.
    if (workers === null || this.#running.size > 0) news.push(parts.feed.changed(WAIT_MS, signal));
    await Promise.race(news).finally(() => over.abort());
  }

  /** Keeps what runs equal to the share until `finish`. */
  async #follow(workers: Workers | null): Promise<void> {
    const { parts, finish } = this.#half;
    for (let last = false; !last && !this.#signal.aborted; ) {
      last = finish.aborted;
      const topics = tableTopics(await parts.feed.state());
      workers?.offer(topics);
      const share = workers?.share();
      this.#run(new Set(share ? topics.filter((topic) => share.has(topic)) : topics));
      this.#looks++;
      parts.progress.recovered(FOLLOWING);
      if (!last) await this.#wait(workers);
    }
  }

  async follow(): Promise<void> {
    const { parts, tries, join } = this.#half;
    const { progress, random, feed } = parts;
    const onRetry = (error: VarveError, pauseMs: number): void =>
      progress.retrying(FOLLOWING, error, pauseMs);
    const onStanding = (trouble: VarveError | null): void =>
      trouble === null ? progress.recovered(SHARING) : progress.retrying(SHARING, trouble, 0);
    let workers: Workers | null = null;
    const once = async (): Promise<void> => {
      if (join !== null) workers ??= await join(tableTopics(await feed.state()), onStanding);
      await this.#follow(workers);
    };
    try {
      await retrying(once, { tries, progress: () => this.#looks, onRetry, random }, this.#signal);
      await Promise.all([...this.#running.values()].map(({ done }) => done));
    } finally {
      await (workers as Workers | null)?.close();
    }
  }
}

/** Returns when `finish` is reached; fails with the first fold that fails for good. */
export const runFolds = (half: FoldHalf, signal: AbortSignal): Promise<void> =>
  new Folds(half, signal).follow();
