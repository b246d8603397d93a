// Owns the wake-up between a publisher, its feeds and their releases inside one process, by directory. Across
// processes the files are polled instead.

type Bell = { writers: number; waiting: Set<() => void> };

const bells = new Map<string, Bell>();

const bellOf = (path: string): Bell => {
  const known = bells.get(path);
  if (known) return known;
  const made = { writers: 0, waiting: new Set<() => void>() };
  bells.set(path, made);
  return made;
};

/** `path`: the directory's real path, so that all ways to it meet. */
export const ring = (path: string): void => {
  const { waiting } = bellOf(path);
  const woken = [...waiting];
  waiting.clear();
  for (const wake of woken) wake();
};

/** While it is there, every commit in this directory rings. */
export const announceWriter = (path: string): Disposable => {
  const bell = bellOf(path);
  bell.writers++;
  return {
    [Symbol.dispose]: () => {
      bell.writers--;
      ring(path);
    },
  };
};

export const hasWriter = (path: string): boolean => bellOf(path).writers > 0;

/** Resolves at the next ring, when the signal aborts, or after `timeoutMs`. */
export const heard = (path: string, timeoutMs: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const { waiting } = bellOf(path);
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, timeoutMs);
    waiting.add(done);
    signal?.addEventListener('abort', done, { once: true });
  });
