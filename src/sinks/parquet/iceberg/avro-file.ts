// Owns the Avro object container file: header, blocks, sync marks. Writes deflated blocks, which all
// readers of Iceberg know; reads what Java, Rust and Python write.
// https://avro.apache.org/docs/1.12.0/specification/#object-container-files
import { deflateRawSync, inflateRawSync, zstdDecompressSync } from 'node:zlib';
import { VarveError } from '../../../errors.ts';
import { AvroCursor } from '../../../topic/avro-cursor.ts';
import { compileReader } from '../../../topic/avro-read.ts';
import { ByteWriter } from '../../../topic/byte-writer.ts';
import { type AvroRecord, compileWriter, type FieldNames, fieldKey } from './avro-write.ts';

const MAGIC = Uint8Array.of(0x4f, 0x62, 0x6a, 0x01);
const SYNC_BYTES = 16;
const ROWS_PER_BLOCK = 1000;
/** A block that unpacks to more is refused. */
const MAX_BLOCK_BYTES = 256 << 20;

type AvroFileOptions = {
  schema: AvroRecord;
  names: FieldNames;
  header: Readonly<Record<string, string>>;
  /** 16 bytes that mark the blocks of this file. */
  sync: Uint8Array;
};

/** The schema goes into the header as it is, field ids and all: readers find columns by them. */
export const encodeAvroFile = (
  rows: readonly unknown[],
  { schema, names, header, sync }: AvroFileOptions,
): Uint8Array => {
  const write = compileWriter(schema, names);
  const out = new ByteWriter(1 << 14);
  out.raw(MAGIC);
  const all = Object.entries({ 'avro.schema': JSON.stringify(schema), 'avro.codec': 'deflate', ...header });
  out.long(all.length);
  for (const [key, value] of all) {
    out.text(key);
    out.text(value);
  }
  out.long(0);
  out.raw(sync);
  const block = new ByteWriter(1 << 14);
  for (let start = 0; start < rows.length; start += ROWS_PER_BLOCK) {
    const part = rows.slice(start, start + ROWS_PER_BLOCK);
    block.pos = 0;
    for (const row of part) write(row, block);
    const packed = deflateRawSync(block.bytes.subarray(0, block.pos));
    out.long(part.length);
    out.long(packed.length);
    out.raw(packed);
    out.raw(sync);
  }
  return out.bytes.slice(0, out.pos);
};

const UNPACK: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  null: (bytes) => bytes,
  deflate: (bytes) => inflateRawSync(bytes, { maxOutputLength: MAX_BLOCK_BYTES }),
  zstandard: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: MAX_BLOCK_BYTES }),
};

/**
 * Writers have named the same fields differently over the years; here each has the name that its id has for
 * us.
 */
const renameFields = (schema: unknown, names: FieldNames): unknown => {
  if (Array.isArray(schema)) return schema.map((one) => renameFields(one, names));
  if (typeof schema !== 'object' || schema === null) return schema;
  const renamed: Record<string, unknown> = { ...schema };
  for (const part of ['items', 'values', 'type'])
    if (part in renamed) renamed[part] = renameFields(renamed[part], names);
  if (Array.isArray(renamed.fields))
    renamed.fields = renamed.fields.map((field) => ({
      ...field,
      name: fieldKey(field, names),
      type: renameFields(field.type, names),
    }));
  return renamed;
};

const damaged = (why: string, cause?: unknown): VarveError =>
  new VarveError('table_corrupt', `An Avro metadata file cannot be read: ${why}.`, { cause });

/**
 * What `readRow` makes of each row; longs are bigint. The file brings its own schema, which may be damaged as
 * well: then values are of other types. Throws table_corrupt for anything that is not a whole, readable file.
 */
export const decodeAvroFile = <Row, Read>(
  bytes: Uint8Array,
  names: FieldNames,
  readRow: (row: Row) => Read,
): Read[] => {
  try {
    return decode(bytes, names).map((row) => readRow(row as Row));
  } catch (cause) {
    if (cause instanceof VarveError && /^table_/.test(cause.kind)) throw cause;
    throw damaged('it is damaged', cause);
  }
};

const decode = (bytes: Uint8Array, names: FieldNames): readonly object[] => {
  const cursor = new AvroCursor();
  cursor.load(bytes, 0, bytes.length);
  if (Buffer.compare(cursor.view(MAGIC.length), MAGIC) !== 0) throw damaged('it is no Avro file');
  const header = new Map<string, string>();
  for (let count = cursor.int(); count !== 0; count = cursor.int()) {
    if (count < 0) cursor.skipVarint();
    for (let left = Math.abs(count); left > 0; left--)
      header.set(cursor.text(cursor.length()), cursor.text(cursor.length()));
  }
  const codec = header.get('avro.codec') ?? 'null';
  const unpack = UNPACK[codec];
  if (!unpack)
    throw new VarveError(
      'table_foreign',
      `An Avro metadata file is packed with ${codec}, which Varve cannot read; let its writer use deflate.`,
      { facts: { codec } },
    );
  const schema = renameFields(JSON.parse(header.get('avro.schema') ?? ''), names);
  const readBlock = compileReader(JSON.stringify({ type: 'array', items: schema }));
  const sync = cursor.view(SYNC_BYTES);
  const rows: object[] = [];
  while (cursor.pos < cursor.end) {
    const count = cursor.int();
    const block = unpack(cursor.view(cursor.length()));
    // A block is an array without the count before it and the empty block behind it.
    const framed = new ByteWriter(block.length + 16);
    framed.long(count);
    framed.raw(block);
    framed.long(0);
    for (const row of readBlock(framed.bytes, 0, framed.pos) as object[]) rows.push(row);
    if (count <= 0 || Buffer.compare(cursor.view(SYNC_BYTES), sync) !== 0)
      throw damaged('a block has no end');
  }
  return rows;
};
