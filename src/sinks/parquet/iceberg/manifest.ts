// Owns manifests: entries of data and delete files, with what they inherit from their snapshot made plain.
// Bytes in, values out; knows no store and no snapshot logic.
import { VarveError } from '../../../errors.ts';
import type { ColumnStats, IcebergType, LiveFile, PartitionSpec, PartitionValue } from '../iceberg-type.ts';
import { decodeAvroFile, encodeAvroFile } from './avro-file.ts';
import type { EntryStatus, ManifestFile } from './manifest-list.ts';
import { ENTRY_NAMES, entrySchema } from './manifest-schema.ts';

const STATUSES: readonly EntryStatus[] = ['existing', 'added', 'deleted'];

/** `file.snapshotId` is the snapshot that added the file, or for a deleted entry the one that removed it. */
export type ManifestEntry = { status: EntryStatus; file: LiveFile };

/**
 * What a manifest must say about the table: its schema as JSON text, the spec, and column types by field id.
 */
type ManifestContext = {
  schemaId: number;
  schemaJson: string;
  spec: PartitionSpec;
  typeOf: (sourceId: number) => IcebergType;
  sync: Uint8Array;
};

const specFieldsJson = (spec: PartitionSpec): string =>
  JSON.stringify(
    spec.fields.map((field) => ({
      name: field.name,
      transform: field.transform,
      'source-id': field.sourceId,
      'field-id': field.fieldId,
    })),
  );

type Pairs = { key: number; value: number | bigint | Uint8Array }[];

const pairs = (
  file: LiveFile,
  pick: (stats: ColumnStats) => number | Uint8Array | undefined,
): Pairs | null => {
  const found: Pairs = [];
  for (const [key, stats] of file.stats) {
    const value = pick(stats);
    if (value !== undefined) found.push({ key, value });
  }
  return found.length === 0 ? null : found;
};

const dataFileRow = (file: LiveFile, spec: PartitionSpec) => ({
  content: file.content === 'data' ? 0 : 1,
  file_path: file.path,
  file_format: 'PARQUET',
  partition: Object.fromEntries(
    spec.fields.map((field, at) => [String(field.fieldId), file.partition[at] ?? null]),
  ),
  record_count: file.records,
  file_size_in_bytes: file.bytes,
  column_sizes: pairs(file, (stats) => stats.bytes),
  value_counts: pairs(file, (stats) => stats.values),
  null_value_counts: pairs(file, (stats) => stats.nulls),
  lower_bounds: pairs(file, (stats) => stats.lower),
  upper_bounds: pairs(file, (stats) => stats.upper),
  sort_order_id: file.sortOrderId ?? null,
  referenced_data_file: file.referencedDataFile,
});

/**
 * A manifest's bytes. An added file inherits its sequence numbers from the snapshot, which is why a retry may
 * get another number; `sequence` differs from the snapshot's only for a rewrite, and is then written out.
 */
export const encodeManifest = (
  entries: readonly ManifestEntry[],
  content: 'data' | 'deletes',
  context: ManifestContext & { sequence: number },
): Uint8Array =>
  encodeAvroFile(
    entries.map(({ status, file }) => ({
      status: STATUSES.indexOf(status),
      snapshot_id: file.snapshotId,
      sequence_number: status === 'added' && file.sequence === context.sequence ? null : file.sequence,
      file_sequence_number: status === 'added' ? null : file.fileSequence,
      data_file: dataFileRow(file, context.spec),
    })),
    {
      schema: entrySchema(context.spec, context.typeOf),
      names: ENTRY_NAMES,
      sync: context.sync,
      header: {
        schema: context.schemaJson,
        'schema-id': String(context.schemaId),
        'partition-spec': specFieldsJson(context.spec),
        'partition-spec-id': String(context.spec.specId),
        'format-version': '2',
        content,
      },
    },
  );

type EntryRow = {
  status: number;
  snapshot_id: number | bigint | null;
  sequence_number: number | bigint | null;
  file_sequence_number: number | bigint | null;
  data_file: {
    content: number;
    file_path: string;
    file_format: string;
    partition: Record<string, PartitionValue>;
    record_count: number | bigint;
    file_size_in_bytes: number | bigint;
    column_sizes: Pairs | null;
    value_counts: Pairs | null;
    null_value_counts: Pairs | null;
    lower_bounds: Pairs | null;
    upper_bounds: Pairs | null;
    key_metadata: Uint8Array | null;
    sort_order_id?: number | null;
    referenced_data_file: string | null;
  };
};

