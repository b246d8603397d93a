// Port: what a database must supply to read tables as of one point. Consumed by the snapshot loop.
import type { ResumePoint } from '../change/event.ts';
import type { Cells } from '../change/row.ts';
import type { TableName } from '../change/schema.ts';

/** One piece of one table; pieces of a table cover it once, and may be read in any order and in parallel. */
export type ChunkSpec<Table> = { table: Table; label: string; estimatedRows: number };

/**
 * Rows in bunches: `next()` fills one flyweight row at a time, null when this bunch is used up. `mayEnd`: the
 * row that came last may be the chunk's last; false promises another one in this bunch.
 */
export type RowChunk = { next(): Cells | null; readonly mayEnd: boolean };

/** All chunks of a session see one state of the database: exactly the transactions before `position`. */
export type SnapshotSession<Table> = {
  /** Resume streaming here after the snapshot: no gap, no duplicate. */
  readonly resume: ResumePoint;
  readonly position: bigint;
  /** Microseconds since 1970-01-01 UTC on the source's clock, when the state was fixed. */
  readonly ts: bigint;
  readonly chunks: readonly ChunkSpec<Table>[];
  readChunk(chunk: ChunkSpec<Table>, signal: AbortSignal): AsyncIterable<RowChunk>;
  /** Throws if a table was rewritten while it was read, so that rows may be missing without an event. */
  verify(tables: readonly TableName[]): Promise<void>;
  close(): Promise<void>;
};
