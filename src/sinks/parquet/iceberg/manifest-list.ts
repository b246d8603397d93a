// Owns manifest lists: one row a manifest, with counts and the range of partitions it covers.
// Bytes in, values out; knows no store and no snapshot logic.

import type {
  IcebergPrimitive,
  IcebergType,
  LiveFile,
  PartitionSpec,
  PartitionValue,
} from '../iceberg-type.ts';
import { decodeAvroFile, encodeAvroFile } from './avro-file.ts';
import { MANIFEST_LIST_NAMES, MANIFEST_LIST_SCHEMA } from './manifest-schema.ts';
import { partitionType } from './partition.ts';
import { booleanBytes, intBytes, longBytes } from './single-value.ts';

export type EntryStatus = 'existing' | 'added' | 'deleted';

type PartitionRange = {
  contains_null: boolean;
  contains_nan: boolean | null;
  lower_bound: Uint8Array | null;
  upper_bound: Uint8Array | null;
};

/** One row of a manifest list. */
export type ManifestFile = {
  path: string;
  bytes: number;
  specId: number;
  content: 'data' | 'deletes';
  sequence: number;
  minSequence: number;
  snapshotId: bigint;
  files: Readonly<Record<EntryStatus, number>>;
  rows: Readonly<Record<EntryStatus, number>>;
  partitions: readonly PartitionRange[];
};

const partitionBytes = (value: Exclude<PartitionValue, null>, type: IcebergPrimitive): Uint8Array => {
  if (typeof value === 'boolean') return booleanBytes(value);
  if (typeof value === 'string') return Buffer.from(value);
  return type === 'long' ? longBytes(BigInt(value)) : intBytes(Number(value));
};

/** Text by its UTF-8, as readers do. */
const isBelow = (a: Exclude<PartitionValue, null>, b: typeof a): boolean =>
  typeof a === 'string' ? Buffer.compare(Buffer.from(a), Buffer.from(String(b))) < 0 : a < b;

const rangeOf = (values: readonly PartitionValue[], type: IcebergPrimitive): PartitionRange => {
  const present = values.filter((value) => value !== null);
  const [first] = present;
  let [least, most] = [first, first];
  for (const value of present) {
    if (least !== undefined && isBelow(value, least)) least = value;
    if (most !== undefined && isBelow(most, value)) most = value;
  }
  return {
    contains_null: present.length < values.length,
    contains_nan: false,
    lower_bound: least === undefined ? null : partitionBytes(least, type),
    upper_bound: most === undefined ? null : partitionBytes(most, type),
  };
};

/** The manifest list's row for a manifest just encoded. */
export const describeManifest = (
  entries: readonly { status: EntryStatus; file: LiveFile }[],
  { path, bytes, content, spec, typeOf, sequence, snapshotId }: ManifestIdentity,
): ManifestFile => {
  const files = { existing: 0, added: 0, deleted: 0 };
  const rows = { existing: 0, added: 0, deleted: 0 };
  let minSequence = sequence;
  for (const { status, file } of entries) {
    files[status]++;
    rows[status] += file.records;
    if (status !== 'deleted') minSequence = Math.min(minSequence, file.sequence);
  }
  const partitions = spec.fields.map(({ transform, sourceId }, at) =>
    rangeOf(
      entries.map(({ file }) => file.partition[at] ?? null),
      partitionType(transform, typeOf(sourceId)) ?? 'int',
    ),
  );
  return {
    path,
    bytes,
    specId: spec.specId,
    content,
    sequence,
    minSequence,
    snapshotId,
    files,
    rows,
    partitions,
  };
};

type ManifestIdentity = {
  path: string;
  bytes: number;
  content: 'data' | 'deletes';
  spec: PartitionSpec;
  /** Type of a table column by its field id. */
  typeOf: (sourceId: number) => IcebergType;
  sequence: number;
  snapshotId: bigint;
};

export const encodeManifestList = (
  manifests: readonly ManifestFile[],
  snapshot: { id: bigint; parent: bigint | null; sequence: number },
  sync: Uint8Array,
): Uint8Array =>
  encodeAvroFile(
    manifests.map((manifest) => ({
      manifest_path: manifest.path,
      manifest_length: manifest.bytes,
      partition_spec_id: manifest.specId,
      content: manifest.content === 'data' ? 0 : 1,
      sequence_number: manifest.sequence,
      min_sequence_number: manifest.minSequence,
      added_snapshot_id: manifest.snapshotId,
      added_files_count: manifest.files.added,
      existing_files_count: manifest.files.existing,
      deleted_files_count: manifest.files.deleted,
      added_rows_count: manifest.rows.added,
      existing_rows_count: manifest.rows.existing,
      deleted_rows_count: manifest.rows.deleted,
      partitions: manifest.partitions,
    })),
    {
      schema: MANIFEST_LIST_SCHEMA,
      names: MANIFEST_LIST_NAMES,
      sync,
      header: {
        'snapshot-id': String(snapshot.id),
        'parent-snapshot-id': snapshot.parent === null ? 'null' : String(snapshot.parent),
        'sequence-number': String(snapshot.sequence),
        'format-version': '2',
      },
    },
  );

type ListRow = { manifest_path: string; partitions: PartitionRange[] | null } & Record<
  | 'manifest_length'
  | 'partition_spec_id'
  | 'content'
  | 'sequence_number'
  | 'min_sequence_number'
  | 'added_snapshot_id'
  | 'added_files_count'
  | 'existing_files_count'
  | 'deleted_files_count'
  | 'added_rows_count'
  | 'existing_rows_count'
  | 'deleted_rows_count',
  number | bigint
>;

const readRow = (row: ListRow): ManifestFile => {
  return {
    path: row.manifest_path,
    bytes: Number(row.manifest_length),
    specId: Number(row.partition_spec_id),
    content: Number(row.content) === 0 ? 'data' : 'deletes',
    sequence: Number(row.sequence_number),
    minSequence: Number(row.min_sequence_number),
    snapshotId: BigInt(row.added_snapshot_id),
    files: {
      added: Number(row.added_files_count),
      existing: Number(row.existing_files_count),
      deleted: Number(row.deleted_files_count),
    },
    rows: {
      added: Number(row.added_rows_count),
      existing: Number(row.existing_rows_count),
      deleted: Number(row.deleted_rows_count),
    },
    partitions: (row.partitions ?? []).map((range) => ({
      ...range,
      contains_nan: range.contains_nan ?? null,
    })),
  };
};

/** Throws table_corrupt. */
export const decodeManifestList = (bytes: Uint8Array): readonly ManifestFile[] =>
  decodeAvroFile(bytes, MANIFEST_LIST_NAMES, readRow);
