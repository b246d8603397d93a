// Owns folding a table only while nobody has paused it: looks now and then, stops, and begins anew. Knows
// neither topic nor offsets.
import { setTimeout as sleep } from 'node:timers/promises';
import { asVarveError } from './errors.ts';
import type { OpenedTable } from './sinks/sink.ts';

const LOOK_MS = 2000;

type Pausable = {
  /** Opens the table as it is now. */
  open: () => Promise<OpenedTable>;
  fold: (table: OpenedTable, signal: AbortSignal) => Promise<void>;
  onPaused: (isPaused: boolean) => void;
  /** Once aborted, nobody waits for a pause to end. */
  finish: AbortSignal;
};

/** Aborts `stop` once the table is paused; returns when `over` is aborted. */
const watch = async (table: OpenedTable, stop: AbortController, over: AbortSignal): Promise<void> => {
  while (!over.aborted) {
    await sleep(LOOK_MS, undefined, { signal: over }).catch(() => undefined);
    // A store that is away is the next commit's to tell.
    if (!over.aborted && (await table.isPaused().catch(() => false))) stop.abort();
  }
};

/** True: a pause ended it. */
const foldOnce = async ({ fold }: Pausable, table: OpenedTable, signal: AbortSignal): Promise<boolean> => {
  const [stop, over] = [new AbortController(), new AbortController()];
  const watching = watch(table, stop, over.signal);
  try {
    await fold(table, AbortSignal.any([signal, stop.signal]));
    return stop.signal.aborted;
  } catch (thrown) {
    // Its commit came too late.
    if (asVarveError(thrown).kind !== 'table_paused') throw thrown;
    return true;
  } finally {
    over.abort();
    await watching;
  }
};

/** Returns when the fold is over, or with `finish` while the table is paused. */
export const foldUnlessPaused = async (parts: Pausable, signal: AbortSignal): Promise<void> => {
  const { open, onPaused, finish } = parts;
  while (!signal.aborted) {
    const table = await open();
    try {
      const isPaused = await table.isPaused();
      onPaused(isPaused);
      if (!isPaused && !(await foldOnce(parts, table, signal))) return;
    } finally {
      await table.close();
    }
    if (finish.aborted) return;
    const wake = AbortSignal.any([signal, finish]);
    await sleep(LOOK_MS, undefined, { signal: wake }).catch(() => undefined);
  }
};
