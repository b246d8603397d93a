// Owns Iceberg's bucket transform: murmur3 over the spec's byte form of each type. Pure.
// https://iceberg.apache.org/spec/#bucket-transform-details and appendix B.
import { VarveError } from '../../../errors.ts';
import type { IcebergPrimitive, IcebergType } from '../iceberg-type.ts';
import { unscaledBytes } from './single-value.ts';

const utf8 = new TextEncoder();
const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
const mix = (block: number): number => Math.imul(rotate(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);

/** murmur3_x86_32 with seed 0, signed. */
export const murmur3 = (bytes: Uint8Array): number => {
  const whole = bytes.length & ~3;
  let hash = 0;
  for (let at = 0; at < whole; at += 4) {
    const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash = (Math.imul(rotate(hash ^ mix(block), 13), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = bytes.length - 1; at >= whole; at--) tail = (tail << 8) | bytes[at]!;
  if (whole < bytes.length) hash ^= mix(tail);
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
};

const longBytes = new Uint8Array(8);
const longView = new DataView(longBytes.buffer);
const hashLong = (value: bigint): number => {
  longView.setBigInt64(0, value, true);
  return murmur3(longBytes);
};

/**
 * A value to hash: int, long, date (days), time, timestamp and timestamptz (microseconds) as integers,
 * decimals as their unscaled integer, strings as text, uuid and binary as bytes.
 */
export type BucketValue = bigint | string | Uint8Array;

/** Types that `bucket` takes; the others (boolean, float, double, list) cannot be a bucket column. */
export const canBucket = (type: IcebergType): boolean =>
  typeof type === 'string' && type !== 'boolean' && type !== 'float' && type !== 'double';

/** The spec's 32-bit hash, signed. Throws internal when the value's form does not fit the type. */
export const bucketHash = (type: IcebergPrimitive, value: BucketValue): number => {
  if (typeof value === 'string' && type === 'string') return murmur3(utf8.encode(value));
  if (value instanceof Uint8Array && (type === 'binary' || type === 'uuid')) return murmur3(value);
  if (typeof value === 'bigint' && canBucket(type) && !/^(string|binary|uuid)$/.test(type))
    return type.startsWith('decimal') ? murmur3(unscaledBytes(value)) : hashLong(value);
  throw new VarveError('internal', `A ${typeof value} cannot be hashed as Iceberg ${type}.`);
};

/** bucket[count]: 0 .. count-1, null for null. */
export const bucketOf = (type: IcebergPrimitive, value: BucketValue | null, count: number): number | null =>
  value === null ? null : (bucketHash(type, value) & 0x7fffffff) % count;
