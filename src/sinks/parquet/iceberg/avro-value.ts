// Owns Avro's binary form for the schemas that Iceberg metadata is made of: records, unions, arrays, maps, scalars.
// Fields are known by their Iceberg field id, not by name: writers have named them differently over the years.
import { VarveError } from '../../../errors.ts';
import type { ByteWriter } from '../../../topic/byte-writer.ts';

export type AvroField = { name: string; type: AvroType; 'field-id'?: number; default?: null };
export type AvroRecord = { type: 'record'; name: string; fields: readonly AvroField[] };
export type AvroArray = { type: 'array'; items: AvroType; 'element-id'?: number; logicalType?: string };
type AvroMap = { type: 'map'; values: AvroType };
type AvroFixed = { type: 'fixed'; name: string; size: number };
type AvroScalar = { type: string; logicalType?: string };
export type AvroType =
  | string
  | readonly AvroType[]
  | AvroRecord
  | AvroArray
  | AvroMap
  | AvroFixed
  | AvroScalar;

/** Longs beyond 2^53 are bigint, the others numbers: callers convert with BigInt() or Number(), never compare. */
export type AvroLong = number | bigint;

const corrupt = (what: string): VarveError =>
  new VarveError('table_corrupt', `An Avro metadata file cannot be read: ${what}.`);

const fromUtf8 = new TextDecoder('utf-8', { fatal: true });

export class AvroCursor {
  readonly bytes: Uint8Array;
  pos: number;
  #view: DataView;

  constructor(bytes: Uint8Array, pos = 0) {
    this.bytes = bytes;
    this.pos = pos;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.bytes.length - this.pos;
  }

  take(count: number): number {
    if (count < 0 || count > this.left) throw corrupt('it ends too early');
    this.pos += count;
    return this.pos - count;
  }

  long(): AvroLong {
    let low = 0;
    let scale = 1;
    for (let count = 0; count < 7; count++) {
      const byte = this.bytes[this.take(1)]!;
      low += (byte & 0x7f) * scale;
      if (byte < 0x80) return low % 2 === 0 ? low / 2 : -(low + 1) / 2;
      scale *= 0x80;
    }
    return this.#longTail(BigInt(low));
  }

  #longTail(start: bigint): AvroLong {
    let raw = start;
    for (let count = 7n; count < 10n; count++) {
      const byte = this.bytes[this.take(1)]!;
      raw |= BigInt(byte & 0x7f) << (count * 7n);
      if (byte >= 0x80) continue;
      const value = BigInt.asIntN(64, (raw >> 1n) ^ -(raw & 1n));
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    }
    throw corrupt('a number has too many digits');
  }

  /** A count or a length: not negative, and never more than bytes could follow. */
  size(): number {
    const value = Number(this.long());
    if (value < 0 || value > this.left) throw corrupt('a length is out of range');
    return value;
  }

  prefixed(): Uint8Array {
    const count = this.size();
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  text(): string {
    try {
      return fromUtf8.decode(this.prefixed());
    } catch (cause) {
      if (cause instanceof VarveError) throw cause;
      throw corrupt('a text is not UTF-8');
    }
  }

  float(): number {
    return this.#view.getFloat32(this.take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.take(8), true);
  }
}

type Read = (from: AvroCursor) => unknown;
type Write = (value: unknown, to: ByteWriter) => void;
export type AvroCodec = { read: Read; write: Write };
type Names = Map<string, AvroCodec>;
/** Names of record fields by Iceberg field id; a field that is not here is known by the id's digits. */
export type FieldNames = ReadonlyMap<number, string>;

const SCALARS: Readonly<Record<string, AvroCodec>> = {
  null: { read: () => null, write: () => {} },
  boolean: {
    read: (from) => from.bytes[from.take(1)] === 1,
    write: (value, to) => to.byte(value === true ? 1 : 0),
  },
  int: { read: (from) => from.long(), write: (value, to) => to.long(value as number) },
  long: {
    read: (from) => from.long(),
    write: (value, to) => (typeof value === 'bigint' ? to.bigLong(value) : to.long(value as number)),
  },
  float: { read: (from) => from.float(), write: (value, to) => to.float(value as number) },
  double: { read: (from) => from.double(), write: (value, to) => to.double(value as number) },
  bytes: { read: (from) => from.prefixed(), write: (value, to) => to.prefixed(value as Uint8Array) },
  string: { read: (from) => from.text(), write: (value, to) => to.text(value as string) },
};

