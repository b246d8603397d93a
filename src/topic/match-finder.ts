// Owns finding what repeats in bytes, for the codecs that say "as 100 bytes ago": lz4 and snappy. Knows
// neither format.

/** Called for a stretch without match and the match behind it; `length` 0: nothing matches to the end. */
type VisitMatch = (literals: number, matchAt: number, match: { offset: number; length: number }) => void;

const HASH_BITS = 14;
const MIN_MATCH = 4;
const MAX_OFFSET = 0xffff;
/** Both formats end in literals; in lz4 no match begins in the last 12 bytes or covers the last 5. */
const LAST_MATCH_BEGINS = 12;
const LAST_LITERALS = 5;
/** The longer nothing matches, the larger the steps: what is random is passed over quickly. */
const SKIP_SHIFT = 6;

const table = new Int32Array(1 << HASH_BITS);

const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

/** Greedy, offsets up to 65535, only within `start` to before `end`. */
export const findMatches = (bytes: Uint8Array, { start, end }: Range, visit: VisitMatch): void => {
  table.fill(-1);
  const match = { offset: 0, length: 0 };
  const lastBegin = end - LAST_MATCH_BEGINS;
  const lastByte = end - LAST_LITERALS;
  let literals = start;
  let misses = 1 << SKIP_SHIFT;
  for (let at = start; at <= lastBegin; ) {
    const word = wordAt(bytes, at);
    const place = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
    const candidate = table[place]!;
    table[place] = at;
    if (candidate < 0 || at - candidate > MAX_OFFSET || wordAt(bytes, candidate) !== word) {
      at += misses++ >> SKIP_SHIFT;
      continue;
    }
    let to = at + MIN_MATCH;
    for (let from = candidate + MIN_MATCH; to < lastByte && bytes[from] === bytes[to]; from++) to++;
    match.offset = at - candidate;
    match.length = to - at;
    visit(literals, at, match);
    literals = at = to;
    misses = 1 << SKIP_SHIFT;
  }
  match.length = 0;
  visit(literals, end, match);
};

export type Range = { start: number; end: number };

/** Repeats `length` bytes from `offset` bytes before `at`; they may overlap. Throws a RangeError beyond. */
export const copyMatch = (
  out: Uint8Array,
  at: number,
  { offset, length }: { offset: number; length: number },
) => {
  if (offset === 0 || offset > at || at + length > out.length)
    throw new RangeError('a match is out of bounds');
  if (offset >= length) out.copyWithin(at, at - offset, at - offset + length);
  else for (let to = at; to < at + length; to++) out[to] = out[to - offset]!;
};
