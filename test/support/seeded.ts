// Owns chance that can be had again: the seed is printed, and VARVE_SEED brings it back.
import { randomInt } from 'node:crypto';

/** Numbers in [0, 1) (mulberry32). */
export const seededRandom = (diagnostic: (text: string) => void): (() => number) => {
  let state = Number(process.env.VARVE_SEED ?? randomInt(2 ** 31));
  diagnostic(`VARVE_SEED=${state}`);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};
