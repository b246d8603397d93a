// The page: source log -> topic, and topic -> table. Nothing else joins the two halves, and they meet only in
// the topic.
//
//   source log --[capture]--> topic --[fold]--> table
//        ^ confirm: durable     | offsets: in the table's own commit
import { runCapture } from './capture-half.ts';
import { asVarveError } from './errors.ts';
import { runFolds } from './fold-half.ts';
import type { PipelineParts, RunOptions } from './pipeline-parts.ts';
import { TRIES_TO_END } from './retry.ts';

/**
 * Runs both halves until aborted (then everything read is made durable), caught up, or failed. Throws a
 * VarveError.
 */
export const runPipeline = async (
  parts: PipelineParts,
  options: RunOptions,
  signal: AbortSignal,
): Promise<void> => {
  // A daemon waits for a disk that is full; a run that must end does not.
  const tries = options.untilCaughtUp ? TRIES_TO_END : Number.POSITIVE_INFINITY;
  // And it waits for nobody else's share of the tables.
  const join = options.untilCaughtUp ? null : parts.joinWorkers;
  const captured = new AbortController();
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const halves = [
    runCapture(parts, options, either).then(() => captured.abort()),
    parts.sink === null
      ? Promise.resolve()
      : runFolds({ parts, sink: parts.sink, finish: captured.signal, tries, join }, failed.signal),
  ];
  for (const half of halves) half.catch(() => failed.abort());
  const wrong = (await Promise.allSettled(halves)).find((result) => result.status === 'rejected');
  if (wrong) throw asVarveError(wrong.reason);
};
