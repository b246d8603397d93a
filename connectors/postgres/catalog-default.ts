// Owns which column defaults a schema can hold, in Debezium's form: literals, and a zero of the type where a
// function makes the value. Knows no catalog query; expressions come as the server prints them.
import type { ConnectDefault, ConnectType } from '../../src/change/schema.ts';
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import { type Fail, readText } from './encode-scan.ts';
import type { SourceType } from './type-map.ts';
import type { MappedType } from './type-modes.ts';

/** What stands for the value of a function, by type: the types that Debezium gives defaults at all. */
const FUNCTION_VALUE: Readonly<Record<string, string>> = {
  bool: 'f',
  int2: '0',
  int4: '0',
  int8: '0',
  numeric: '0',
  float4: '0',
  float8: '0',
  bpchar: '',
  varchar: '',
  text: '',
  xml: '',
  json: '{}',
  jsonb: '{}',
  uuid: '00000000-0000-0000-0000-000000000000',
  date: '1970-01-01',
  time: '00:00:00',
  timestamp: '1970-01-01 00:00:00',
  timestamptz: '1970-01-01 00:00:00+00',
  interval: 'PT0S',
};

const NO_FUNCTION_VALUE = new Set(['bit', 'varbit']);

const CALL = /^\(?[A-Za-z0-9_.]+\(.*\)/s;
const CLOCK = /^(current_timestamp|current_time|current_date|localtime|localtimestamp)$/i;
const LITERAL = /^(E|B)?'((?:[^']|'')*)'::[^()':]+(?:\(\d+(?:,-?\d+)?\))?$/s;
const BARE = /^-?[\d.]+(?:e[+-]?\d+)?$|^(?:true|false)$/i;

const literalText = (expression: string, typeName: string): string | null => {
  const quoted = LITERAL.exec(expression);
  if (quoted !== null) {
    const text = (quoted[2] as string).replaceAll("''", "'");
    return quoted[1] === 'E' ? text.replaceAll('\\\\', '\\') : text;
  }
  if (BARE.test(expression))
    return typeName === 'bool' ? (expression[0] as string).toLowerCase() : expression;
  if (CALL.test(expression) || CLOCK.test(expression)) return FUNCTION_VALUE[typeName] ?? null;
  return null;
};

const readVarint = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (let at = 0; ; at++) {
    const byte = bytes[at]!;
    value |= BigInt(byte & 0x7f) << BigInt(at * 7);
    if (byte < 0x80) return (value >> 1n) ^ -(value & 1n);
  }
};

/** A length-prefixed value's bytes; lengths below 8192, so at most two bytes of prefix. */
const readBody = (out: ByteWriter): Uint8Array => {
  const length = Number(readVarint(out.bytes));
  return out.bytes.subarray(out.pos - length, out.pos);
};

/** An Avro value back as a schema says it; undefined for what a schema cannot hold. */
const readDefault = (type: ConnectType, out: ByteWriter): ConnectDefault | undefined => {
  switch (type.type) {
    case 'boolean':
      return out.bytes[0] === 1;
    case 'int16':
    case 'int32':
    case 'int64': {
      const value = readVarint(out.bytes);
      return BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))
        ? Number(value)
        : String(value);
    }
    case 'float32':
    case 'float64': {
      const value = type.type === 'float32' ? out.view.getFloat32(0, true) : out.view.getFloat64(0, true);
      return Number.isFinite(value) ? value : undefined;
    }
    case 'string': {
      const body = readBody(out);
      return readText(body, 0, body.length);
    }
    case 'bytes':
      return String.fromCharCode(...readBody(out));
    default:
      return undefined;
  }
};

const refusal = new Error('the literal is of another type than the column');
const refuse: Fail = () => {
  throw refusal;
};

const encodeLiteral = ({ connect, makeEncoder }: MappedType, text: string): ConnectDefault | undefined => {
  const bytes = new TextEncoder().encode(text);
  const out = new ByteWriter(bytes.length + 16);
  try {
    const isExact = makeEncoder(refuse)(bytes, 0, bytes.length, out);
    // Months have a number all the same, and it is the one that such values are published with.
    return isExact || connect.name === 'io.debezium.time.MicroDuration'
      ? readDefault(connect, out)
      : undefined;
  } catch (error) {
    if (error !== refusal) throw error;
    return undefined;
  }
};

/**
 * The default that the column's schema says, undefined for none: literals; a zero where a function makes the
 * value; nothing for other expressions, and for types without a row above, enums excepted.
 */
export const constantDefault = (
  expression: string | null,
  type: SourceType | undefined,
  mapped: MappedType,
): ConnectDefault | undefined => {
  if (expression === null || type === undefined) return undefined;
  const isEnum = type.kind === 'e';
  const isListed = Object.hasOwn(FUNCTION_VALUE, type.name) || NO_FUNCTION_VALUE.has(type.name);
  if (!isEnum && (type.namespace !== 'pg_catalog' || !isListed)) return undefined;
  const text = literalText(expression, type.name);
  return text === null ? undefined : encodeLiteral(mapped, text);
};
