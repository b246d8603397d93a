// Owns the words in which a user chooses how values and names are published, and what is hidden of them.
// Knows no type of a database and no encoding.

/** Debezium's words for its own modes; what each does to a type is the connector's. */
export type Formats = {
  /** precise: bytes and a scale; string: plain digits; double: the nearest double. */
  decimal: 'precise' | 'string' | 'double';
  binary: 'bytes' | 'base64' | 'hex';
  /** Unit of dates, times and timestamps without zone; adaptive: what the column holds. */
  time: 'adaptive' | 'adaptive_time_microseconds' | 'connect' | 'isostring' | 'microseconds' | 'nanoseconds';
  /** numeric: microseconds, a month being 30.4375 days; string: ISO 8601. */
  interval: 'numeric' | 'string';
  /** Key-value types. */
  hstore: 'json' | 'map';
  bigintUnsigned: 'long' | 'precise';
  /** How names become Avro names; none: as they are, and what Avro does not allow is refused. */
  names: Names;
  /** Types that Debezium does not know. text: as the source prints them. */
  unknownTypes: 'text' | 'omit' | 'bytes';
  /** `namespace.table` -> columns of its key, in this order. */
  keyColumns: Readonly<Record<string, readonly string[]>>;
};

export type Names = 'avro' | 'avro_unicode' | 'none';

export const DEFAULT_FORMATS: Formats = {
  decimal: 'precise',
  binary: 'bytes',
  time: 'adaptive',
  interval: 'numeric',
  hstore: 'json',
  bigintUnsigned: 'long',
  names: 'avro',
  unknownTypes: 'text',
  keyColumns: {},
};

/**
 * What is hidden of a column before anything is stored. `length` counts characters; the digest is of the salt
 * and the value.
 */
export type ColumnRule =
  | { readonly rule: 'drop' }
  | { readonly rule: 'mask'; readonly length: number }
  | { readonly rule: 'truncate'; readonly length: number }
  | { readonly rule: 'hash'; readonly algorithm: string; readonly salt: string };

/** `namespace.table.column` -> its rule. */
export type ColumnRules = Readonly<Record<string, ColumnRule>>;
