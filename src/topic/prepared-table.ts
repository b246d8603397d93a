// Port: what a connector supplies so that its rows can be encoded without an object a row. Consumed by the
// envelope.
import type { LogTable } from '../change/event.ts';
import type { ConnectType, TableName } from '../change/schema.ts';
import type { ByteWriter } from './byte-writer.ts';

/**
 * Writes one value's Avro form, without union branch. False: the encoding cannot hold it exactly (NaN in a
 * decimal, infinity in a date); a valid stand-in was written, and `text` of the same bytes goes into the
 * `varve.text` header.
 */
export type EncodeValue = (bytes: Uint8Array, start: number, end: number, out: ByteWriter) => boolean;

/** A table with what is needed to encode its rows; one a column, in the order of `schema.columns`. */
export type PreparedTable = LogTable & {
  readonly encode: readonly EncodeValue[];
  /** The source's own text of a value, for `varve.text` and for people. */
  text(column: number, bytes: Uint8Array, start: number, end: number): string;
  /**
   * The same table with this column optional: a NULL came from before a NOT NULL that the catalog already
   * shows.
   */
  relax(column: number): PreparedTable;
};

export type SnapshotMark =
  | 'first'
  | 'first_in_data_collection'
  | 'true'
  | 'last_in_data_collection'
  | 'last'
  | 'false';

/** What every event's `source` block needs to know beside what the connector keeps for itself. */
export type SourceFacts = { table: TableName; snapshot: SnapshotMark; commitTs: bigint };

/** The connector's part of Debezium's envelope. */
export type SourceBlock = {
  /** A struct, such as `io.debezium.connector.<kind>.Source`. */
  readonly type: ConnectType;
  /** Writes the struct's Avro form for the event that was pulled last from this connector. */
  write(out: ByteWriter, facts: SourceFacts): void;
};
