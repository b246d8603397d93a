// Owns writing values in Avro's binary form for the schemas that Iceberg metadata is made of. Reading is the
// topic's.
import { VarveError } from '../../../errors.ts';
import type { ByteWriter } from '../../../topic/byte-writer.ts';

export type AvroField = { name: string; type: AvroType; 'field-id'?: number; default?: null };
export type AvroRecord = { type: 'record'; name: string; fields: readonly AvroField[] };
/** A number that readers take for something else, such as a date. */
type AvroLogical = { type: 'int'; logicalType: string };
type AvroArray = { type: 'array'; items: AvroType; 'element-id'?: number; logicalType?: string };
/** A union is of null and one other type. */
export type AvroType = string | readonly ['null', AvroType] | AvroRecord | AvroArray | AvroLogical;

type Write = (value: unknown, to: ByteWriter) => void;

/**
 * The key of a field in the object that is written: its name, or the digits of an id that `names` does not
 * have.
 */
export type FieldNames = ReadonlyMap<number, string>;

export const fieldKey = (field: { name: string; 'field-id'?: unknown }, names: FieldNames): string => {
  const id = field['field-id'];
  return typeof id === 'number' ? (names.get(id) ?? String(id)) : field.name;
};

const SCALARS: Readonly<Record<string, Write>> = {
  boolean: (value, to) => to.byte(value === true ? 1 : 0),
  int: (value, to) => to.long(value as number),
  long: (value, to) => (typeof value === 'bigint' ? to.bigLong(value) : to.long(value as number)),
  bytes: (value, to) => to.prefixed(value as Uint8Array),
  string: (value, to) => to.text(value as string),
};

const writeRecord = (record: AvroRecord, names: FieldNames): Write => {
  const fields = record.fields.map((field) => ({
    key: fieldKey(field, names),
    write: compileWriter(field.type, names),
  }));
  return (value, to) => {
    for (const { key, write } of fields) write((value as Record<string, unknown>)[key] ?? null, to);
  };
};

const writeArray =
  (items: Write): Write =>
  (value, to) => {
    const list = value as readonly unknown[];
    if (list.length > 0) to.long(list.length);
    for (const item of list) items(item, to);
    to.long(0);
  };

const writeOptional =
  (inner: Write): Write =>
  (value, to) => {
    to.long(value === null ? 0 : 1);
    if (value !== null) inner(value, to);
  };

/** A closure that appends one value; a missing record field is null. */
export const compileWriter = (type: AvroType, names: FieldNames): Write => {
  if (typeof type !== 'string') {
    if ('fields' in type) return writeRecord(type, names);
    if ('items' in type) return writeArray(compileWriter(type.items, names));
    if ('type' in type) return compileWriter(type.type, names);
    return writeOptional(compileWriter(type[1], names));
  }
  const scalar = SCALARS[type];
  if (scalar) return scalar;
  throw new VarveError('internal', `Iceberg metadata has no Avro type ${type}.`);
};
