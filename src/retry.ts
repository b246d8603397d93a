// Owns trying again what comes right by itself: growing pauses with jitter, and no end for a daemon.
import { setTimeout as sleep } from 'node:timers/promises';
import { asVarveError, type VarveError } from './errors.ts';

const BACKOFF_MS = { first: 500, most: 30_000 } as const;

type RetryOptions = {
  /** Tries without progress before giving up; infinite for a daemon. */
  tries: number;
  /** Anything that grows as work is done: progress starts the count of tries anew. */
  progress: () => number;
  onRetry: (error: VarveError, pauseMs: number) => void;
  random: () => number;
};

/** Runs until it resolves, is aborted, or fails with what no waiting mends. */
export const retrying = async (
  run: () => Promise<void>,
  { tries, progress, onRetry, random }: RetryOptions,
  signal: AbortSignal,
): Promise<void> => {
  for (let failed = 0; !signal.aborted; ) {
    const before = progress();
    try {
      await run();
      return;
    } catch (thrown) {
      const error = asVarveError(thrown);
      if (signal.aborted) return;
      failed = progress() > before ? 1 : failed + 1;
      if (error.outcome !== 'retry' || failed >= tries) throw error;
      const pauseMs = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (failed - 1)) * (0.5 + random() / 2);
      onRetry(error, pauseMs);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
};

/** A run that must end gives up on what stays away. */
export const TRIES_TO_END = 8;
