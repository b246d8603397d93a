// Owns running the capture half: a source opened, begun, streamed; what comes right by itself is tried again.
import { setTimeout as sleep } from 'node:timers/promises';
import { begin, identityRecord } from './begin.ts';
import { beginOptions } from './begin-options.ts';
import { Capture } from './capture/capture.ts';
import type { ResumePoint } from './change/event.ts';
import type { Source } from './connector.ts';
import { asVarveError, type VarveError } from './errors.ts';
import type { PipelineParts, RunOptions } from './pipeline-parts.ts';
import { CAPTURE } from './progress.ts';
import { retrying, TRIES_TO_END } from './retry.ts';
import { printState } from './topic/state.ts';
import { becomeWriter, goOnWithParked } from './topic-writer.ts';

const REMEMBER_MS = 60_000;
const MEASURE_MS = 5000;
/** Between looks at whether the worker that captures is still there. */
const STAND_BY_MS = 5000;

/** A failure here is no news: what keeps the source from answering ends the log as well. */
const rememberSource = async ({ config, kind, publisher }: PipelineParts, source: Source): Promise<void> => {
  const records = await identityRecord({ name: config.name, kind, source }).catch(() => ({}));
  const state = Object.entries(records).map(([key, body]) => ({ key, value: printState(body) }));
  if (state.length > 0) await publisher.write({ slices: [], state }).catch(() => undefined);
};

/** For people; what the source does not answer, the log tells soon enough. */
const measureBehind = async ({ progress }: PipelineParts, source: Source): Promise<void> => {
  const end = await source.end().catch(() => null);
  if (end !== null && progress.resume !== null) progress.behind(source.distance(progress.resume, end));
};

const captureOnce = async (parts: PipelineParts, options: RunOptions, signal: AbortSignal): Promise<void> => {
  const source = await parts.source();
  try {
    await becomeWriter(parts, source);
    await parts.onWriter?.();
    await goOnWithParked(parts);
    const end: ResumePoint | null = options.untilCaughtUp ? await source.end() : null;
    const beginning = beginOptions(parts, source, options.tables ?? []);
    const { checkpoint, epoch } = await begin(beginning, signal);
    if (options.beginOnly === true || signal.aborted) return;
    parts.progress.step('streaming');
    const until = end === null ? {} : { until: (resume: ResumePoint) => source.covers(resume, end) };
    const { outbox, selection } = beginning;
    const shared = beginning.capture(checkpoint, epoch);
    const remembering = setInterval(() => void rememberSource(parts, source), REMEMBER_MS);
    const measuring = setInterval(() => void measureBehind(parts, source), MEASURE_MS);
    try {
      await new Capture({ ...shared, ...until, outbox, epoch, from: checkpoint, selection }).run(signal);
    } finally {
      clearInterval(remembering);
      clearInterval(measuring);
      await shared.reader.close();
    }
  } finally {
    await source.close();
  }
};

/**
 * As `captureOnce`, but that somebody else is at it is no failure: this one is needed when that one ends. Who
 * was at it and has been replaced ends instead, as `fenced`: what else it believes of itself may be as old.
 */
const captureInTurn = async (
  parts: PipelineParts,
  options: RunOptions,
  signal: AbortSignal,
): Promise<void> => {
  for (let told = ''; !signal.aborted; ) {
    try {
      return await captureOnce(parts, options, signal);
    } catch (thrown) {
      const error = asVarveError(thrown);
      if (error.kind !== 'log_busy') throw error;
      parts.onStandBy?.();
      if (error.message !== told) parts.progress.retrying(CAPTURE, error, STAND_BY_MS);
      told = error.message;
    }
    await sleep(STAND_BY_MS * (0.5 + parts.random() / 2), undefined, { signal }).catch(() => undefined);
  }
};

/** Captures until aborted or caught up; what comes right by itself is tried again. */
export const runCapture = (parts: PipelineParts, options: RunOptions, signal: AbortSignal): Promise<void> => {
  const { progress, random } = parts;
  const tries = options.untilCaughtUp ? TRIES_TO_END : Number.POSITIVE_INFINITY;
  const onRetry = (error: VarveError, pauseMs: number): void => progress.retrying(CAPTURE, error, pauseMs);
  const retry = { tries, progress: () => progress.durableCheckpoints, onRetry, random };
  const capture = parts.joinWorkers === null || options.untilCaughtUp ? captureOnce : captureInTurn;
  return retrying(() => capture(parts, options, signal), retry, signal);
};
