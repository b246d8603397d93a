// Owns which bucket a key lies in, and which files can hold its rows. Knows no row.
import type { EngineValue } from '../columns-value.ts';
import { type BucketValue, bucketHash, bucketOf } from '../iceberg/bucket.ts';
import { bucketsOf } from '../iceberg/partition.ts';
import type { IcebergField, IcebergPrimitive, PartitionSpec } from '../iceberg-type.ts';
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

/** The hash that buckets are cut from, without its sign; null for null. */
export const hashOfValue = (type: IcebergPrimitive, value: EngineValue): number | null =>
  value === null ? null : bucketHash(type, bucketValue(type, value)) & 0x7fffffff;

type Cut = { sourceId: number; count: number; at: number };

/** How files of a spec are cut by key: null for one that does not cut. */
const cutOf = (spec: PartitionSpec | undefined): Cut | null => {
  for (const [at, { transform, sourceId }] of (spec?.fields ?? []).entries()) {
    const count = bucketsOf(transform);
    if (count !== null) return { sourceId, count, at };
  }
  return null;
};

/** Gives the bucket of a key's rows, null for a table without buckets. */
export const keyBucket = (
  key: readonly IcebergField[],
  { spec }: Pick<TableFiles, 'spec'>,
): ((touched: Pick<TouchedKey, 'values'>) => number | null) => {
  const cut = cutOf(spec);
  const at = key.findIndex(({ id }) => id === cut?.sourceId);
  const field = key[at];
  if (cut === null || field === undefined) return () => null;
  return ({ values }) => bucketOfValue(field, values[at] ?? null, cut.count);
};

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

/**
 * Keeps the files that can hold rows of these buckets of the table's own spec. Of a file with another count
 * of buckets, only the remainder by what the two have in common is known.
 */
export const inBuckets = (
  { spec, specs }: Pick<TableFiles, 'spec' | 'specs'>,
  buckets: ReadonlySet<number | null>,
): ((file: SourceFile) => boolean) => {
  const own = cutOf(spec);
  const remainders = new Map<number, ReadonlySet<number>>();
  const wanted = (divisor: number): ReadonlySet<number> => {
    const known = remainders.get(divisor) ?? new Set([...buckets].map((bucket) => (bucket ?? 0) % divisor));
    remainders.set(divisor, known);
    return known;
  };
  return ({ specId, partition }) => {
    const cut = cutOf(specId === spec.specId ? spec : specs.find((one) => one.specId === specId));
    const bucket = cut === null ? null : partition[cut.at];
    if (own === null || cut?.sourceId !== own.sourceId || typeof bucket !== 'number') return true;
    const divisor = commonDivisor(own.count, cut.count);
    return wanted(divisor).has(bucket % divisor);
  };
};

/** Keeps the files that can hold rows of these keys. */
export const bucketFilter = (request: Pick<TableFiles, 'spec' | 'specs'>, fields: TableFields) => {
  const bucketOf = keyBucket(fields.key, request);
  return (keys: readonly TouchedKey[]) => inBuckets(request, new Set(keys.map(bucketOf)));
};
