// Owns the text that names a key inside the engine and in the state files: equal keys, equal text, and
// back. Pure.
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField, IcebergType } from '../iceberg-type.ts';

/** Stands for an old key that its header does not tell: no row has it. */
export const UNKNOWN_KEY = '\u0000';

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
