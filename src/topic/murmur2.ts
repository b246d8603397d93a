// Owns which partition a key belongs to: as Kafka's default partitioner has it, so that other producers and
// stream processors agree. Knows no topic.

const SEED = 0x9747b28c;
const MIX = 0x5bd1e995;

/** Kafka's murmur2 of the bytes from `start` to before `end`, as a signed 32-bit integer. */
export const murmur2 = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let hash = SEED ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const mixed = Math.imul(word, MIX);
    hash = Math.imul(hash, MIX) ^ Math.imul(mixed ^ (mixed >>> 24), MIX);
  }
  if (at < end) {
    for (let shift = 0; at < end; at++, shift += 8) hash ^= bytes[at]! << shift;
    hash = Math.imul(hash, MIX);
  }
  hash = Math.imul(hash ^ (hash >>> 13), MIX);
  return hash ^ (hash >>> 15);
};

/** Partition, from 0, of a serialized key, its frame included: the first `length` bytes. */
export const partitionOf = (key: Uint8Array, length: number, partitions: number): number =>
  (murmur2(key, 0, length) & 0x7fff_ffff) % partitions;
