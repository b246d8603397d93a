// Owns table metadata as JSON: shape, exact numbers (ids of other writers have 63 bits), what a version says.
// Pure. What it does not know it keeps. https://iceberg.apache.org/spec/#table-metadata-fields
import { z } from 'zod';
import { VarveError } from '../../../errors.ts';
import type { IcebergField, IcebergType, PartitionSpec } from '../iceberg-type.ts';
import { partitionType } from './partition.ts';
import { sortOrderShape } from './sort-order.ts';

/** Beyond 2^53 a bigint: convert with BigInt() or Number(), never compare. */
const long = z.union([z.int(), z.bigint()]);
const text = z.record(z.string(), z.string());

const snapshotShape = z.looseObject({
  'snapshot-id': long,
  'parent-snapshot-id': long.nullish(),
  'sequence-number': z.int(),
  'timestamp-ms': z.int(),
  'manifest-list': z.string(),
  summary: text.default({}),
  'schema-id': z.int().nullish(),
});

const typeShape: z.ZodType<IcebergType> = z.union([
  z.string() as unknown as z.ZodType<Extract<IcebergType, string>>,
  z.looseObject({
    type: z.literal('list'),
    'element-id': z.int(),
    element: z.string() as unknown as z.ZodType<Extract<IcebergType, string>>,
    'element-required': z.boolean(),
  }),
]);

const metadataShape = z.looseObject({
  'format-version': z.literal(2),
  'table-uuid': z.string(),
  location: z.string(),
  'last-sequence-number': z.int(),
  'last-updated-ms': z.int(),
  'last-column-id': z.int(),
  'current-schema-id': z.int(),
  schemas: z.array(
    z.looseObject({
      'schema-id': z.int(),
      fields: z.array(
        z.looseObject({ id: z.int(), name: z.string(), required: z.boolean(), type: typeShape }),
      ),
    }),
  ),
  'default-spec-id': z.int(),
  'partition-specs': z.array(
    z.looseObject({
      'spec-id': z.int(),
      fields: z.array(
        z.looseObject({ 'source-id': z.int(), 'field-id': z.int(), name: z.string(), transform: z.string() }),
      ),
    }),
  ),
  'last-partition-id': z.int(),
  'default-sort-order-id': z.int(),
  'sort-orders': z.array(sortOrderShape),
  properties: text.default({}),
  'current-snapshot-id': long.nullish(),
  snapshots: z.array(snapshotShape).default([]),
  'snapshot-log': z.array(z.looseObject({ 'timestamp-ms': z.int(), 'snapshot-id': long })).default([]),
  'metadata-log': z
    .array(z.looseObject({ 'timestamp-ms': z.int(), 'metadata-file': z.string() }))
    .default([]),
  refs: z.record(z.string(), z.looseObject({ 'snapshot-id': long, type: z.string() })).default({}),
  statistics: z.array(z.looseObject({ 'snapshot-id': long })).optional(),
  'partition-statistics': z.array(z.looseObject({ 'snapshot-id': long })).optional(),
});

export type TableMetadata = z.infer<typeof metadataShape>;
export type Snapshot = z.infer<typeof snapshotShape>;

/** `JSON.rawJSON` and the reviver's source text are newer than the compiler's library. */
type ExactJson = {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};
const exact = JSON as unknown as ExactJson;

/** JSON.parse rounds whole numbers beyond 2^53 without a word; here they become bigint. */
export const parseExact = (json: string): unknown =>
  exact.parse(json, (_, value, { source }) =>
    typeof value === 'number' &&
    !Number.isSafeInteger(value) &&
    source !== undefined &&
    /^-?[0-9]+$/.test(source)
      ? BigInt(source)
      : value,
  );

/** Any JSON, with bigint as whole numbers. */
export const printExact = (value: unknown): string =>
  JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? exact.rawJSON(String(item)) : item));

export const printMetadata = (metadata: TableMetadata): Uint8Array => Buffer.from(printExact(metadata));

