// Owns geometric values: PostgreSQL's own shapes and PostGIS to the structs that Debezium has for them, with
// WKB inside. Knows no column. Shapes: https://www.postgresql.org/docs/current/datatype-geometric.html; WKB:
// OGC 06-103r4, 8.2.
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import { type Fail, type MakeEncoder, readText } from './encode-scan.ts';
import { hexByte } from './encode-text.ts';

const NUMBER = /-?(?:Infinity|NaN|\d+(?:\.\d+)?(?:e[+-]?\d+)?)/g;

const readNumbers = (text: string): number[] => (text.match(NUMBER) ?? []).map(Number);

/** WKB geometry types. */
const POINT = 1;
const LINE_STRING = 2;
const POLYGON = 3;

const NULL_BRANCH = 0;
const VALUE_BRANCH = 2;

/** Little-endian WKB; a polygon is one ring. `numbers`: x and y by turns. */
const wkb = (type: number, numbers: readonly number[]): Uint8Array => {
  const out = new ByteWriter(32 + numbers.length * 8);
  const uint32 = (value: number): void => {
    out.ensure(4);
    out.view.setUint32(out.pos, value, true);
    out.pos += 4;
  };
  out.byte(1);
  uint32(type);
  if (type === POLYGON) uint32(1);
  if (type !== POINT) uint32(numbers.length / 2);
  for (const number of numbers) out.double(number);
  return out.bytes.subarray(0, out.pos);
};

const writePoint = (out: ByteWriter, x: number, y: number): void => {
  out.double(x);
  out.double(y);
  out.byte(VALUE_BRANCH);
  out.prefixed(wkb(POINT, [x, y]));
  out.byte(NULL_BRANCH);
};

/** A Geometry struct without reference system; `extensions` say what the shape was. */
const writeShape = (out: ByteWriter, form: Uint8Array, extensions: readonly [string, string][]): void => {
  out.prefixed(form);
  out.byte(NULL_BRANCH);
  out.byte(VALUE_BRANCH);
  out.long(extensions.length);
  for (const pair of extensions) for (const text of pair) out.text(text);
  out.byte(0);
};

type Write = (out: ByteWriter, numbers: readonly number[], text: string) => boolean;

const shape =
  (pattern: RegExp, write: Write): MakeEncoder =>
  (fail: Fail) =>
  (bytes, start, end, out) => {
    const text = readText(bytes, start, end);
    const numbers = readNumbers(text);
    // What is left of the text without its numbers tells a whole shape from a broken one.
    if (!pattern.test(text.replace(NUMBER, '#'))) fail();
    return write(out, numbers, text);
  };

export const encodePoint = shape(/^\(#,#\)$/, (out, [x = 0, y = 0]) => {
  writePoint(out, x, y);
  return true;
});

/** `{A,B,C}` of Ax + By + C = 0. */
export const encodeLine = shape(/^\{#,#,#\}$/, (out, numbers) => {
  for (const number of numbers) out.double(number);
  return true;
});

export const encodeSegment = shape(/^\[\(#,#\),\(#,#\)\]$/, (out, numbers) => {
  writeShape(out, wkb(LINE_STRING, numbers), [['type', 'lseg']]);
  return true;
});

/** Two opposite corners become a closed ring of five points that starts at the first. */
export const encodeBox = shape(/^\(#,#\),\(#,#\)$/, (out, [x1 = 0, y1 = 0, x2 = 0, y2 = 0]) => {
  writeShape(out, wkb(POLYGON, [x1, y1, x1, y2, x2, y2, x2, y1, x1, y1]), [['type', 'box']]);
  return true;
});

export const encodePath = shape(/^(\[\(#,#\)(,\(#,#\))*\]|\(\(#,#\)(,\(#,#\))*\))$/, (out, numbers, text) => {
  const extensions: [string, string][] = [
    ['type', 'path'],
    ['closed', String(text.startsWith('('))],
  ];
  writeShape(out, wkb(LINE_STRING, numbers), extensions);
  return true;
});

/**
 * WKB closes its rings. A polygon whose last point is its first already looks the same with and without it.
 */
export const encodePolygon = shape(/^\(\(#,#\)(,\(#,#\))*\)$/, (out, numbers) => {
  const [x = 0, y = 0] = numbers;
  const isClosed = numbers.length > 2 && numbers.at(-2) === x && numbers.at(-1) === y;
  const ring = isClosed || numbers.length === 2 ? numbers : [...numbers, x, y];
  writeShape(out, wkb(POLYGON, ring), [['type', 'polygon']]);
  return !isClosed;
});

export const encodeCircle = shape(/^<\(#,#\),#>$/, (out, [x = 0, y = 0, radius = 0]) => {
  writePoint(out, x, y);
  out.double(radius);
  return true;
});

/** EWKB: this bit of the type says that a reference system follows. */
const HAS_SRID = 0x2000_0000;

/**
 * PostGIS prints hexadecimal EWKB; its bytes are kept whole, and the reference system is read out of them.
 */
export const encodeEwkb =
  (hasExtensions: boolean): MakeEncoder =>
  (fail) =>
  (bytes, start, end, out) => {
    const size = (end - start) / 2;
    if (size < 5 || !Number.isInteger(size)) fail();
    const form = new Uint8Array(size);
    for (let at = 0; at < size; at++) {
      const byte = hexByte(bytes, start + at * 2);
      if (byte < 0) fail();
      form[at] = byte;
    }
    const view = new DataView(form.buffer);
    const isLittle = form[0] === 1;
    const hasSrid = (view.getUint32(1, isLittle) & HAS_SRID) !== 0;
    if (hasSrid && size < 9) fail();
    out.prefixed(form);
    out.byte(hasSrid ? VALUE_BRANCH : NULL_BRANCH);
    if (hasSrid) out.long(view.getInt32(5, isLittle));
    if (hasExtensions) out.byte(NULL_BRANCH);
    return true;
  };
