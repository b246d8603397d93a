// Owns the text that names a key inside the engine and in the state files: equal keys, equal text, and back. Pure.
import type { EngineValue } from '../columns-value.ts';
import { type BucketValue, bucketOf } from '../iceberg/bucket.ts';
import type { IcebergField, IcebergPrimitive, IcebergType } from '../iceberg-type.ts';

const textOf = (value: EngineValue): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);

/** Key columns are never null. */
export const keyTextOf = (values: readonly EngineValue[]): string =>
  values.length === 1 ? textOf(values[0] ?? null) : JSON.stringify(values.map(textOf));

const parseValue = (text: string, type: IcebergType): EngineValue => {
  switch (type) {
    case 'boolean':
      return text === 'true';
    case 'int':
    case 'date':
    case 'float':
    case 'double':
      return Number(text);
    case 'string':
    case 'uuid':
      return text;
    case 'binary':
      return new Uint8Array(Buffer.from(text, 'hex'));
    default:
      return BigInt(text);
  }
};

export const readKeyText = (text: string, fields: readonly IcebergField[]): EngineValue[] => {
  const parts = fields.length === 1 ? [text] : (JSON.parse(text) as string[]);
  return fields.map(({ type }, at) => parseValue(parts[at] as string, type));
};

const bucketValue = (type: IcebergPrimitive, value: EngineValue): BucketValue => {
  if (type === 'uuid') return new Uint8Array(Buffer.from((value as string).replaceAll('-', ''), 'hex'));
  return typeof value === 'number' ? BigInt(value) : (value as BucketValue);
};

/** The bucket of a value of a key column. */
export const bucketOfValue = ({ type }: IcebergField, value: EngineValue, count: number): number =>
  bucketOf(type as IcebergPrimitive, bucketValue(type as IcebergPrimitive, value), count) ?? 0;
