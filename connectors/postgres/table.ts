// Owns PreparedTable for PostgreSQL: a schema with one encoder a column, wrapped so that what cannot be
// encoded says where. Knows no catalog and no connection.
import { type Column, type TableName, type TableSchema, tableText } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';
import type { EncodeValue, PreparedTable } from '../../src/topic/prepared-table.ts';
import { type Fail, readText } from './encode-scan.ts';
import { mapType, type Types } from './type-map.ts';

/** A column before its type was looked up. `default` is absent where a schema cannot hold it. */
export type ColumnShape = Pick<Column, 'id' | 'name' | 'sourceType' | 'optional'> & {
  typeOid: number;
  typmod: number;
};

const refuse = (table: TableName, column: ColumnShape): Fail => {
  return () => {
    throw new VarveError(
      'value_unsupported',
      `A value of column ${JSON.stringify(column.name)} of ${tableText(table)} is not what PostgreSQL ` +
        `prints for ${column.sourceType}. Nothing of the row was published. Are DateStyle, IntervalStyle, ` +
        'bytea_output or lc_monetary forced to other values, or does a proxy rewrite the stream? If not, ' +
        'please report it.',
      { facts: { table: tableText(table), column: column.name, type: column.sourceType } },
    );
  };
};

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const isUtf8 = (bytes: Uint8Array, start: number, end: number): boolean => {
  let at = start;
  while (at < end && bytes[at]! < 0x80) at++;
  if (at === end) return true;
  try {
    strictUtf8.decode(bytes.subarray(at, end));
    return true;
  } catch {
    return false;
  }
};

/** Databases in SQL_ASCII hold any bytes; Avro strings are UTF-8. What is not gets an empty stand-in. */
const guardUtf8 =
  (encode: EncodeValue): EncodeValue =>
  (bytes, start, end, out) => {
    if (isUtf8(bytes, start, end)) return encode(bytes, start, end, out);
    out.byte(0);
    return false;
  };

const hex = (bytes: Uint8Array, start: number, end: number): string =>
  `\\x${Array.from(bytes.subarray(start, end), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;

type PrepareOptions = {
  /** The server does not vouch for UTF-8 (server_encoding SQL_ASCII), so every string is looked at. */
  checkUtf8: boolean;
  /** Gives the table with this column optional. */
  relax: (column: number) => PreparedTable;
};

type Shape = { name: TableName; columns: readonly ColumnShape[]; types: Types };

/** One encoder a column, in the order of `columns`. They throw `value_unsupported`. */
export const makeEncoders = ({ name, columns, types }: Shape, checkUtf8: boolean): EncodeValue[] =>
  columns.map((column) => {
    const { connect, makeEncoder } = mapType(column.typeOid, column.typmod, types);
    const encode = makeEncoder(refuse(name, column));
    const holdsText = connect.type === 'string' || connect.type === 'array';
    return checkUtf8 && holdsText ? guardUtf8(encode) : encode;
  });

/** `text` of bytes that are no UTF-8 is their hexadecimal form, `\xff`. */
export const prepareTable = (
  schema: TableSchema,
  encode: readonly EncodeValue[],
  { checkUtf8, relax }: PrepareOptions,
): PreparedTable => ({
  schema,
  encode,
  text: (_, bytes, start, end) =>
    checkUtf8 && !isUtf8(bytes, start, end) ? hex(bytes, start, end) : readText(bytes, start, end),
  relax,
});

/** The same schema with one column optional. */
export const relaxColumn = (schema: TableSchema, column: number): TableSchema => ({
  ...schema,
  columns: schema.columns.map((old, at) => (at === column ? { ...old, optional: true } : old)),
});
