// Owns PreparedTable for PostgreSQL: a schema with one encoder a column, wrapped so that what cannot be
// encoded says where. Knows no catalog and no connection.
import {
  type Column,
  type ConnectType,
  type TableName,
  type TableSchema,
  tableText,
} from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';
import { type HidingRule, hiddenType, hideValue } from '../../src/topic/column-rule.ts';
import type { EncodeValue, PreparedTable } from '../../src/topic/prepared-table.ts';
import { type Fail, readText } from './encode-scan.ts';
import type { Types } from './type-map.ts';
import type { MappedType } from './type-modes.ts';

/** A column with what its type was found to be. `hidden`: what is hidden of its values; null: nothing. */
export type ColumnShape = Pick<Column, 'id' | 'name' | 'sourceType' | 'optional'> & {
  mapped: MappedType;
  hidden: { rule: HidingRule; limit: number | null } | null;
};

/** The type that the schema has for it. */
export const shownType = ({ mapped, hidden }: ColumnShape): ConnectType =>
  hidden === null ? mapped.connect : hiddenType(hidden.rule);

/** Characters that a column of this type holds at most; null: any number. */
const limitOf = (oid: number, { typmod, types }: TypeFacts): number | null => {
  const type = types.get(oid);
  if (type?.kind === 'd') return limitOf(type.base, { typmod: type.baseTypmod, types });
  return typmod >= 4 && (type?.name === 'varchar' || type?.name === 'bpchar') ? typmod - 4 : null;
};

type TypeFacts = { typmod: number; types: Types };

/** What a rule hides of a column of this type; null: the column is no longer than it may be. */
export const hiddenBy = (rule: HidingRule, typeOid: number, facts: TypeFacts): ColumnShape['hidden'] => {
  const limit = limitOf(typeOid, facts);
  if (rule.rule === 'truncate' && limit !== null && limit <= rule.length) return null;
  return { rule, limit };
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

type Shape = { name: TableName; columns: readonly ColumnShape[] };

/** One encoder a column, in the order of `columns`. They throw `value_unsupported`. */
export const makeEncoders = ({ name, columns }: Shape, checkUtf8: boolean): EncodeValue[] =>
  columns.map((column) => {
    const { mapped, hidden } = column;
    // What is no UTF-8 has its replacement characters hashed or cut: the text itself must not be told.
    if (hidden !== null) return hideValue(hidden.rule, hidden.limit, readText);
    const encode = mapped.makeEncoder(refuse(name, column));
    const holdsText = ['string', 'array', 'map'].includes(mapped.connect.type);
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
