// Owns trying again what comes right by itself while a cluster moves: a leader that changed, a broker that
// restarts, an end that a new leader does not know yet. Knows no request.
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../errors.ts';
import { mayRepeat } from './errors.ts';

const PAUSE_MS = { first: 5, most: 500 } as const;

type Patience = {
  /** For the operator: what was being done, as in "read partition 3 of shop.public.t". */
  what: string;
  limitMs: number;
  /** Asks for leaders again; its failure is the next attempt's. */
  refresh: () => Promise<void>;
  /** Ends the waiting: whoever owns the connection is closing it. */
  closing: AbortSignal;
  /** Before the second attempt, from where the pauses grow, and where they stop growing. */
  pauseMs?: { first: number; most: number };
};

/**
 * The attempt's result. Failures that may pass are tried again, with growing pauses, until
 * `limitMs` is over: then `topic_unreachable`, with the last one as its cause. Others are thrown at once.
 */
export const persist = async <Value>(
  attempt: () => Promise<Value>,
  { what, limitMs, refresh, closing, pauseMs: pauses = PAUSE_MS }: Patience,
): Promise<Value> => {
  const until = performance.now() + limitMs;
  for (let pauseMs = pauses.first; ; pauseMs = Math.min(pauseMs * 2, pauses.most)) {
    try {
      return await attempt();
    } catch (thrown) {
      if (!mayRepeat(thrown)) throw thrown;
      if (performance.now() >= until || closing.aborted) throw overdue(what, limitMs, thrown);
    }
    await sleep(pauseMs, undefined, { signal: closing }).catch(() => undefined);
    await refresh().catch(() => undefined);
  }
};

type Looks = Pick<Patience, 'limitMs' | 'closing'> & { pauseMs: { first: number; most: number } };

/** Looks with growing pauses; false: it was not so within `limitMs`, or the owner is closing. */
export const comesTrue = async (
  isSo: () => Promise<boolean>,
  { limitMs, closing, pauseMs: pauses }: Looks,
): Promise<boolean> => {
  const until = performance.now() + limitMs;
  for (let pauseMs = pauses.first; !(await isSo()); pauseMs = Math.min(pauseMs * 2, pauses.most)) {
    if (performance.now() >= until || closing.aborted) return false;
    await sleep(pauseMs, undefined, { signal: closing }).catch(() => undefined);
  }
  return true;
};

const overdue = (what: string, limitMs: number, cause: VarveError): VarveError =>
  new VarveError(
    'topic_unreachable',
    `Could not ${what} within ${limitMs} ms. The last answer was: ${cause.message}`,
    { facts: { ...cause.facts, limitMs }, cause },
  );
