// Owns running the table half: one fold a topic, topics that appear later included; what comes right is tried
// again.
import type { VarveError } from './errors.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { retrying } from './retry.ts';
import { runFold } from './sinks/fold.ts';
import type { CommitReport, Sink } from './sinks/sink.ts';
import { readState, type SchemaRecord, STATE_KEYS } from './topic/state.ts';

/**
 * Aborting `finish` asks for everything up to the topics' ends as they are then, and for a return after that.
 */
type FoldHalf = { parts: PipelineParts; sink: Sink; finish: AbortSignal; tries: number };

const foldTopic = async (
  { parts, sink, finish, tries }: FoldHalf,
  topic: string,
  signal: AbortSignal,
): Promise<void> => {
  const { feed, config, progress, steadyMs, random } = parts;
  const table = config.table;
  const record = readState<SchemaRecord>(await feed.state(), STATE_KEYS.schema(topic, 1));
  if (table === undefined || record === null) return;
  const limits = {
    intervalMs: table.commit_interval_ms,
    rows: table.commit_rows,
    bytes: table.commit_mb << 20,
  };
  const [namespace, name] = record.table;
  let commits = 0;
  const once = async (): Promise<void> => {
    const opened = await sink.open(topic, { namespace, name });
    progress.recovered(topic);
    const fold = {
      feed,
      table: opened,
      topic,
      limits,
      nowMs: steadyMs,
      finish,
      onCommit: (report: CommitReport, offsets: ReadonlyMap<number, bigint>) => {
        commits++;
        progress.folded(topic, report, offsets);
      },
    };
    await runFold(fold, signal).finally(() => opened.close());
  };
  const onRetry = (error: VarveError, pauseMs: number): void => progress.retrying(topic, error, pauseMs);
  await retrying(once, { tries, progress: () => commits, onRetry, random }, signal);
};

/** Returns when `finish` is reached; fails with the first fold that fails for good. */
export const runFolds = async (half: FoldHalf, signal: AbortSignal): Promise<void> => {
  const { parts, finish } = half;
  const { feed } = parts;
  const running = new Map<string, Promise<void>>();
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  for (let last = false; !last && !either.aborted; ) {
    last = finish.aborted;
    for (const key of (await feed.state()).keys()) {
      const topic = key.startsWith('schema/') ? key.slice('schema/'.length, key.lastIndexOf('/')) : null;
      if (topic === null || running.has(topic)) continue;
      const run = foldTopic(half, topic, either);
      running.set(topic, run);
      run.catch(() => failed.abort());
    }
    if (!last) await feed.changed(1000, AbortSignal.any([either, finish]));
  }
  await Promise.all(running.values());
};
