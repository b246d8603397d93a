// Owns the words for Iceberg types and table columns. Knows no Avro and no engine.

export type IcebergPrimitive =
  | 'boolean'
  | 'int'
  | 'long'
  | 'float'
  | 'double'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'string'
  | 'uuid'
  | 'binary'
  | `decimal(${number}, ${number})`;

export type IcebergList = {
  type: 'list';
  'element-id': number;
  element: IcebergPrimitive;
  'element-required': boolean;
};

export type IcebergType = IcebergPrimitive | IcebergList;

/** A column as it stands in the table's schema; `id` never changes and is never used again. */
export type IcebergField = { id: number; name: string; required: boolean; type: IcebergType };

/**
 * Partition values in the spec's field order: boolean for identity(is_current), number for a bucket, and what
 * `partition.ts` says of the columns that people choose.
 */
export type PartitionValue = boolean | number | bigint | string | null;

export type PartitionField = { fieldId: number; sourceId: number; name: string; transform: string };
export type PartitionSpec = { specId: number; fields: readonly PartitionField[] };

/**
 * Counts and bounds of one column in one file; bounds in Iceberg's single-value binary form, absent when in
 * doubt.
 */
export type ColumnStats = {
  bytes: number;
  values: number;
  nulls: number;
  lower?: Uint8Array;
  upper?: Uint8Array;
};

export type DataFile = {
  content: 'data' | 'position_deletes';
  /** The URI, byte for byte as in the manifest. */
  path: string;
  specId: number;
  partition: readonly PartitionValue[];
  records: number;
  bytes: number;
  stats: ReadonlyMap<number, ColumnStats>;
  /** Position deletes: the one data file they belong to. */
  referencedDataFile: string | null;
  /** By which of the table's sort orders the rows are sorted; absent: nobody says. */
  sortOrderId?: number;
};

/** A file that the current snapshot holds, with what it inherited. */
export type LiveFile = DataFile & { sequence: number; fileSequence: number; snapshotId: bigint };
