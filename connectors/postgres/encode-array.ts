// Owns arrays, vectors and hstore: PostgreSQL's nested text forms. Knows no item type; it is handed the
// item's encoder. Array text: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import type { EncodeValue } from '../../src/topic/prepared-table.ts';
import { readFloat } from './encode-number.ts';
import {
  BACKSLASH,
  CLOSE_BRACE,
  COMMA,
  EQUALS,
  type Fail,
  type MakeEncoder,
  matches,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  readText,
  SPACE,
} from './encode-scan.ts';

/** Union branch of an item's own type; null is branch 0. */
const ITEM_BRANCH = 2;

/** Walks the tokens of one text: bare words, and quoted ones with their backslashes undone. */
class Tokens {
  readonly #unescaped = new ByteWriter(64);
  /** The token's bytes. */
  bytes: Uint8Array = this.#unescaped.bytes;
  start = 0;
  end = 0;
  isQuoted = false;

  /** Reads the token at `at`; gives the offset behind it. A bare word ends before `stop` or `limit`. */
  read(
    bytes: Uint8Array,
    at: number,
    { stop, limit, fail }: { stop: number; limit: number; fail: Fail },
  ): number {
    this.isQuoted = bytes[at] === QUOTE;
    this.bytes = bytes;
    this.start = this.isQuoted ? at + 1 : at;
    let next = this.start;
    const last = this.isQuoted ? QUOTE : stop;
    while (next < limit && bytes[next] !== last && bytes[next] !== BACKSLASH) next++;
    this.end = next;
    if (bytes[next] === BACKSLASH && next < limit) next = this.#unescape(bytes, next, { last, limit });
    if (!this.isQuoted) return next;
    if (next >= limit) fail();
    return next + 1;
  }

  #unescape(bytes: Uint8Array, from: number, { last, limit }: { last: number; limit: number }): number {
    const out = this.#unescaped;
    out.pos = 0;
    out.raw(bytes, this.start, from);
    let at = from;
    for (; at < limit && bytes[at] !== last; at++) {
      if (bytes[at] === BACKSLASH) at++;
      out.byte(bytes[at]!);
    }
    this.bytes = out.bytes;
    this.start = 0;
    this.end = out.pos;
    return at;
  }
}

type Items = { item: EncodeValue; delimiter: number };

const countItems = (bytes: Uint8Array, start: number, end: number, delimiter: number): number => {
  let count = 1;
  let isQuoted = false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) isQuoted = !isQuoted;
    else if (byte === delimiter && !isQuoted) count++;
  }
  return count;
};

/**
 * One-dimensional arrays of nullable items. Not held: more dimensions (an empty array stands in), lower
 * bounds other than 1 (the items stand in), and whatever an item cannot hold.
 */
export const encodeArray = ({ item, delimiter }: Items, fail: Fail): EncodeValue => {
  const tokens = new Tokens();
  return (bytes, start, end, out) => {
    const hasBounds = bytes[start] === OPEN_BRACKET;
    let at = hasBounds ? bytes.indexOf(EQUALS, start) + 1 : start;
    const limit = end - 1;
    if (at < start || bytes[at++] !== OPEN_BRACE || limit < at || bytes[limit] !== CLOSE_BRACE) fail();
    if (at === limit || bytes[at] === OPEN_BRACE) {
      out.byte(0);
      return at === limit && !hasBounds;
    }
    out.long(countItems(bytes, at, limit, delimiter));
    let isExact = !hasBounds;
    for (;;) {
      at = tokens.read(bytes, at, { stop: delimiter, limit, fail });
      if (!tokens.isQuoted && tokens.start === tokens.end) fail();
      if (!tokens.isQuoted && matches('NULL', tokens.bytes, tokens.start, tokens.end)) out.byte(0);
      else {
        out.byte(ITEM_BRANCH);
        if (!item(tokens.bytes, tokens.start, tokens.end, out)) isExact = false;
      }
      if (at === limit) break;
      if (bytes[at++] !== delimiter) fail();
    }
    out.byte(0);
    return isExact;
  };
};

/** pgvector's `[1,2.5]`; items are never null. */
export const encodeVector =
  (write: 'float' | 'double'): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    const text = readText(bytes, start, end);
    if (!text.startsWith('[') || !text.endsWith(']')) fail();
    const count = end - start === 2 ? 0 : countItems(bytes, start + 1, end - 1, COMMA);
    if (count > 0) out.long(count);
    let at = start + 1;
    for (let i = 0; i < count; i++) {
      let next = at;
      while (next < end - 1 && bytes[next] !== COMMA) next++;
      out[write](readFloat(bytes, at, next, fail));
      at = next + 1;
    }
    out.byte(0);
    return true;
  };

const tokenText = (tokens: Tokens): string => readText(tokens.bytes, tokens.start, tokens.end);

/** hstore's pairs in the order of the source's text; `value` null where the source has NULL. */
const readPairs =
  (fail: Fail) =>
  (bytes: Uint8Array, start: number, end: number, tokens: Tokens): [key: string, value: string | null][] => {
    const pairs: [string, string | null][] = [];
    for (let at = start; at < end; ) {
      at = tokens.read(bytes, at, { stop: EQUALS, limit: end, fail });
      const key = tokenText(tokens);
      if (!matches('=>', bytes, at, at + 2)) fail();
      at = tokens.read(bytes, at + 2, { stop: COMMA, limit: end, fail });
      if (!tokens.isQuoted && tokens.start === tokens.end) fail();
      const isNull = !tokens.isQuoted && matches('NULL', tokens.bytes, tokens.start, tokens.end);
      pairs.push([key, isNull ? null : tokenText(tokens)]);
      if (at < end && (bytes[at] !== COMMA || bytes[at + 1] !== SPACE)) fail();
      at += 2;
    }
    return pairs;
  };

/** hstore as a JSON object of strings and nulls. */
export const encodeHstore: MakeEncoder = (fail) => {
  const tokens = new Tokens();
  const read = readPairs(fail);
  return (bytes, start, end, out) => {
    const members = read(bytes, start, end, tokens).map(
      ([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`,
    );
    out.text(`{${members.join(',')}}`);
    return true;
  };
};

/** hstore as a map of nullable strings. */
export const encodeHstoreMap: MakeEncoder = (fail) => {
  const tokens = new Tokens();
  const read = readPairs(fail);
  return (bytes, start, end, out) => {
    const pairs = read(bytes, start, end, tokens);
    if (pairs.length > 0) out.long(pairs.length);
    for (const [key, value] of pairs) {
      out.text(key);
      out.byte(value === null ? 0 : ITEM_BRANCH);
      if (value !== null) out.text(value);
    }
    out.byte(0);
    return true;
  };
};
