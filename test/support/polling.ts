// Owns waiting for what another process does: polls, because nobody tells.
import { setTimeout as sleep } from 'node:timers/promises';
import { readCurrent, type Stage } from './stage.ts';

/** Resolves once it is so; the test's own time limit ends what never comes. */
export const until = async (what: () => Promise<boolean>): Promise<void> => {
  while (!(await what())) await sleep(50);
};

/** The row is a current one of the table `items`. */
export const isFolded = async (stage: Stage, id: number): Promise<boolean> =>
  (await readCurrent(stage).catch(() => [])).some(([found]) => found === String(id));
