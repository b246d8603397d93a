// Owns CRC-32C (Castagnoli), the checksum of Kafka's record batches,
// https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4 Slicing-by-8: one table a byte position, so that eight
// look-ups do not wait for each other. Read as little-endian words, which is what every platform that Node
// runs on has.

const POLYNOMIAL = 0x82f63b78;

/** Eight tables of 256, one behind the other. */
const T = new Int32Array(8 * 256);

for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  T[byte] = crc;
}
for (let at = 256; at < T.length; at++) T[at] = (T[at - 256]! >>> 8) ^ T[T[at - 256]! & 0xff]!;

const NO_WORDS = new Int32Array(0);

/**
 * Unsigned checksum of `bytes[start, end)`; `before` is the checksum of what came ahead of them, 0 at the
 * start.
 */
export const crc32c = (bytes: Uint8Array, start = 0, { end = bytes.length, before = 0 } = {}): number => {
  let crc = ~before;
  let at = start;
  // A view of words has to begin at a multiple of four, even an empty one.
  const aligned = Math.min(end, at + (-(bytes.byteOffset + at) & 3));
  while (at < aligned) crc = (crc >>> 8) ^ T[(crc ^ bytes[at++]!) & 0xff]!;
  const words = at < end ? new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2) : NO_WORDS;
  let word = 0;
  for (const last = words.length - 1; word < last; word += 2) {
    const low = crc ^ words[word]!;
    const high = words[word + 1]!;
    crc =
      T[1792 + (low & 0xff)]! ^
      T[1536 + ((low >>> 8) & 0xff)]! ^
      T[1280 + ((low >>> 16) & 0xff)]! ^
      T[1024 + (low >>> 24)]! ^
      T[768 + (high & 0xff)]! ^
      T[512 + ((high >>> 8) & 0xff)]! ^
      T[256 + ((high >>> 16) & 0xff)]! ^
      T[high >>> 24]!;
  }
  at += word * 4;
  while (at < end) crc = (crc >>> 8) ^ T[(crc ^ bytes[at++]!) & 0xff]!;
  return ~crc >>> 0;
};
