// Owns starting the engine that answers questions, also before anything else is loaded that a question needs:
// its process takes longer to start than all of that. Knows no question.
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from './engine/engine.ts';

/** `directory` is the engine's own; who asks makes it, and removes it. */
type StartedEngine = { engine: Engine; directory: string };

const SETTINGS = { memoryLimit: '1GB', threads: 2, idleMs: 1000 } as const;

let early: StartedEngine | null = null;

/** For the next `takeEngine`, if there is one. */
export const startEarly = (): void => {
  early ??= takeEngine();
  early.engine.start();
};

/** The one that was started early, or another. */
export const takeEngine = (): StartedEngine => {
  const taken = early;
  early = null;
  if (taken !== null) return taken;
  const directory = join(tmpdir(), `varve-query-${randomUUID()}`);
  return { engine: new Engine({ ...SETTINGS, directory }), directory };
};
