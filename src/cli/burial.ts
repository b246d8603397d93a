// Owns this run's way to the dead letters: opened with the first one, because most runs have none, and closed
// with the run.
import type { DeadRecord } from '../sinks/sink.ts';
import { type Graveyard, writeDeadLetters } from '../topic/dead-letters.ts';

export type Burial = {
  bury(topic: string, dead: readonly DeadRecord[]): Promise<void>;
  close(): Promise<void>;
};

/** What was opened by `open` is closed here. */
export const openBurial = (prefix: string, open: () => Promise<Graveyard>): Burial => {
  let opened: Promise<Graveyard> | null = null;
  return {
    bury: async (topic, dead) => {
      opened ??= open();
      const graveyard = await opened.catch((thrown: unknown) => {
        opened = null;
        throw thrown;
      });
      await writeDeadLetters({ graveyard, prefix, nowMs: Date.now }, topic, dead);
    },
    close: async () => (await opened)?.close(),
  };
};