const statsOf = (row: EntryRow['data_file']): Map<number, ColumnStats> => {
  const stats = new Map<number, ColumnStats>();
  const at = (id: number): ColumnStats => {
    const known = stats.get(id) ?? { bytes: 0, values: 0, nulls: 0 };
    stats.set(id, known);
    return known;
  };
  for (const { key, value } of row.column_sizes ?? []) at(key).bytes = Number(value);
  for (const { key, value } of row.value_counts ?? []) at(key).values = Number(value);
  for (const { key, value } of row.null_value_counts ?? []) at(key).nulls = Number(value);
  for (const { key, value } of row.lower_bounds ?? []) at(key).lower = value as Uint8Array;
  for (const { key, value } of row.upper_bounds ?? []) at(key).upper = value as Uint8Array;
  return stats;
};

/** Reserved field id of a position-delete file's `file_path` column. */
const FILE_PATH_ID = 2147483546;

/** Writers that name no data file say it by equal bounds of the path column. */
const referenced = (row: EntryRow['data_file'], stats: ReadonlyMap<number, ColumnStats>): string | null => {
  if (row.content === 0) return null;
  const { lower, upper } = stats.get(FILE_PATH_ID) ?? {};
  if (row.referenced_data_file || !lower || !upper) return row.referenced_data_file ?? null;
  return Buffer.compare(lower, upper) === 0 ? Buffer.from(lower).toString('utf8') : null;
};

const refuse = (row: EntryRow['data_file']): void => {
  const why =
    row.content > 1
      ? 'holds equality deletes'
      : row.file_format.toUpperCase() !== 'PARQUET'
        ? `holds a ${row.file_format} file`
        : row.key_metadata
          ? 'is encrypted'
          : null;
  if (why === null) return;
  throw new VarveError(
    'table_foreign',
    `The table ${why}, which Varve did not write and cannot fold; rewrite it.`,
    {
      facts: { file: row.file_path },
    },
  );
};

const corrupt = ({ path }: ManifestFile, what: string, cause?: unknown): VarveError =>
  new VarveError('table_corrupt', `The manifest ${path} has an entry ${what}.`, {
    facts: { manifest: path },
    cause,
  });

const readEntry = (row: EntryRow, manifest: ManifestFile, spec: PartitionSpec): ManifestEntry => {
  const status = STATUSES[row.status];
  const inherits = status === 'added';
  const sequence = row.sequence_number ?? (inherits ? manifest.sequence : null);
  const fileSequence = row.file_sequence_number ?? (inherits ? manifest.sequence : null);
  if (status === undefined || sequence === null || fileSequence === null)
    throw corrupt(manifest, 'without sequence number');
  refuse(row.data_file);
  const stats = statsOf(row.data_file);
  const file: LiveFile = {
    content: row.data_file.content === 0 ? 'data' : 'position_deletes',
    path: row.data_file.file_path,
    specId: manifest.specId,
    partition: spec.fields.map((field) => row.data_file.partition[String(field.fieldId)] ?? null),
    records: Number(row.data_file.record_count),
    bytes: Number(row.data_file.file_size_in_bytes),
    stats,
    referencedDataFile: referenced(row.data_file, stats),
    sequence: Number(sequence),
    fileSequence: Number(fileSequence),
    snapshotId: row.snapshot_id === null ? manifest.snapshotId : BigInt(row.snapshot_id),
  };
  const sortOrderId = row.data_file.sort_order_id ?? null;
  if (sortOrderId !== null) file.sortOrderId = sortOrderId;
  return { status, file };
};

/**
 * Entries with inherited numbers filled in. Throws table_corrupt, or table_foreign for what Varve does not
 * fold.
 */
export const decodeManifest = (
  bytes: Uint8Array,
  manifest: ManifestFile,
  spec: PartitionSpec,
): readonly ManifestEntry[] =>
  decodeAvroFile(bytes, ENTRY_NAMES, (row: EntryRow) => readEntry(row, manifest, spec));
