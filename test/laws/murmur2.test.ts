// Which partition a key belongs to, against another implementation and what Kafka's own tests expect.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import fc from 'fast-check';
import { murmur2, partitionOf } from '../../src/topic/murmur2.ts';

const require = createRequire(import.meta.url);
const theirs = require('kafkajs/src/producer/partitioners/default/murmur2.js') as (key: Buffer) => number;

test('the hash is the one of kafkajs, for keys of any length and at any place of a buffer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(9), (key, shift) => {
      const shifted = new Uint8Array(shift + key.length + 3).fill(0xaa);
      shifted.set(key, shift);
      assert.equal(murmur2(shifted, shift, shift + key.length), theirs(Buffer.from(key)));
    }),
    { numRuns: 2000 },
  );
});

test('the hash is the one that Kafka’s own tests expect', () => {
  // org.apache.kafka.common.utils.UtilsTest.testMurmur2
  const known: readonly (readonly [string, number])[] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ];
  for (const [text, hash] of known) assert.equal(murmur2(new TextEncoder().encode(text)), hash, text);
});

test('a partition is never below 0, and only the key’s own bytes count', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 1000 }), (key, partitions) => {
      const expected = (theirs(Buffer.from(key)) & 0x7fffffff) % partitions;
      const longer = new Uint8Array([...key, 1, 2, 3]);
      assert.equal(partitionOf(longer, key.length, partitions), expected);
    }),
  );
});
