// Owns the use of avsc, an Avro implementation that is not ours: tests check ours against it.
import avsc from 'avsc';

const long = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigInt64LE(value);
    return buffer;
  },
  fromJSON: (value: number | string) => BigInt(value),
  toJSON: (value: bigint) => Number(value),
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
});

const isLong = (schema: unknown): boolean =>
  schema === 'long' ||
  (typeof schema === 'object' && schema !== null && 'type' in schema && schema.type === 'long');

/** longs are bigints; a union's value says its branch: `{ string: 'x' }`. */
export const avroType = (schema: unknown): avsc.Type =>
  avsc.Type.forSchema(schema as avsc.Schema, {
    wrapUnions: true,
    typeHook: (part) => (isLong(part) ? long : undefined),
  });
