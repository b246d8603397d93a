// Owns what all value encoders share: how they refuse a text, and ASCII in byte ranges. Knows no type.
import type { EncodeValue } from '../../src/topic/prepared-table.ts';

/**
 * Called on a text that the server never writes for the type; throws an error that names table, column and
 * type.
 */
export type Fail = () => never;

export type MakeEncoder = (fail: Fail) => EncodeValue;

export const ZERO = 48;
export const MINUS = 45;
export const PLUS = 43;
export const DOT = 46;
export const COLON = 58;
export const COMMA = 44;
export const SPACE = 32;
export const QUOTE = 34;
export const BACKSLASH = 92;
export const OPEN_BRACE = 123;
export const CLOSE_BRACE = 125;
export const OPEN_BRACKET = 91;
export const EQUALS = 61;

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** A decoder call costs more than a short string of ASCII, which numbers are. */
const SHORT = 40;

/** The bytes as a string, by UTF-8. */
export const readText = (bytes: Uint8Array, start: number, end: number): string => {
  if (end - start > SHORT) return utf8.decode(bytes.subarray(start, end));
  let text = '';
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte > 0x7f) return utf8.decode(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
};

export const matches = (text: string, bytes: Uint8Array, start: number, end: number): boolean => {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
};

/**
 * 1 for `infinity`, -1 for `-infinity`, 0 for anything else: how dates, timestamps and intervals spell them.
 */
export const infinitySign = (bytes: Uint8Array, start: number, end: number): -1 | 0 | 1 => {
  if (matches('infinity', bytes, start, end)) return 1;
  return matches('-infinity', bytes, start, end) ? -1 : 0;
};

/** A run of digits as a number; at most 15 of them, so that the result is exact. Fails on anything else. */
export const readDigits = (bytes: Uint8Array, start: number, end: number, fail: Fail): number => {
  if (start >= end || end - start > 15) fail();
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) fail();
    value = value * 10 + digit;
  }
  return value;
};
