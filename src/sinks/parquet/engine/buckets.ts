// Owns which bucket a key lies in, and which files can hold its rows. Knows no row.
import type { EngineValue } from '../columns-value.ts';
import { type BucketValue, bucketOf } from '../iceberg/bucket.ts';
import type { IcebergField, IcebergPrimitive } from '../iceberg-type.ts';
import { bucketOfFile } from './live-files.ts';
import type { SourceFile, TableFiles } from './protocol.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKey } from './touched-keys.ts';

const bucketValue = (type: IcebergPrimitive, value: EngineValue): BucketValue => {
  if (type === 'uuid') return new Uint8Array(Buffer.from((value as string).replaceAll('-', ''), 'hex'));
  return typeof value === 'number' ? BigInt(value) : (value as BucketValue);
};

/** The bucket of a value of a key column. */
const bucketOfValue = ({ type }: IcebergField, value: EngineValue, count: number): number =>
  bucketOf(type as IcebergPrimitive, bucketValue(type as IcebergPrimitive, value), count) ?? 0;

/** How a table is cut by key: null for one that is not. */
const bucketing = (
  { fields }: { fields: readonly IcebergField[] },
  { spec }: Pick<TableFiles, 'spec'>,
): { field: IcebergField; count: number } | null => {
  for (const { transform, sourceId } of spec.fields) {
    const count = /^bucket\[([0-9]+)\]$/.exec(transform)?.[1];
    const field = fields.find(({ id }) => id === sourceId);
    if (count !== undefined && field !== undefined) return { field, count: Number(count) };
  }
  return null;
};

/** Gives the bucket of a key's rows, null for a table without buckets. */
export const keyBucket = (
  key: readonly IcebergField[],
  request: Pick<TableFiles, 'spec'>,
): ((touched: Pick<TouchedKey, 'values'>) => number | null) => {
  const bucket = bucketing({ fields: key }, request);
  if (bucket === null) return () => null;
  const at = key.indexOf(bucket.field);
  return ({ values }) => bucketOfValue(bucket.field, values[at] ?? null, bucket.count);
};

/** Keeps the files that can hold rows of these buckets. Those of another spec have buckets of their own. */
export const inBuckets =
  ({ spec }: Pick<TableFiles, 'spec'>, buckets: ReadonlySet<number | null>) =>
  (file: SourceFile): boolean =>
    file.specId !== spec.specId || buckets.has(bucketOfFile(file));

/** Keeps the files that can hold rows of these keys. */
export const bucketFilter = (request: Pick<TableFiles, 'spec'>, fields: TableFields) => {
  const bucketOf = keyBucket(fields.key, request);
  return (keys: readonly TouchedKey[]) => inBuckets(request, new Set(keys.map(bucketOf)));
};
