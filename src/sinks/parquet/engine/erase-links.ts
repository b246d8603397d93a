// Owns telling which rows name an erased key as the one before: their texts are read as keys, by every shape
// that the source ever had.
import { compileConvert } from '../columns.ts';
import { type KeyColumn, readKeyJson } from '../columns-key.ts';
import { fieldOfColumn, type TableLayout } from '../columns-layout.ts';
import type { Database } from './database.ts';
import { keyTextOf } from './key-text.ts';
import type { Erased } from './protocol.ts';

/** How a key's JSON is read, for each shape that the source ever had. */
const keyShapes = ({ schemas }: Erased, layout: TableLayout): KeyColumn[][] =>
  schemas.map(({ key, columns, fields }) =>
    key.flatMap((at): KeyColumn[] => {
      const column = columns[at];
      const field = column === undefined ? null : fieldOfColumn(layout, column);
      if (column === undefined || field === null) return [];
      return [
        { field: fields[at] ?? '', type: column.type, convert: compileConvert(column.type, field.type) },
      ];
    }),
  );

/** Texts of previous keys that mean an erased one. */
export const findLinks = async (
  database: Database,
  from: string,
  { column, erased, layout }: { column: string; erased: Erased; layout: TableLayout },
): Promise<string[]> => {
  const shapes = keyShapes(erased, layout);
  const texts = new Set(erased.keys.map(keyTextOf));
  const links: string[] = [];
  const means = (text: string): boolean =>
    shapes.some((shape) => {
      const key = readKeyJson(text, shape);
      return key !== null && key.length > 0 && texts.has(keyTextOf(key));
    });
  await database.read(
    `SELECT DISTINCT ${column} FROM ${from} WHERE ${column} IS NOT NULL`,
    ['string'],
    ([found = []], rows) => {
      for (let row = 0; row < rows; row++) if (means(found[row] as string)) links.push(found[row] as string);
    },
  );
  return links;
};
