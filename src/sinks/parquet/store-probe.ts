// Owns trying out a store before anything depends on it: reach it, write, read back, write exclusively,
// remove. A store that lets two writers create one file is refused by name: tables would fork there.
import { VarveError } from '../../errors.ts';
import type { Store } from './store.ts';

const OLD_MS = 24 * 3_600_000;

type ProbeOptions = { uuid: () => string; nowMs: () => number };

const unfit = (root: string, what: string): VarveError =>
  new VarveError('store_unfit', `${root} cannot hold tables: ${what}`, { facts: { root } });

/** Of probes that were killed in the midst of it. */
const removeOld = async (store: Store, folder: string, nowMs: number): Promise<void> => {
  for await (const { uri, modifiedMs } of store.list(folder))
    if (nowMs - modifiedMs > OLD_MS) await store.remove(uri);
};

/**
 * `root`: URI below which everything of the store lies; what is written there is removed. Throws
 * store_unfit, or what the store says.
 */
export const probeStore = async (
  store: Store,
  root: string,
  { uuid, nowMs }: ProbeOptions,
): Promise<void> => {
  const folder = `${root}/.varve-probe/`;
  const uri = `${folder}${uuid()}`;
  const [first, second] = [Buffer.from(`first ${uuid()}`), Buffer.from(`second ${uuid()}`)];
  const made = await store.createExclusive(uri, first);
  const again = await store.createExclusive(uri, second);
  const found = await store.read(uri);
  await store.remove(uri);
  if (made !== 'created') throw unfit(root, 'it says that a file exists that nobody has written.');
  if (again === 'created' || found === null || Buffer.compare(found, first) !== 0)
    throw unfit(
      root,
      'it ignores "If-None-Match: *", so two writers could commit the same version and one would be lost. ' +
        'Use a store that supports conditional writes, or a version of it that does.',
    );
  if (await store.exists(uri)) throw unfit(root, 'what is deleted stays there.');
  await removeOld(store, folder, nowMs());
};
