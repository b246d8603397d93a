// Owns what is told of a table's upkeep. Words only.
import type { Doomed } from './iceberg/sweep.ts';

/** What was done, or with a dry run would be. */
export type UpkeepNews =
  | {
      kind: 'rewritten';
      /**
       * runs: many small files; deletes: many deleted rows; small: small and old; moved: other partitioning.
       */
      reason: 'runs' | 'deletes' | 'small' | 'moved';
      partition: string;
      files: number;
      deletes: number;
      rows: number;
      bytes: number;
      /** Null: nothing was written yet. */
      made: { files: number; rows: number; bytes: number } | null;
    }
  | { kind: 'expired'; snapshots: number }
  /** Files of snapshots that have expired and that nobody reads any more. */
  | { kind: 'retired'; files: number; bytes: number }
  /** Metadata files of versions whose snapshots others name as well. */
  | { kind: 'thinned'; files: number; bytes: number }
  | { kind: 'orphans'; orphans: readonly Doomed[] };
