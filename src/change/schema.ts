// Owns the words for a table's shape. Types are said in Kafka Connect's vocabulary, because that is what
// Debezium's consumers know; Avro and Iceberg types are derived from it elsewhere. Knows no database, no
// encoding.

/** A value's type as Kafka Connect names it. `name` is the logical type, such as `io.debezium.time.Date`. */
export type ConnectType = {
  type:
    | 'boolean'
    | 'int16'
    | 'int32'
    | 'int64'
    | 'float32'
    | 'float64'
    | 'string'
    | 'bytes'
    | 'array'
    | 'map'
    | 'struct';
  name?: string;
  version?: number;
  /**
   * Structs: what Debezium says of the type, such as `Variable scaled decimal`; part of the registered
   * schema.
   */
  doc?: string;
  /** In the order they are printed in the Avro schema. */
  parameters?: Readonly<Record<string, string>>;
  /** Arrays and maps: type of the items (map keys are strings); `optional` items may be null. */
  items?: ConnectType & { optional: boolean };
  /** Structs. */
  fields?: readonly ConnectField[];
};

export type ConnectField = { field: string; type: ConnectType; optional: boolean; default?: ConnectDefault };

/**
 * A constant default in Avro's JSON form (bytes as one char a byte), kept as text where JSON cannot hold it.
 */
export type ConnectDefault = string | number | boolean | null;

export type Column = {
  /** The source's own stable id : a rename keeps it, drop + add of one name does not. */
  id: number;
  /** The name in the source, untouched. */
  name: string;
  type: ConnectType;
  /** As the source prints it, for people: `numeric(12,2)`. */
  sourceType: string;
  optional: boolean;
  /** Absent: no default that a schema can hold. */
  default?: ConnectDefault;
};

/** Parts of a table's name in the source, outermost first: such as [schema, table]. */
export type TableName = readonly [namespace: string, table: string];

export type TableSchema = {
  name: TableName;
  columns: readonly Column[];
  /** Indexes into `columns`, in key order; empty: a table without key. */
  key: readonly number[];
};

export const sameTable = (a: TableName, b: TableName): boolean => a[0] === b[0] && a[1] === b[1];

/** For people and for maps; never parsed back. */
export const tableText = (name: TableName): string => `${name[0]}.${name[1]}`;
