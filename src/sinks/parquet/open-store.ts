// Owns which store a location means: a directory of this machine, or an object store. The latter's library is
// large, so it is loaded when a location asks for it, by whoever stands at the roof.
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import { isS3, type S3Choices, s3Root } from './s3-place.ts';
import type { Store } from './store.ts';
import { openLocalStore, toFileUri } from './store-local.ts';
import { probeStore } from './store-probe.ts';
import type { openS3Store } from './store-s3.ts';

/** Where a pipeline's tables lie, as its file says it. */
export type TablePlace = { readonly location: string; readonly s3?: S3Choices | undefined };

type StoreOptions = {
  uuid: () => string;
  /** Local directory for copies of files that are elsewhere; null: nobody will ask for one. */
  copies: string | null;
};

export type OpenedStore = {
  store: Store;
  /** Throws store_unfit for a store in which two writers can create one file, or what the store says. */
  prove(): Promise<void>;
  close(): void;
};

type S3Module = { openS3Store: typeof openS3Store };
let loadS3: (() => Promise<S3Module>) | null = null;

/** Says how the room of object stores is loaded; once, before any is opened. */
export const provideS3 = (load: () => Promise<S3Module>): void => {
  loadS3 = load;
};

/** Null for an object store, whose tables this machine has no directory for. */
export const localDirectory = ({ location }: TablePlace): string | null => (isS3(location) ? null : location);

/** URI of what lies at this relative path below the place. Throws config_invalid. */
export const uriBelow = ({ location }: TablePlace, path: string): string => {
  if (!isS3(location)) return toFileUri(join(location, path));
  return path === '' ? s3Root(location) : `${s3Root(location)}/${path}`;
};

/** Reaches nothing yet. Throws config_invalid. */
export const openStore = async (place: TablePlace, { uuid, copies }: StoreOptions): Promise<OpenedStore> => {
  const root = uriBelow(place, '');
  const probe = (store: Store): Promise<void> => probeStore(store, root, { uuid, nowMs: Date.now });
  if (!isS3(place.location)) {
    const store = openLocalStore(place.location, { uuid });
    return { store, prove: () => probe(store), close: () => undefined };
  }
  if (loadS3 === null) throw new VarveError('internal', 'Nobody has said how object stores are loaded.');
  const { openS3Store } = await loadS3();
  const store = openS3Store(root, { s3: place.s3 ?? {}, copies });
  return { store, prove: () => probe(store), close: () => store.close() };
};
