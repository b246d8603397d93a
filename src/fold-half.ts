// Owns running the table half: one fold a topic, topics that appear later included.
import type { PipelineParts } from './pipeline-parts.ts';
import type { Progress } from './progress.ts';
import { runFold } from './sinks/fold.ts';
import type { Sink } from './sinks/sink.ts';
import { readState, type SchemaRecord, STATE_KEYS } from './topic/state.ts';

/** One fold a topic that has a schema; topics that appear later are picked up. Returns when `finish` is reached. */
export const runFolds = async (
  parts: PipelineParts,
  sink: Sink,
  finish: AbortSignal,
  signal: AbortSignal,
): Promise<void> => {
  const { feed, config, progress, nowMs } = parts;
  const table = config.table;
  if (table === undefined) return;
  const limits = {
    intervalMs: table.commit_interval_ms,
    rows: table.commit_rows,
    bytes: table.commit_mb << 20,
  };
  const running = new Map<string, Promise<void>>();
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const fold = async (topic: string, { table: [namespace, name] }: SchemaRecord): Promise<void> => {
    const opened = await sink.open(topic, { namespace, name });
    const onCommit = (report: Parameters<Progress['folded']>[1]): void => progress.folded(topic, report);
    await runFold({ feed, table: opened, topic, limits, nowMs, finish, onCommit }, either);
    await opened.close();
  };
  for (let last = false; !last && !either.aborted; ) {
    last = finish.aborted;
    const state = await feed.state();
    for (const key of state.keys()) {
      const topic = key.startsWith('schema/') ? key.slice('schema/'.length, key.lastIndexOf('/')) : null;
      if (topic === null || running.has(topic)) continue;
      const record = readState<SchemaRecord>(state, STATE_KEYS.schema(topic, 1));
      if (record === null) continue;
      const run = fold(topic, record);
      running.set(topic, run);
      run.catch(() => failed.abort());
    }
    if (!last) await feed.changed(1000, AbortSignal.any([either, finish]));
  }
  await Promise.all(running.values());
};