const recordCodec = (record: AvroRecord, names: Names, keys: FieldNames): AvroCodec => {
  const fields: { key: string; codec: AvroCodec }[] = [];
  const codec: AvroCodec = {
    read: (from) => {
      const row: Record<string, unknown> = {};
      for (const field of fields) row[field.key] = field.codec.read(from);
      return row;
    },
    write: (value, to) => {
      for (const field of fields)
        field.codec.write((value as Record<string, unknown>)[field.key] ?? null, to);
    },
  };
  // Before its fields: a record may be named again inside itself.
  names.set(record.name, codec);
  for (const field of record.fields) {
    const id = field['field-id'];
    const key = id === undefined ? field.name : (keys.get(id) ?? String(id));
    fields.push({ key, codec: compile(field.type, names, keys) });
  }
  return codec;
};

const unionCodec = (branches: readonly AvroCodec[], nullAt: number): AvroCodec => ({
  read: (from) => {
    const branch = branches[Number(from.long())];
    if (!branch) throw corrupt('a union has no such branch');
    return branch.read(from);
  },
  write: (value, to) => {
    const at = value === null ? nullAt : branches.findIndex((_, index) => index !== nullAt);
    to.long(at);
    branches[at]!.write(value, to);
  },
});

const blocks = (from: AvroCursor, item: () => void): void => {
  for (;;) {
    let count = Number(from.long());
    if (count === 0) return;
    if (count < 0) {
      count = -count;
      from.long();
    }
    // Items of no bytes are possible, but nothing of ours has them; a count beyond the rest is a lie.
    if (count > from.left) throw corrupt('a block is longer than the file');
    for (let done = 0; done < count; done++) item();
  }
};

const arrayCodec = (items: AvroCodec): AvroCodec => ({
  read: (from) => {
    const list: unknown[] = [];
    blocks(from, () => list.push(items.read(from)));
    return list;
  },
  write: (value, to) => {
    const list = value as readonly unknown[];
    if (list.length > 0) to.long(list.length);
    for (const item of list) items.write(item, to);
    to.long(0);
  },
});

const mapCodec = (values: AvroCodec): AvroCodec => ({
  read: (from) => {
    const map = new Map<string, unknown>();
    blocks(from, () => map.set(from.text(), values.read(from)));
    return map;
  },
  write: (value, to) => {
    const map = value as ReadonlyMap<string, unknown>;
    if (map.size > 0) to.long(map.size);
    for (const [key, item] of map) {
      to.text(key);
      values.write(item, to);
    }
    to.long(0);
  },
});

const fixedCodec = (size: number): AvroCodec => ({
  read: (from) => {
    const start = from.take(size);
    return from.bytes.subarray(start, start + size);
  },
  write: (value, to) => to.raw(value as Uint8Array),
});

const compile = (type: AvroType, names: Names, keys: FieldNames): AvroCodec => {
  if (typeof type === 'string') {
    const known = SCALARS[type] ?? names.get(type);
    if (!known) throw corrupt(`it has the unknown type ${type}`);
    return known;
  }
  if (Array.isArray(type)) {
    const branches = (type as readonly AvroType[]).map((branch) => compile(branch, names, keys));
    return unionCodec(branches, type.indexOf('null'));
  }
  const named = type as AvroRecord | AvroArray | AvroMap | AvroFixed | AvroScalar;
  if ('fields' in named) return recordCodec(named, names, keys);
  if ('items' in named) return arrayCodec(compile(named.items, names, keys));
  if ('values' in named) return mapCodec(compile(named.values, names, keys));
  if ('size' in named) {
    const codec = fixedCodec(named.size);
    names.set(named.name, codec);
    return codec;
  }
  return compile(named.type, names, keys);
};

/** How values of this schema are read and written. Throws table_corrupt for a schema it does not understand. */
export const compileAvro = (type: AvroType, keys: FieldNames): AvroCodec => compile(type, new Map(), keys);
