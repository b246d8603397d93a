// Owns a key as JSON text, for Debezium's `__debezium.newkey` and `__debezium.oldkey` headers. Knows no
// envelope.
import type { ConnectField, ConnectType } from '../change/schema.ts';
import { type AvroValue, compileReader } from './avro-read.ts';
import { avroSchema, DECIMAL } from './avro-schema.ts';

const twosComplement = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return BigInt.asIntN(8 * bytes.length, value);
};

const decimalText = (bytes: Uint8Array, scale: number): string => {
  const unscaled = twosComplement(bytes);
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return (unscaled < 0n ? '-' : '') + digits.slice(0, point) + (scale > 0 ? `.${digits.slice(point)}` : '');
};

const structText = (values: readonly AvroValue[], fields: readonly ConnectField[]): string => {
  const members = fields.map(
    ({ field, type }, at) => `${JSON.stringify(field)}:${valueText(values[at], type)}`,
  );
  return `{${members.join(',')}}`;
};

const valueText = (value: AvroValue | undefined, type: ConnectType): string => {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? `${value}` : `"${value}"`;
  if (Array.isArray(value)) {
    if (type.type === 'struct') return structText(value, type.fields ?? []);
    return `[${value.map((item) => valueText(item, type.items ?? type)).join(',')}]`;
  }
  if (!(value instanceof Uint8Array)) return JSON.stringify(value);
  if (type.name === DECIMAL) return decimalText(value, Number(type.parameters?.scale));
  return JSON.stringify(btoa(String.fromCharCode(...value)));
};

/** `{"b":"y","a":1}` of the key's Avro bytes: fields in key order; a decimal as a number, bytes as base64. */
export const compileKeyText = (type: ConnectType): ((key: Uint8Array) => string) => {
  const read = compileReader(avroSchema(type), { records: 'arrays' });
  return (key) => valueText(read(key, 0, key.length), type);
};
