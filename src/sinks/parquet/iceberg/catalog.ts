// Port: who says which version of a table is the newest, and lets one writer at a time put another in its
// place. Implemented by catalog-files.ts (our own files) and catalog-rest.ts (a service). Knows no manifest.
import type { TableMetadata } from './metadata.ts';

/** One version of a table, as the catalog has it. */
export type CatalogVersion = {
  /** The URI that the table is asked for by, `<place>/<namespace>/<name>`, as the file makes it. */
  readonly at: string;
  /** URI below which the table's files lie, without a slash at its end. */
  readonly location: string;
  /** N of v<N>.metadata.json; 0 where a service names its files. */
  readonly version: number;
  /** URI of the metadata file, as far as the catalog tells. */
  readonly file: string;
  readonly metadata: TableMetadata;
};

/** A version that was known to be the newest at that time. */
export type CatalogBase = CatalogVersion & { readonly loadedAtMs: number };

export type TableCatalog = {
  /**
   * True: versions are files of ours, which upkeep clears away, and a commit excludes every other commit.
   * False: metadata files are the service's, and a commit excludes only other snapshots and layouts.
   */
  readonly isFiles: boolean;
  /** Null: there is no such table. Throws table_corrupt, table_foreign. */
  load(at: string): Promise<CatalogVersion | null>;
  /** True: `base` is the newest as far as a short look tells. False: load it to know. */
  isNewest(base: CatalogBase): Promise<boolean>;
  /**
   * Makes a table of this metadata; a service may give it another location. Null: somebody else was first.
   */
  create(at: string, made: TableMetadata): Promise<CatalogVersion | null>;
  /**
   * Puts `next` in the place of `base`; returns it, or a later version that has it. Null: another commit was
   * first, and no version has or will ever have what `next` names. Throws commit_conflict where another was
   * first; after any other error nobody knows.
   */
  replace(base: CatalogBase, next: TableMetadata): Promise<CatalogVersion | null>;
};
