// Owns the columns of a state file: Varve's own, then the table's, whose key columns are always filled and
// the others where a mark, or a version that stands no more, has an image. All under the engine's names, so
// that no name of a user's is in the way.
import type { IcebergField, IcebergType } from '../iceberg-type.ts';
import type { Mark, MarkKind } from '../scd2-version.ts';
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
  // Of closed versions only.
  own(10, 'mark_from', 'long'),
  own(11, 'mark_to', 'long'),
  own(12, 'mark_end', 'string'),
  own(13, 'mark_closed_by', 'string'),
];
/** The engine's name of one of Varve's own columns. */
export const markColumn = (name: string): string =>
  columnOf(MARK_FIELDS.find((field) => field.name === name) as IcebergField);
export const [ORDER, KIND, OP] = MARK_FIELDS.slice(0, 3).map(columnOf) as [string, string, string];
export const ORIGIN = markColumn('mark_origin');
export const REMOVED = markColumn('mark_removed');
export const END = markColumn('mark_end');

/** The kind of what is no mark: a version of a table in latest mode that stands no more. */
export const CLOSED = 'closed';

/** What a state file says of one mark, or that there is no such closed version any more. */
export type MarkRow = {
  key: string;
  mark: Omit<Mark<number>, 'kind'> & { kind: MarkKind | typeof CLOSED };
  removed: boolean;
};

export const stateColumns = ({ user }: TableFields): readonly IcebergField[] => [
  ...MARK_FIELDS,
  ...user.map((field) => ({ ...field, name: columnOf(field) })),
];