/** Throws table_foreign for another format version, table_corrupt for anything that is not whole metadata. */
export const parseMetadata = (bytes: Uint8Array, uri: string): TableMetadata => {
  let json: unknown;
  try {
    json = parseExact(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new VarveError('table_corrupt', `${uri} is not JSON; restore it or the version before it.`, {
      facts: { file: uri },
      cause,
    });
  }
  return checkMetadata(json, uri);
};

/** The same of what `parseExact` gave. `from`: what it was read from. */
export const checkMetadata = (json: unknown, from: string): TableMetadata => {
  const facts = { file: from };
  const version = (json as { 'format-version'?: unknown } | null)?.['format-version'];
  if (typeof version === 'number' && version !== 2)
    throw new VarveError(
      'table_foreign',
      `${from} has Iceberg format version ${version}; Varve writes version 2.`,
      { facts },
    );
  const found = metadataShape.safeParse(json);
  if (found.success) return found.data;
  const where = found.error.issues[0]?.path.join('.') ?? '';
  throw new VarveError('table_corrupt', `${from} is not Iceberg table metadata (at ${where}).`, { facts });
};

/** Positive, random, below 2^53 so that every JSON parser keeps it. `uuid` gives fresh ones. */
export const freshSnapshotId = (uuid: () => string): bigint =>
  BigInt.asUintN(52, BigInt(`0x${uuid().replaceAll('-', '')}`)) + 1n;

/** Names the file that this version is, so that a writer whose answer was lost knows its own work. */
export const COMMIT_UUID = 'varve.commit-uuid';

export const currentFields = (metadata: TableMetadata): readonly IcebergField[] => {
  const schema = metadata.schemas.find((one) => one['schema-id'] === metadata['current-schema-id']);
  if (schema) return schema.fields;
  throw new VarveError(
    'table_corrupt',
    `${metadata.location} has no schema ${metadata['current-schema-id']}.`,
  );
};

/** Every spec that files may have. Throws table_foreign for transforms that Varve cannot compute. */
export const partitionSpecs = (metadata: TableMetadata): readonly PartitionSpec[] =>
  metadata['partition-specs'].map((spec) => ({
    specId: spec['spec-id'],
    fields: spec.fields.map((field) => {
      if (partitionType(field.transform, columnType(metadata, field['source-id'])) === null)
        throw new VarveError(
          'table_foreign',
          `${metadata.location} is partitioned by ${field.transform} of ${field.name}, which is not Varve's.`,
          { facts: { transform: field.transform } },
        );
      const { 'field-id': fieldId, 'source-id': sourceId, name, transform } = field;
      return { fieldId, sourceId, name, transform };
    }),
  }));

/** Type of a column by its field id, dropped ones included. */
export const columnType = (metadata: TableMetadata, id: number): IcebergType => {
  for (const schema of metadata.schemas.toReversed()) {
    const field = schema.fields.find((one) => one.id === id);
    if (field) return field.type;
  }
  throw new VarveError('table_corrupt', `${metadata.location} has no column with the field id ${id}.`);
};

export const snapshotById = (metadata: TableMetadata, id: bigint): Snapshot | null =>
  metadata.snapshots.find((snapshot) => BigInt(snapshot['snapshot-id']) === id) ?? null;

/** The snapshot that main stands on; null for a table without any (-1 by older writers). */
export const currentSnapshot = (metadata: TableMetadata): Snapshot | null => {
  const id = BigInt(metadata['current-snapshot-id'] ?? -1);
  if (id === -1n) return null;
  const found = snapshotById(metadata, id);
  if (found) return found;
  throw new VarveError(
    'table_corrupt',
    `${metadata.location} stands on a snapshot ${id} that its metadata does not hold.`,
  );
};

/** The current snapshot and its ancestors as far as they are kept, newest first. */
export function* ancestry(metadata: TableMetadata): Generator<Snapshot> {
  const seen = new Set<bigint>();
  for (let at = currentSnapshot(metadata); at !== null; ) {
    const id = BigInt(at['snapshot-id']);
    if (seen.has(id)) return;
    seen.add(id);
    yield at;
    const parent: number | bigint | null = at['parent-snapshot-id'] ?? null;
    at = parent === null ? null : snapshotById(metadata, BigInt(parent));
  }
}
