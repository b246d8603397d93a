// Owns tables without a database: cells hold a value's text, and tiny encoders turn it into Avro. For tests
// of what is built on prepared tables.
import { CELL_NULL, CELL_UNCHANGED, CELL_VALUE, type Cells, makeCells } from '../../src/change/row.ts';
import type { Column, ConnectDefault, ConnectType, TableName } from '../../src/change/schema.ts';
import type { ByteWriter } from '../../src/topic/byte-writer.ts';
import type { EncodeValue, PreparedTable } from '../../src/topic/prepared-table.ts';

export const TYPE = {
  int: { type: 'int32' },
  long: { type: 'int64' },
  bool: { type: 'boolean' },
  double: { type: 'float64' },
  text: { type: 'string' },
  bytes: { type: 'bytes' },
  json: { type: 'string', name: 'io.debezium.data.Json', version: 1 },
  texts: { type: 'array', items: { type: 'string', optional: true } },
} as const satisfies Record<string, ConnectType>;

export const decimal = (precision: number, scale: number): ConnectType => ({
  type: 'bytes',
  name: 'org.apache.kafka.connect.data.Decimal',
  version: 1,
  parameters: { scale: String(scale), 'connect.decimal.precision': String(precision) },
});

/** Shortest two's complement, big-endian. */
const twosComplement = (value: bigint): Uint8Array => {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.unshift(Number(BigInt.asUintN(8, rest)));
    rest >>= 8n;
  } while (rest !== ((bytes[0] ?? 0) > 0x7f ? -1n : 0n));
  return Uint8Array.from(bytes);
};

const writeText = (type: ConnectType, text: string, out: ByteWriter): boolean => {
  if (type.name?.endsWith('.Decimal')) {
    out.prefixed(twosComplement(text === 'NaN' ? 0n : BigInt(text.replace('.', ''))));
    return text !== 'NaN';
  }
  switch (type.type) {
    case 'int32':
      out.long(Number(text));
      return true;
    case 'int64':
      out.bigLong(BigInt(text));
      return true;
    case 'boolean':
      out.byte(text === 't' ? 1 : 0);
      return true;
    case 'float64':
      out.double(Number(text));
      return true;
    case 'bytes':
      out.prefixed(Buffer.from(text, 'hex'));
      return true;
    case 'string':
      out.text(text);
      return true;
    default: {
      const items = JSON.parse(text) as string[];
      if (items.length > 0) out.long(items.length);
      for (const item of items) {
        out.byte(2);
        out.text(item);
      }
      out.byte(0);
      return true;
    }
  }
};

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** `required` and a default are said by column name. */
type PlainTable = {
  name: TableName;
  columns: Record<string, ConnectType>;
  key: string[];
  required?: string[];
  defaults?: Record<string, ConnectDefault>;
};

export const plainTable = (plain: PlainTable): PreparedTable => {
  const { name, key, required = key, defaults = {} } = plain;
  const names = Object.keys(plain.columns);
  const columns = Object.entries(plain.columns).map(
    ([columnName, type], at): Column => ({
      id: at + 1,
      name: columnName,
      type,
      sourceType: type.type,
      optional: !required.includes(columnName),
      ...(defaults[columnName] === undefined ? {} : { default: defaults[columnName] }),
    }),
  );
  return {
    schema: { name, columns, key: key.map((column) => names.indexOf(column)) },
    encode: columns.map(
      ({ type }): EncodeValue =>
        (bytes, start, end, out) =>
          writeText(type, utf8.decode(bytes.subarray(start, end)), out),
    ),
    text: (_column, bytes, start, end) => utf8.decode(bytes.subarray(start, end)),
    relax: (column) => plainTable({ ...plain, required: required.filter((at) => at !== names[column]) }),
  };
};

/** A row as text, one value a column: null is NULL, undefined is unchanged and not sent. */
export type PlainRow = readonly (string | null | undefined)[];

export const plainCells = (row: PlainRow): Cells => {
  const cells = makeCells(row.length);
  const lead = Buffer.from('some bytes before');
  const parts = [lead];
  let at = lead.length;
  row.forEach((value, column) => {
    const bytes = Buffer.from(value ?? '');
    cells.kind[column] = value === undefined ? CELL_UNCHANGED : value === null ? CELL_NULL : CELL_VALUE;
    cells.start[column] = at;
    at += bytes.length;
    cells.end[column] = at;
    parts.push(bytes);
  });
  cells.bytes = Uint8Array.from(Buffer.concat(parts));
  return cells;
};
