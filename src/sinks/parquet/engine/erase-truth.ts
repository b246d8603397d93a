// Owns the least and greatest values of a file's columns as its rows have them, whatever its footer says.
import { columnBounds } from '../iceberg/single-value.ts';
import type { IcebergField, IcebergType } from '../iceberg-type.ts';
import type { Database } from './database.ts';
import type { FileTruth } from './protocol.ts';
import { columnOf, scanFiles } from './sql.ts';

const extreme = (which: 'min' | 'max', field: IcebergField): string => {
  const isList = typeof field.type !== 'string';
  const type = typeof field.type === 'string' ? field.type : field.type.element;
  const column = columnOf(field);
  const value = isList ? `${which}(list_${which}(${column}))` : `${which}(${column})`;
  return type === 'binary' ? `hex(${value})` : `CAST(${value} AS VARCHAR)`;
};

const elementOf = ({ id, type }: IcebergField): { id: number; type: IcebergType } =>
  typeof type === 'string' ? { id, type } : { id: type['element-id'], type: type.element };

/** The bounds that a manifest may say of this file. */
export const truthOf = async (
  database: Database,
  { local, path }: { local: string; path: string },
  fields: readonly IcebergField[],
): Promise<FileTruth> => {
  const select = fields.flatMap((field) => [extreme('min', field), extreme('max', field)]).join(', ');
  const [row = []] = await database.rows(`SELECT ${select} FROM ${scanFiles([local], fields)}`);
  const text = (at: number): string | null => (row[at] == null ? null : String(row[at]));
  const columns = fields.map((field, at) => {
    const { id, type } = elementOf(field);
    const [min, max] = [text(at * 2), text(at * 2 + 1)];
    const bounds = columnBounds(type, { min, max, hasNan: max === 'nan' });
    return { id, type, isEmpty: min === null, lower: bounds?.lower ?? null, upper: bounds?.upper ?? null };
  });
  return { path, columns };
};
