// The bucket transform against the values that the Iceberg specification publishes (appendix B), and its
// range.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type BucketValue,
  bucketHash,
  bucketOf,
  canBucket,
  murmur3,
} from '../../src/sinks/parquet/iceberg/bucket.ts';
import type { IcebergPrimitive } from '../../src/sinks/parquet/iceberg-type.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll('-', ''), 'hex');
const micros = (iso: string): bigint => BigInt(Date.parse(iso)) * 1000n;

const PUBLISHED: readonly [type: IcebergPrimitive, value: BucketValue, hash: number][] = [
  ['int', 34n, 2017239379],
  ['long', 34n, 2017239379],
  ['decimal(9, 2)', 1420n, -500754589],
  ['date', BigInt(Date.parse('2017-11-16') / 86_400_000), -653330422],
  ['time', 81_068_000_000n, -662762989],
  ['timestamp', micros('2017-11-16T22:31:08Z'), -2047944441],
  ['timestamp', micros('2017-11-16T22:31:08Z') + 1n, -1207196810],
  ['timestamptz', micros('2017-11-16T14:31:08-08:00'), -2047944441],
  ['timestamptz', micros('2017-11-16T14:31:08-08:00') + 1n, -1207196810],
  ['string', 'iceberg', 1210000089],
  ['uuid', hex('f79c3e09-677c-4bbd-a479-3f349cb785e7'), 1488055340],
  ['binary', hex('00010203'), -188683207],
];

for (const [type, value, hash] of PUBLISHED)
  test(`the hash of ${type} is the published one`, () => {
    assert.equal(bucketHash(type, value), hash);
    assert.equal(bucketOf(type, value, 16), (hash & 0x7fffffff) % 16);
  });

test('strings hash by their UTF-8, however long the rest is', () => {
  for (let length = 0; length < 9; length++) {
    const text = 'жд€'.repeat(3).slice(0, length);
    assert.equal(bucketHash('string', text), murmur3(Buffer.from(text)));
  }
  assert.notEqual(murmur3(Uint8Array.of(0)), murmur3(Uint8Array.of(0, 0)));
});

test('null has no bucket, and every other value one in range', () => {
  assert.equal(bucketOf('long', null, 8), null);
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.integer({ min: 1, max: 1024 }),
      (value, count) => {
        const bucket = bucketOf('long', value, count);
        assert.ok(bucket !== null && bucket >= 0 && bucket < count);
      },
    ),
  );
});

test('int, long and date of one number share a bucket, so that a widened column stays where it is', () => {
  fc.assert(
    fc.property(fc.integer(), (value) => {
      assert.equal(bucketHash('int', BigInt(value)), bucketHash('long', BigInt(value)));
      assert.equal(bucketHash('decimal(9, 2)', BigInt(value)), bucketHash('decimal(38, 2)', BigInt(value)));
    }),
  );
});

test('what cannot be a bucket column is said', () => {
  for (const type of ['boolean', 'float', 'double'] as const) assert.equal(canBucket(type), false);
  assert.equal(
    canBucket({ type: 'list', 'element-id': 2, element: 'int', 'element-required': false }),
    false,
  );
  assert.equal(canBucket('uuid'), true);
  assert.throws(() => bucketHash('string', 5n));
  assert.throws(() => bucketHash('double', 5n));
});
