// Owns looking up from a log on which nothing comes: an empty chunk now and then. Knows no event.
import { setTimeout as pause } from 'node:timers/promises';
import type { LogChunk } from './log-reader.ts';

const NOTHING: LogChunk<never> = { next: () => null, behind: false };

/** The chunks as they come, and an empty one each time none came for `everyMs`. */
export async function* withTicks<Table>(
  chunks: AsyncIterable<LogChunk<Table>>,
  everyMs: number,
): AsyncGenerator<LogChunk<Table>> {
  const iterator = chunks[Symbol.asyncIterator]();
  let next = iterator.next();
  let isWaiting = true;
  try {
    for (;;) {
      const timer = new AbortController();
      const tick = pause(everyMs, null, { signal: timer.signal }).catch(() => null);
      const got = await Promise.race([next, tick]);
      timer.abort();
      if (got === null) {
        yield NOTHING;
        continue;
      }
      isWaiting = false;
      if (got.done === true) return;
      yield got.value;
      next = iterator.next();
      isWaiting = true;
    }
  } finally {
    // A log that is silent would not answer: who opened it closes it.
    next.catch(() => undefined);
    const ended = iterator.return?.();
    if (!isWaiting) await ended;
  }
}
