// Owns the Avro object container file: header, blocks, sync marks. Writes one uncompressed block after the other;
// reads what Java, Rust and Python write. https://avro.apache.org/docs/1.12.0/specification/#object-container-files
import { inflateRawSync, zstdDecompressSync } from 'node:zlib';
import { VarveError } from '../../../errors.ts';
import { ByteWriter } from '../../../topic/byte-writer.ts';
import { AvroCursor, type AvroType, compileAvro, type FieldNames } from './avro-value.ts';

const MAGIC = [0x4f, 0x62, 0x6a, 0x01];
const ROWS_PER_BLOCK = 1000;
/** A block that unpacks to more is refused. */
const MAX_BLOCK_BYTES = 256 << 20;

const headerCodec = compileAvro({ type: 'map', values: 'string' }, new Map());

/**
 * The file as bytes. `sync` are 16 bytes that mark its blocks. The schema goes into the header as given, field ids
 * and all: readers find columns by them.
 */
export const encodeAvroFile = (
  rows: readonly unknown[],
  { schema, keys, header, sync }: AvroFileOptions,
): Uint8Array => {
  const codec = compileAvro(schema, keys);
  const out = new ByteWriter(1 << 14);
  out.raw(Uint8Array.from(MAGIC));
  headerCodec.write(
    new Map([['avro.schema', JSON.stringify(schema)], ['avro.codec', 'null'], ...Object.entries(header)]),
    out,
  );
  out.raw(sync);
  const block = new ByteWriter(1 << 14);
  for (let start = 0; start < rows.length; start += ROWS_PER_BLOCK) {
    const part = rows.slice(start, start + ROWS_PER_BLOCK);
    block.pos = 0;
    for (const row of part) codec.write(row, block);
    out.long(part.length);
    out.long(block.pos);
    out.raw(block.bytes, 0, block.pos);
    out.raw(sync);
  }
  return out.bytes.slice(0, out.pos);
};

export type AvroFileOptions = {
  schema: AvroType;
  keys: FieldNames;
  header: Readonly<Record<string, string>>;
  sync: Uint8Array;
};

const UNPACK: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  null: (bytes) => bytes,
  deflate: (bytes) => inflateRawSync(bytes, { maxOutputLength: MAX_BLOCK_BYTES }),
  zstandard: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: MAX_BLOCK_BYTES }),
};

export type AvroFile = { header: ReadonlyMap<string, string>; rows: readonly Record<string, unknown>[] };

/** Throws table_corrupt for anything that is not a whole, readable file. */
export const decodeAvroFile = (bytes: Uint8Array, keys: FieldNames): AvroFile => {
  try {
    return decode(bytes, keys);
  } catch (cause) {
    if (cause instanceof VarveError) throw cause;
    throw new VarveError('table_corrupt', 'An Avro metadata file cannot be read: it is damaged.', { cause });
  }
};

const decode = (bytes: Uint8Array, keys: FieldNames): AvroFile => {
  const from = new AvroCursor(bytes);
  const start = from.take(4);
  if (MAGIC.some((byte, at) => bytes[start + at] !== byte))
    throw new VarveError('table_corrupt', 'A metadata file is not an Avro file.');
  const header = headerCodec.read(from) as Map<string, string>;
  const schema = JSON.parse(header.get('avro.schema') ?? '') as AvroType;
  const codecName = header.get('avro.codec') ?? 'null';
  const unpack = UNPACK[codecName];
  if (!unpack)
    throw new VarveError(
      'table_foreign',
      `An Avro metadata file is packed with ${codecName}, which Varve cannot read; have its writer use deflate.`,
      { facts: { codec: codecName } },
    );
  const sync = markAt(bytes, from.take(16));
  const codec = compileAvro(schema, keys);
  const rows: Record<string, unknown>[] = [];
  while (from.left > 0) {
    const count = Number(from.long());
    const block = new AvroCursor(unpack(from.prefixed()));
    if (count < 0 || count > block.left)
      throw new VarveError('table_corrupt', 'An Avro block counts more rows than bytes.');
    for (let done = 0; done < count; done++) rows.push(codec.read(block) as Record<string, unknown>);
    if (block.left > 0 || markAt(bytes, from.take(16)) !== sync)
      throw new VarveError('table_corrupt', 'An Avro block does not end where it should.');
  }
  return { header, rows };
};

const markAt = (bytes: Uint8Array, start: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, 16).toString('hex');
