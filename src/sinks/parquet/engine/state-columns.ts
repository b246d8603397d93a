// Owns the columns of a state file: Varve's own, then the table's, whose key columns are always filled and
// the others where a mark has an image. All under the engine's names, so that no name of a user's is in the
// way.
import type { IcebergField, IcebergType } from '../iceberg-type.ts';
import type { Mark } from '../scd2-version.ts';
import { columnOf } from './sql.ts';
import type { TableFields } from './table-fields.ts';

/** Above every id that a table's column can have. */
const BASE_ID = 2_000_000_000;
const own = (at: number, name: string, type: IcebergType): IcebergField => ({
  id: BASE_ID + at,
  name,
  required: false,
  type,
});
const list = (at: number, element: 'int' | 'string'): IcebergType => ({
  type: 'list',
  'element-id': BASE_ID + 100 + at,
  element,
  'element-required': false,
});
export const MARK_FIELDS: readonly IcebergField[] = [
  own(0, 'mark_order', 'string'),
  own(1, 'mark_kind', 'string'),
  own(2, 'mark_op', 'string'),
  own(3, 'mark_ts', 'long'),
  own(4, 'mark_tx', 'string'),
  own(5, 'mark_unchanged', list(5, 'int')),
  own(6, 'mark_origin', 'string'),
  own(7, 'mark_previous_key', 'string'),
  own(8, 'mark_incomplete', list(8, 'string')),
  own(9, 'mark_removed', 'boolean'),
];
export const [ORDER, KIND, OP] = MARK_FIELDS.slice(0, 3).map(columnOf) as [string, string, string];
export const ORIGIN = columnOf(MARK_FIELDS[6] as IcebergField);
export const REMOVED = columnOf(MARK_FIELDS[9] as IcebergField);

/** What a state file says of one mark. */
export type MarkRow = { key: string; mark: Mark<number>; removed: boolean };

export const stateColumns = ({ user }: TableFields): readonly IcebergField[] => [
  ...MARK_FIELDS,
  ...user.map((field) => ({ ...field, name: columnOf(field) })),
];
