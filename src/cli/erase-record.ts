// Owns the record of an erasure: who asked for what, when and why, and what was done. Beside the table, where
// no upkeep looks. Holds no key and no value: a key is told only to who has it.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import { VarveError } from '../errors.ts';
import type { Store } from '../sinks/parquet/store.ts';

type ErasureFacts = Readonly<Record<string, unknown>>;

type ErasureRecord = {
  readonly uri: string;
  /** Says how it ended. */
  finish(facts: ErasureFacts): Promise<void>;
};

const asker = (): string => {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A user without an entry, as in many containers.
    return `uid ${process.getuid?.() ?? 'unknown'}@${hostname()}`;
  }
};

const bytesOf = (facts: ErasureFacts): Uint8Array => Buffer.from(`${JSON.stringify(facts, null, 2)}\n`);

/** Written before anything is erased, so that one that was cut off is known; `keys`: their texts. */
export const beginRecord = async (
  store: Store,
  location: string,
  { keys, ...facts }: ErasureFacts & { keys: readonly string[] },
): Promise<ErasureRecord> => {
  const at = new Date();
  const id = randomUUID();
  const uri = `${location}__varve_erased/${at.toISOString().replaceAll(/[:.]/g, '-')}-${id}.json`;
  const salt = randomBytes(16).toString('hex');
  const begun = {
    id,
    at: at.toISOString(),
    by: asker(),
    ...facts,
    // sha256 of the salt, then the key's text: whoever has a key can look for it here.
    salt,
    keys: keys.map((key) => createHash('sha256').update(salt).update(key).digest('hex')),
  };
  if ((await store.createExclusive(uri, bytesOf({ ...begun, state: 'begun' }))) === 'exists')
    throw new VarveError('internal', `The record of an erasure, ${uri}, was there already.`);
  return { uri, finish: (done) => store.write(uri, bytesOf({ ...begun, ...done })) };
};
