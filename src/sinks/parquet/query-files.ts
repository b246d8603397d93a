// Owns which files a question needs, said as what their rows must have. Pure of I/O but for what `findFiles`
// reads; knows no SQL. What follows from the question is used; what does not is left to the engine.
import type { TableLayout } from './columns-layout.ts';
import type { Moment, QueryRequest } from './engine/protocol.ts';
import type { FoundFiles, Wish } from './iceberg/prune.ts';
import type { IcebergField, LiveFile } from './iceberg-type.ts';

type Columns = (name: string) => IcebergField | null;

const columnsOf =
  ({ fields }: TableLayout): Columns =>
  (name) =>
    fields.find((field) => field.name === name) ?? null;

type Ends = { from: IcebergField | null; to: IcebergField | null; value: bigint | string };

/** The columns that say when a row stood, on the clock that the moment is said by. */
const endsOf = (at: Extract<Moment, { kind: 'asOf' }>['at'], column: Columns): Ends =>
  'order' in at
    ? { from: column('_order'), to: column('_order_end'), value: at.order }
    : { from: column('valid_from'), to: column('valid_to'), value: at.ts };

const isCurrent = (column: Columns, value: boolean): Wish[] => {
  const field = column('is_current');
  return field === null ? [] : [{ field, is: 'equal', value }];
};

const stoodThen = (moment: Moment, column: Columns): Wish[] => {
  if (moment.kind === 'current') return isCurrent(column, true);
  const { from, to, value } = endsOf(moment.at, column);
  const wishes: Wish[] = [];
  if (from !== null) wishes.push({ field: from, is: 'atMost', value });
  if (to !== null) wishes.push({ field: to, is: 'aboveOrNull', value });
  return wishes;
};

export const wishesOf = (rows: QueryRequest['rows'], layout: TableLayout): Wish[] => {
  const column = columnsOf(layout);
  switch (rows.kind) {
    case 'history':
      return layout.key.flatMap((id, at): Wish[] => {
        const field = layout.fields.find((one) => one.id === id);
        const value = rows.key[at];
        return field === undefined || value === undefined ? [] : [{ field, is: 'equal', value }];
      });
    case 'rekeyed': {
      const [previous, order] = [column('_previous_key'), column('_order')];
      if (previous === null || order === null) return [];
      return [
        { field: previous, is: 'notNull' },
        { field: order, is: 'atLeast', value: rows.from },
        { field: order, is: 'atMost', value: rows.to },
      ];
    }
    default:
      return stoodThen(rows, column);
  }
};

/** Negative where `one` is the earlier; null where they are said by different clocks. */
const compareMoments = (one: Moment, other: Moment): number | null => {
  if (one.kind === 'current' || other.kind === 'current')
    return Number(one.kind === 'current') - Number(other.kind === 'current');
  if ('ts' in one.at && 'ts' in other.at) return Number(one.at.ts - other.at.ts);
  if ('order' in one.at && 'order' in other.at) return one.at.order < other.at.order ? -1 : 1;
  return null;
};

/** Of rows that stood at `moment` and did not stand at `except`: they ended before it, or began after it. */
export const wishesBetween = (moment: Moment, except: Moment, layout: TableLayout): Wish[] => {
  const column = columnsOf(layout);
  const wishes = stoodThen(moment, column);
  const order = compareMoments(moment, except);
  if (order === null || order === 0) return wishes;
  if (except.kind === 'current') return [...wishes, ...isCurrent(column, false)];
  const { from, to, value } = endsOf(except.at, column);
  if (order < 0 && to !== null) wishes.push({ field: to, is: 'atMost', value });
  if (order > 0 && from !== null) wishes.push({ field: from, is: 'atLeast', value });
  return wishes;
};

type Files = Pick<FoundFiles, 'data' | 'deletes'>;

/** By data file: which delete files hit it; null where one may that names no file. */
const deletesByFile = ({ data, deletes }: Files): Map<string, string | null> => {
  const found = new Map<string, string | null>(data.map(({ path }) => [path, '']));
  for (const { path, referencedDataFile } of deletes.toSorted((a, b) => (a.path < b.path ? -1 : 1)))
    for (const target of referencedDataFile === null ? found.keys() : [referencedDataFile]) {
      const before = found.get(target) ?? null;
      found.set(target, before === null || referencedDataFile === null ? null : `${before}\n${path}`);
    }
  return found;
};

/** Two snapshots without the files whose rows are the same in both. */
export const withoutShared = (one: Files, other: Files): [Files, Files] => {
  const [mine, theirs] = [deletesByFile(one), deletesByFile(other)];
  const isShared = ({ path }: Pick<LiveFile, 'path'>): boolean =>
    mine.has(path) && mine.get(path) !== null && mine.get(path) === theirs.get(path);
  const rest = ({ data, deletes }: Files): Files => ({
    data: data.filter((file) => !isShared(file)),
    deletes: deletes.filter((file) => !isShared({ path: file.referencedDataFile ?? '' })),
  });
  return [rest(one), rest(other)];
};
