// Owns partition transforms: which ones Varve computes, the types of their values, comparing tuples. Pure.
// https://iceberg.apache.org/spec/#partition-transforms
import type { DataFile, IcebergPrimitive, IcebergType, PartitionSpec } from '../iceberg-type.ts';
import { canBucket } from './bucket.ts';

/** N of `bucket[N]`, null for any other transform. */
export const bucketsOf = (transform: string): number | null => {
  const count = /^bucket\[([1-9][0-9]*)\]$/.exec(transform)?.[1];
  return count === undefined ? null : Number(count);
};

const SOURCES: Readonly<Record<string, RegExp>> = {
  identity: /^(boolean|int|long|date|string)$/,
  day: /^(date|timestamp|timestamptz)$/,
  hour: /^(timestamp|timestamptz)$/,
};

/** The type of a transform's values; null: Varve does not compute it for such a column. */
export const partitionType = (transform: string, source: IcebergType): IcebergPrimitive | null => {
  if (typeof source !== 'string') return null;
  if (bucketsOf(transform) !== null) return canBucket(source) ? 'int' : null;
  if (SOURCES[transform]?.test(source) !== true) return null;
  if (transform === 'identity') return source;
  return transform === 'day' ? 'date' : 'int';
};

/** Equal for files of one partition of one spec. */
export const partitionKey = ({ specId, partition }: Pick<DataFile, 'specId' | 'partition'>): string =>
  // A number may come as bigint from a manifest that was written after its column had become wider.
  JSON.stringify([specId, ...partition.map((value) => (isNumeric(value) ? String(value) : value))]);

const isNumeric = (value: unknown): boolean => typeof value === 'number' || typeof value === 'bigint';

const sameField = (a: PartitionSpec['fields'][number], b: typeof a | undefined): boolean =>
  a.sourceId === b?.sourceId && a.transform === b.transform;

/** How many leading fields two specs have in common. */
export const commonFields = (one: PartitionSpec, other: PartitionSpec): number => {
  const differs = one.fields.findIndex((field, at) => !sameField(field, other.fields[at]));
  return differs < 0 ? one.fields.length : differs;
};
