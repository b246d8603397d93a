// Owns telling a damaged file from a failing engine: what is missing, has another length than the table
// says, or cannot be read to its end is named, because no trying again mends it.
import { statSync } from 'node:fs';
import { VarveError } from '../../../errors.ts';
import type { DataFile } from '../iceberg-type.ts';
import { Database } from './database.ts';
import type { EngineSettings } from './protocol.ts';
import { quoteText } from './sql.ts';

const corrupt = (uri: string, what: string): VarveError =>
  new VarveError(
    'table_corrupt',
    `${uri} is not as it was written: ${what}. Restore the file; nothing was committed meanwhile. What the ` +
      'topic still holds can also be folded again into a table that is built anew.',
    { facts: { file: uri } },
  );

const sizeOf = (local: string): number | null => statSync(local, { throwIfNoEntry: false })?.size ?? null;

/** Throws `table_corrupt` for a file that is missing, cut, or changed to another length. */
export const refuseOtherSize = ({ path, bytes }: Pick<DataFile, 'path' | 'bytes'>, local: string): void => {
  const found = sizeOf(local);
  if (found === bytes) return;
  throw corrupt(path, found === null ? 'it is missing' : `it has ${found} bytes, its manifest says ${bytes}`);
};

/** What says more of this machine than of the file. */
const OURS = /^(Out of Memory|Interrupt)|too many open files|no space left|input\/output error/i;

/**
 * Reads all of what an operation had asked for (local paths by URI) when it failed. Gives `table_corrupt` of
 * the first file that cannot be read; null where the failure was another.
 */
export const findDamage = async (
  asked: ReadonlyMap<string, string>,
  settings: EngineSettings,
): Promise<VarveError | null> => {
  await using database = await Database.open(settings);
  for (const [uri, local] of asked) {
    if (sizeOf(local) === null) return corrupt(uri, 'it is missing');
    try {
      const rows = `read_parquet(${quoteText(local)}, hive_partitioning = false)`;
      await database.rows(`SELECT count(hash(r)) FROM ${rows} r`);
    } catch (thrown) {
      if (!OURS.test((thrown as Error).message)) return corrupt(uri, 'it cannot be read');
    }
  }
  return null;
};
