// Owns the text of one value in SQL, exact for every type. Runs nothing.
import { decimalText, type EngineValue } from '../columns-value.ts';
import type { IcebergPrimitive, IcebergType } from '../iceberg-type.ts';
import { quoteText, sqlType } from './sql.ts';

const floatingText = (value: number): string =>
  Object.is(value, -0) ? '-0' : String(value).replace('Infinity', 'inf');

const printed = (value: Exclude<EngineValue, null>, type: IcebergPrimitive): string => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'number') return floatingText(value);
  const scale = /^decimal\(\d+, ?(\d+)\)$/.exec(type)?.[1];
  return scale === undefined ? String(value) : decimalText(value as bigint, Number(scale));
};

/** An expression that is folded to a constant, so that scans skip what cannot hold it. Not for lists. */
export const literalOf = (value: Exclude<EngineValue, null>, type: IcebergType): string => {
  const text = printed(value, type as IcebergPrimitive);
  switch (type) {
    case 'binary':
      return `unhex('${text}')`;
    case 'date':
      return `(DATE '1970-01-01' + CAST(${text} AS INTEGER))`;
    case 'time':
      return `(TIME '00:00:00' + to_microseconds(${text}))`;
    case 'timestamp':
      return `make_timestamp(${text})`;
    case 'timestamptz':
      return `make_timestamptz(${text})`;
    default:
      return `CAST(${quoteText(text)} AS ${sqlType(type)})`;
  }
};
