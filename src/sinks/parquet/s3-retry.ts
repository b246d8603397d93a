// Owns trying a request to an object store again: growing pauses with jitter, and an end. What has been tried
// for the whole budget is the daemon's to try again later, from the table's last commit.
import { setTimeout as sleep } from 'node:timers/promises';
import { S3Failure, s3Error } from './s3-failure.ts';

export type S3Patience = {
  /** From the first try on; no try begins after it. */
  budgetMs: number;
  /** Longest first pause; it doubles with each try, up to `mostMs`. */
  firstMs: number;
  mostMs: number;
};

export const PATIENCE: S3Patience = { budgetMs: 60_000, firstMs: 100, mostMs: 5_000 };

type Tries = { patience: S3Patience; steadyMs: () => number; random: () => number };

/** Throws the VarveError that `verb` and `uri` make of the last failure. */
export const tryAgain = async <Result>(
  [verb, uri]: readonly [verb: string, uri: string],
  work: () => Promise<Result>,
  { patience, steadyMs, random }: Tries,
): Promise<Result> => {
  const end = steadyMs() + patience.budgetMs;
  for (let failed = 0; ; failed++) {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof S3Failure)) throw thrown;
      const pauseMs = Math.min(patience.mostMs, patience.firstMs * 2 ** failed) * random();
      if (!thrown.isPassing || steadyMs() + pauseMs > end) throw s3Error(verb, uri, thrown);
      await sleep(pauseMs);
    }
  }
};
