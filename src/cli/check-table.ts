// Owns what `varve check` says of the place of the tables: whether it can be reached and written, and that
// two writers cannot create one file.
import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import type { Finding } from '../connector.ts';
import { asVarveError } from '../errors.ts';
import { openStore } from '../sinks/parquet/open-store.ts';

/** Writes a file of some bytes there and takes it away again. */
export const checkTable = async ({ table }: Config): Promise<readonly Finding[]> => {
  if (table === undefined) return [];
  const opened = await openStore(table, { uuid: randomUUID, copies: null });
  try {
    await opened.prove();
    const what = `${table.location}: files are written, read, created once only, and removed`;
    return [{ level: 'ok', what, fix: null }];
  } catch (thrown) {
    return [{ level: 'error', what: asVarveError(thrown).message, fix: null }];
  } finally {
    opened.close();
  }
};
