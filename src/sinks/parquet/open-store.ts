// Owns which store a location means: a directory of this machine, or an object store, and which catalog
// stands beside it. The object stores' library is large, so it is loaded when a location asks for it, by
// whoever stands at the roof.
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import type { TableCatalog } from './iceberg/catalog.ts';
import { openRestCatalog } from './iceberg/catalog-rest.ts';
import type { RestChoices } from './iceberg/catalog-rest-client.ts';
import { isS3, type S3Choices, s3Root } from './s3-place.ts';
import type { Store } from './store.ts';
import { openLocalStore, toFileUri } from './store-local.ts';
import { probeStore } from './store-probe.ts';
import type { openS3Store } from './store-s3.ts';

/** Where a pipeline's tables lie, as its file says it. */
export type TablePlace = {
  readonly location: string;
  readonly s3?: S3Choices | undefined;
  /** Absent: our own files are the catalog. */
  readonly catalog?: RestChoices | undefined;
};

type StoreOptions = {
  uuid: () => string;
  /** Local directory for copies of files that are elsewhere; null: nobody will ask for one. */
  copies: string | null;
};

export type OpenedStore = {
  store: Store;
  /** Absent: our own files. */
  catalog: TableCatalog | undefined;
  /**
   * Throws store_unfit for a store in which two writers can create one file, or what the store or the catalog
   * says.
   */
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

const openFiles = async (place: TablePlace, root: string, { uuid, copies }: StoreOptions) => {
  if (!isS3(place.location))
    return { store: openLocalStore(place.location, { uuid }), close: () => undefined };
  if (loadS3 === null) throw new VarveError('internal', 'Nobody has said how object stores are loaded.');
  const { openS3Store } = await loadS3();
  const store = openS3Store(root, { s3: place.s3 ?? {}, copies });
  return { store, close: () => store.close() };
};

/** Reaches nothing yet. Throws config_invalid. */
export const openStore = async (place: TablePlace, options: StoreOptions): Promise<OpenedStore> => {
  const root = uriBelow(place, '');
  const { store, close } = await openFiles(place, root, options);
  const catalog = place.catalog === undefined ? undefined : openRestCatalog(place.catalog);
  return {
    store,
    catalog,
    prove: async () => {
      await probeStore(store, root, { uuid: options.uuid, nowMs: Date.now });
      await catalog?.prove();
    },
    close: () => {
      close();
      catalog?.close();
    },
  };
};
