// Owns reading a key back from the JSON text that a changed key's header holds. Knows no record. Pure.
import type { ConnectType } from '../../change/schema.ts';
import type { AvroValue } from '../../topic/avro-read.ts';
import { type Convert, type EngineValue, UNHELD } from './columns-value.ts';

export type KeyColumn = { field: string; type: ConnectType; convert: Convert };

/** A number as it was written: a double would round what a key may hold. */
class Digits {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

const DECIMAL = 'org.apache.kafka.connect.data.Decimal';

/** Big-endian two's complement, long enough. */
const bytesOf = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(value.toString(16).length / 2 + 2);
  for (let at = bytes.length - 1, rest = value; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return bytes;
};

const decimalBytes = (text: string, scale: number): Uint8Array | undefined => {
  const found = /^(-?)([0-9]+)(?:\.([0-9]+))?$/.exec(text);
  if (found === null || (found[3] ?? '').length > scale) return undefined;
  const value = BigInt((found[2] ?? '') + (found[3] ?? '').padEnd(scale, '0'));
  return bytesOf(found[1] === '-' ? -value : value);
};

const integer = (text: string): bigint | undefined => (/^-?[0-9]+$/.test(text) ? BigInt(text) : undefined);

const fromDigits = (text: string, type: ConnectType): AvroValue | undefined => {
  if (type.name === DECIMAL) return decimalBytes(text, Number(type.parameters?.scale));
  if (type.type === 'float32' || type.type === 'float64') return Number(text);
  const value = integer(text);
  if (type.type === 'int64') return value;
  return value !== undefined && (type.type === 'int16' || type.type === 'int32') ? Number(value) : undefined;
};

/** The value as an Avro reader would have given it; undefined when the JSON does not fit the type. */
const fromJson = (value: unknown, type: ConnectType): AvroValue | undefined => {
  if (value instanceof Digits) return fromDigits(value.text, type);
  if (typeof value === 'boolean') return type.type === 'boolean' ? value : undefined;
  if (typeof value === 'string') {
    if (type.type === 'string') return value;
    return type.type === 'bytes' && type.name !== DECIMAL
      ? Uint8Array.from(atob(value), (char) => char.charCodeAt(0))
      : undefined;
  }
  if (type.type !== 'struct' || typeof value !== 'object' || value === null) return undefined;
  const parts = (type.fields ?? []).map((field) => fromJson(Reflect.get(value, field.field), field.type));
  return parts.includes(undefined) ? undefined : (parts as AvroValue[]);
};

type Reviver = (key: string, value: unknown, context: { source: string }) => unknown;
/** With the source text of each value, which the compiler's library does not know yet. */
const parseJson = JSON.parse as (text: string, reviver: Reviver) => unknown;

/** Values of the key columns in order; null when the text does not tell them all. */
export const readKeyJson = (text: string, columns: readonly KeyColumn[]): EngineValue[] | null => {
  try {
    const json = parseJson(text, (_, value, { source }) =>
      typeof value === 'number' ? new Digits(source) : value,
    );
    if (typeof json !== 'object' || json === null) return null;
    const values = columns.map(({ field, type, convert }) => {
      const value = fromJson(Reflect.get(json, field), type);
      return value === undefined || value === null ? UNHELD : convert(value);
    });
    return values.includes(UNHELD) ? null : (values as EngineValue[]);
  } catch (thrown) {
    // atob throws a DOMException.
    if (thrown instanceof SyntaxError || thrown instanceof DOMException) return null;
    throw thrown;
  }
};
