// Port: where a table's files live. Consumed by iceberg/ and the table; implemented by store-local.ts and
// store-s3.ts. Files are named by the URI that the metadata holds, byte for byte. Knows no table.

export type StoredFile = { uri: string; bytes: number; modifiedMs: number };

export type LocalCopies = {
  /**
   * A path on this machine that holds the file's bytes, there until the lease is disposed of. Throws
   * table_corrupt when the file is gone.
   */
  localCopy(this: void, uri: string): Promise<string>;
} & Disposable;

/** A throw from a method that writes leaves the outcome unknown: the caller looks before it tries again. */
export type Store = {
  /** The whole file, or null when it is not there. */
  read(uri: string): Promise<Uint8Array | null>;
  exists(uri: string): Promise<boolean>;
  /** All or nothing, durable on return. 'exists': somebody (perhaps an earlier try of ours) was first. */
  createExclusive(uri: string, bytes: Uint8Array): Promise<'created' | 'exists'>;
  /** Replaces the file; readers see the old bytes or the new ones. */
  write(uri: string, bytes: Uint8Array): Promise<void>;
  /** Every file whose URI starts with `prefix`, in no order; what is half written is not listed. */
  list(prefix: string): AsyncIterable<StoredFile>;
  /** Durable is not promised: a file that comes back is removed again. A missing file is no error. */
  remove(uri: string): Promise<void>;
  /** Takes a finished local file over under a URI that nobody else uses; durable on return. */
  adopt(localPath: string, uri: string): Promise<void>;
  /** For one piece of work that needs files as files: `using copies = store.lease()`. */
  lease(): LocalCopies;
  /** Removes what writes that were cut off before `beforeMs` left below `prefix`; returns how many. */
  sweepLeftovers(prefix: string, beforeMs: number): Promise<number>;
};
