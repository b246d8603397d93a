// Owns the writes of the crash loop: write `n` is a function of n, so that the survivor knows what has to be
// there.
import type { AtomicWrite } from '../../src/topic/publisher.ts';
import { sliceOf } from './topic-records.ts';

/** Small, so that segments are begun and dropped many times in a run. */
export const CRASH_RETENTION = { bytes: 2 << 20 };

/** Values of write `n` by topic: 0 to 4 slices, some of them larger than a page. */
export const crashValues = (n: number): (readonly [topic: string, values: string[]])[] =>
  Array.from({ length: n % 5 }, (_, slice) => {
    const topic = (n + slice) % 3 === 0 ? 'b' : 'a';
    const values = Array.from({ length: 1 + ((n * 7 + slice) % 4) }, (_, at) => `${n}/${slice}/${at}`);
    if (n % 11 === 0) values.push('x'.repeat(30_000 + n));
    return [topic, values] as const;
  });

export const crashWrite = (n: number): AtomicWrite => ({
  slices: crashValues(n).map(([topic, values]) => sliceOf(topic, values)),
  state: [{ key: 'checkpoint', value: JSON.stringify({ n }) }],
});
