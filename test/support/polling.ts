// Owns waiting for what another process does: polls, because nobody tells.
import { setTimeout as sleep } from 'node:timers/promises';
import { atLevel } from './level.ts';
import { readCurrent, type Stage } from './stage.ts';
import type { Running } from './varve.ts';

/** Below a test's own limit, which would leave the polling behind, and with it the process. */
const LIMIT_MS = atLevel({ test: 4.5 * 60_000, all: 29 * 60_000, deep: 12 * 3_600_000 });

/** Resolves once it is so; throws for what never comes. */
export const until = async (what: () => Promise<boolean>): Promise<void> => {
  const end = performance.now() + LIMIT_MS;
  while (!(await what())) {
    if (performance.now() > end) throw new Error(`not so within ${LIMIT_MS / 60_000} minutes: ${what}`);
    await sleep(50);
  }
};

/** The same while a process works on it: its end is an error, with what it said. */
export const untilBy = async ({ child, finished }: Running, what: () => Promise<boolean>): Promise<void> => {
  await until(async () => {
    const isOver = child.exitCode !== null || child.signalCode !== null;
    if (await what()) return true;
    if (isOver) throw new Error(`it ended meanwhile: ${(await finished).stderr}`);
    return false;
  });
};

/** The row is a current one of the table `items`. */
export const isFolded = async (stage: Stage, id: number): Promise<boolean> =>
  (await readCurrent(stage).catch(() => [])).some(([found]) => found === String(id));
