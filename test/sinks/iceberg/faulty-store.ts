// Owns a Store that fails at one chosen call: before the work, after it, or for good, as when the process is
// killed.
import type { Store } from '../../../src/sinks/parquet/store.ts';

/**
 * `before`, `after`: that call throws and the next ones work. `dead…`: that call and every later one throws.
 */
type Fault = 'before' | 'after' | 'dead-before' | 'dead-after';
export const FAULTS: readonly Fault[] = ['before', 'after', 'dead-before', 'dead-after'];

export class InjectedFault extends Error {}

/** Counts the calls that touch the store; the call number `at` (from 0) fails as told. */
export const faultyStore = (
  inner: Store,
  at: number,
  fault: Fault,
): { store: Store; calls: () => number } => {
  let calls = 0;
  let dead = false;
  const run = async <Result>(name: string, work: () => Promise<Result>): Promise<Result> => {
    const mine = calls++;
    if (dead) throw new InjectedFault(`${name} after the end`);
    if (mine !== at) return work();
    dead = fault.startsWith('dead');
    if (fault.endsWith('after')) await work();
    throw new InjectedFault(`${name} at call ${mine}, ${fault}`);
  };
  const store: Store = {
    read: (uri) => run('read', () => inner.read(uri)),
    exists: (uri) => run('exists', () => inner.exists(uri)),
    createExclusive: (uri, bytes) => run('createExclusive', () => inner.createExclusive(uri, bytes)),
    write: (uri, bytes) => run('write', () => inner.write(uri, bytes)),
    async *list(prefix) {
      await run('list', async () => {});
      yield* inner.list(prefix);
    },
    remove: (uri) => run('remove', () => inner.remove(uri)),
    adopt: (localPath, uri) => run('adopt', () => inner.adopt(localPath, uri)),
    lease: () => {
      const { localCopy, ...inside } = inner.lease();
      return { ...inside, localCopy: (uri) => run('localCopy', () => localCopy(uri)) };
    },
    sweepLeftovers: (prefix, beforeMs) => run('sweepLeftovers', () => inner.sweepLeftovers(prefix, beforeMs)),
  };
  return { store, calls: () => calls };
};
