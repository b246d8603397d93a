// Owns where values go that their topics do not take: files of a directory or objects of a bucket, found by
// the URI that the record's header says. Refuses to know what they hold.
import { randomUUID } from 'node:crypto';
import type { Finding } from '../connector.ts';
import { asVarveError } from '../errors.ts';
import { openStore, type TablePlace, uriBelow } from '../sinks/parquet/open-store.ts';
import type { ClaimStore } from '../topic/envelope-oversized.ts';

export type OpenedClaims = ClaimStore & { close(): void };

/** Null where the file names no place. Reaches nothing yet. */
export const openClaims = async (place: TablePlace | null): Promise<OpenedClaims | null> => {
  if (place === null) return null;
  const { store, close } = await openStore(place, { uuid: randomUUID, copies: null });
  const locate = (name: string): string => uriBelow(place, name);
  return { locate, put: (name, value) => store.write(locate(name), value), close };
};

/** Writes a file of some bytes there and takes it away again. */
export const checkClaims = async (place: TablePlace | null): Promise<readonly Finding[]> => {
  if (place === null) return [];
  const { store, close } = await openStore(place, { uuid: randomUUID, copies: null });
  const uri = uriBelow(place, `varve-check-${randomUUID()}`);
  try {
    await store.write(uri, Buffer.from('varve'));
    await store.remove(uri);
    const what = `${place.location}: values that no topic takes are written`;
    return [{ level: 'ok', what, fix: null }];
  } catch (thrown) {
    return [{ level: 'error', what: asVarveError(thrown).message, fix: null }];
  } finally {
    close();
  }
};
