// Owns what the next version's metadata says: schema, partitioning, properties, snapshot, logs, and which
// snapshots expire. Pure.
import type { IcebergField, PartitionSpec } from '../iceberg-type.ts';
import { ancestry, type Snapshot, type TableMetadata } from './metadata.ts';
import { sameColumns } from './schema.ts';
import { evolveSort } from './sort-order.ts';

export type ExpirePolicy = {
  /** Snapshots older than this go ... */
  maxAgeMs: number;
  /** ... unless they are among the newest so many; */
  minKeep: number;
  /** beyond so many they go at any age. */
  maxKeep: number;
};

/** The metadata log names so many earlier versions; their files are kept at least as long. */
export const METADATA_LOG_LENGTH = 100;

/**
 * Keys with this prefix are Varve's; on a snapshot they are what its successors and the properties repeat.
 */
export const SUMMARY_PREFIX = 'varve.';

/**
 * Ids of the snapshots that stay: those that a branch or tag names, main's newest by the policy, and in any
 * case all down to the newest that carries Varve's own keys, because they are found by walking from parent to
 * parent.
 */
const keptSnapshots = (metadata: TableMetadata, policy: ExpirePolicy, nowMs: number): ReadonlySet<bigint> => {
  const kept = new Set<bigint>(Object.values(metadata.refs).map((ref) => BigInt(ref['snapshot-id'])));
  const line = [...ancestry(metadata)];
  const carrier = line.findIndex(({ summary }) =>
    Object.keys(summary).some((key) => key.startsWith(SUMMARY_PREFIX)),
  );
  for (const [place, snapshot] of line.entries()) {
    const young = nowMs - snapshot['timestamp-ms'] <= policy.maxAgeMs;
    if (place <= carrier || place < policy.minKeep || (young && place < policy.maxKeep))
      kept.add(BigInt(snapshot['snapshot-id']));
  }
  return kept;
};

/** How many snapshots a commit with this policy would let go. */
export const countExpired = (metadata: TableMetadata, policy: ExpirePolicy, nowMs: number): number => {
  const kept = keptSnapshots(metadata, policy, nowMs);
  return metadata.snapshots.filter((one) => !kept.has(BigInt(one['snapshot-id']))).length;
};

/**
 * Metadata without the snapshots that are not kept. Readers hold no log entries before a snapshot that is
 * gone.
 */
const expire = (metadata: TableMetadata, policy: ExpirePolicy, nowMs: number): TableMetadata => {
  const kept = keptSnapshots(metadata, policy, nowMs);
  const stays = (one: { 'snapshot-id': number | bigint }): boolean => kept.has(BigInt(one['snapshot-id']));
  const log = metadata['snapshot-log'];
  const next: TableMetadata = {
    ...metadata,
    snapshots: metadata.snapshots.filter(stays),
    'snapshot-log': log.slice(log.findLastIndex((entry) => !stays(entry)) + 1),
  };
  if (metadata.statistics) next.statistics = metadata.statistics.filter(stays);
  if (metadata['partition-statistics'])
    next['partition-statistics'] = metadata['partition-statistics'].filter(stays);
  return next;
};

type MetadataChange = {
  nowMs: number;
  baseFile: string;
  columns: { fields: readonly IcebergField[]; lastColumnId: number } | null;
  partitioning: { spec: PartitionSpec; lastPartitionId: number } | null;
  /** Field ids, rising; null: as before. */
  sort: readonly number[] | null;
  properties: Readonly<Record<string, string>>;
  snapshot: Snapshot | null;
  expire: ExpirePolicy | null;
};

export const schemaJson = (schemaId: number, fields: readonly IcebergField[]) => ({
  type: 'struct' as const,
  'schema-id': schemaId,
  fields: fields.map((field) => ({ ...field })),
});

export const specJson = (spec: PartitionSpec) => ({
  'spec-id': spec.specId,
  fields: spec.fields.map((field) => ({
    'source-id': field.sourceId,
    'field-id': field.fieldId,
    name: field.name,
    transform: field.transform,
  })),
});

const withColumns = (metadata: TableMetadata, columns: MetadataChange['columns']): TableMetadata => {
  if (columns === null) return metadata;
  // Every catalog gives columns that it knows the id that they had.
  const known = metadata.schemas.find((schema) => sameColumns(schema.fields, columns.fields));
  if (known !== undefined) return { ...metadata, 'current-schema-id': known['schema-id'] };
  const id = metadata.schemas.reduce((most, schema) => Math.max(most, schema['schema-id']), -1) + 1;
  return {
    ...metadata,
    'last-column-id': columns.lastColumnId,
    'current-schema-id': id,
    schemas: [...metadata.schemas, schemaJson(id, columns.fields)],
  };
};

const withSpec = (metadata: TableMetadata, change: MetadataChange['partitioning']): TableMetadata => {
  if (change === null) return metadata;
  const known = metadata['partition-specs'].some((spec) => spec['spec-id'] === change.spec.specId);
  return {
    ...metadata,
    'default-spec-id': change.spec.specId,
    'last-partition-id': change.lastPartitionId,
    'partition-specs': known
      ? metadata['partition-specs']
      : [...metadata['partition-specs'], specJson(change.spec)],
  };
};

const withSort = (metadata: TableMetadata, sort: MetadataChange['sort']): TableMetadata => {
  if (sort === null) return metadata;
  const { id, orders } = evolveSort(metadata['sort-orders'], sort);
  return { ...metadata, 'default-sort-order-id': id, 'sort-orders': orders };
};

const withSnapshot = (metadata: TableMetadata, snapshot: Snapshot | null): TableMetadata => {
  if (snapshot === null) return metadata;
  const id = snapshot['snapshot-id'];
  return {
    ...metadata,
    'last-sequence-number': snapshot['sequence-number'],
    'current-snapshot-id': id,
    snapshots: [...metadata.snapshots, snapshot],
    'snapshot-log': [
      ...metadata['snapshot-log'],
      { 'timestamp-ms': snapshot['timestamp-ms'], 'snapshot-id': id },
    ],
    refs: { ...metadata.refs, main: { ...metadata.refs.main, 'snapshot-id': id, type: 'branch' } },
  };
};

/** The metadata of the version after `base`. Times never go back, whatever the clock does: readers check. */
export const nextMetadata = (base: TableMetadata, change: MetadataChange): TableMetadata => {
  const logged = [
    ...base['metadata-log'],
    { 'timestamp-ms': base['last-updated-ms'], 'metadata-file': change.baseFile },
  ];
  const laidOut = withSort(withSpec(withColumns(base, change.columns), change.partitioning), change.sort);
  const changed = withSnapshot(laidOut, change.snapshot);
  const next: TableMetadata = {
    ...changed,
    'last-updated-ms': Math.max(change.nowMs, base['last-updated-ms']),
    'metadata-log': logged.slice(-METADATA_LOG_LENGTH),
    properties: { ...change.properties },
  };
  return change.expire === null ? next : expire(next, change.expire, change.nowMs);
};
