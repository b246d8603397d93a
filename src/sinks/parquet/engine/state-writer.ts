// Owns writing a table's marks: what a fold has changed goes into a new file, and many files become one.
import { join } from 'node:path';
import { transactionOf } from '../../../change/order.ts';
import type { KeyResult, Mark } from '../scd2-version.ts';
import type { Bench } from './bench.ts';
import type { ColumnInput } from './database.ts';
import type { NextRows } from './next-rows.ts';
import { copyRows } from './output-files.ts';
import type { StateFile } from './protocol.ts';
import { castAll, columnDefinitions, columnList, quoteText } from './sql.ts';
import { KIND, MARK_FIELDS, type MarkRow, ORDER, REMOVED, stateColumns } from './state-columns.ts';
import type { TouchedKeys } from './touched-keys.ts';

/** So many files are merged into one, and what is past the horizon is left out. */
const MERGE_AT = 8;

type StateChange = {
  results: readonly KeyResult<number>[];
  touched: TouchedKeys;
  next: NextRows;
  /** Marks of the plain keys. */
  count: number;
  /** SQL of the marks so far. */
  scan: string;
};

/** Writes what a fold has changed; `removed`: the files that the new one replaces. */
export const writeState = async (
  bench: Bench,
  { results, touched, next, count, scan }: StateChange,
): Promise<{ added: StateFile | null; removed: readonly string[] }> => {
  const { request, context, fields } = bench;
  const marks: MarkRow[] = results.flatMap(({ key, marksAdded, marksRemoved }) => [
    ...marksRemoved.map((mark) => ({ key, mark, removed: true })),
    ...marksAdded.map((mark) => ({ key, mark, removed: false })),
  ]);
  const isMerge = request.state.length >= MERGE_AT;
  if (marks.length === 0 && count === 0 && !isMerge) return { added: null, removed: [] };
  await stageMarks(marks, touched, bench);
  if (count > 0) await context.database.run(`INSERT INTO mark_row ${next.selectMarks(request.state.length)}`);
  const columns = stateColumns(fields);
  const local = join(context.directory, `${request.commit}-state.parquet`);
  const from = isMerge ? selectMerged(bench, scan) : 'mark_row';
  const sort = `${columnList(fields.key)}, ${ORDER}`;
  const select = `SELECT ${castAll(columns)} FROM ${from} ORDER BY ${sort}`;
  const { rows, bytes } = await copyRows(context.database, select, { path: local, fields: columns });
  const removed = isMerge ? request.state : [];
  if (rows === 0) return { added: null, removed };
  return {
    added: { local, path: `${request.stateLocation}/${request.commit}.parquet`, rows, bytes },
    removed,
  };
};

const selectMerged = ({ request, fields }: Bench, scan: string): string => {
  const { horizon } = request;
  const floor = horizon === null ? '' : ` AND ${ORDER} > ${quoteText(`${transactionOf(horizon)}~`)}`;
  return (
    `(SELECT * FROM (SELECT * FROM ${scan} UNION ALL BY NAME SELECT * FROM mark_row) ` +
    `QUALIFY row_number() OVER (PARTITION BY ${columnList(fields.key)}, ${ORDER}, ${KIND} ` +
    'ORDER BY generation DESC) = 1 ' +
    `AND NOT ${REMOVED}${floor})`
  );
};

/** By place in MARK_FIELDS. */
const markColumns = (marks: readonly MarkRow[], { store }: Bench): ColumnInput[] => {
  const mark = (row: number): Mark<number> => marks[row]!.mark;
  const values: ColumnInput['value'][] = [
    (row) => mark(row).order,
    (row) => mark(row).kind,
    (row) => mark(row).op,
    (row) => mark(row).ts,
    (row) => mark(row).tx,
    (row) => (mark(row).unchanged.length === 0 ? null : mark(row).unchanged),
    (row) => mark(row).origin,
    (row) => mark(row).previousKey,
    (row) => {
      const { image } = mark(row);
      return image === null ? null : (store.incomplete[image] ?? null);
    },
    (row) => marks[row]!.removed,
  ];
  return MARK_FIELDS.map(({ type }, at) => ({ type, value: values[at]! }));
};

const stageMarks = async (marks: readonly MarkRow[], touched: TouchedKeys, bench: Bench): Promise<void> => {
  const { request, context, fields, store } = bench;
  await context.database.run(
    `CREATE OR REPLACE TEMP TABLE mark_row (generation INTEGER, ${columnDefinitions(stateColumns(fields))})`,
  );
  const user = fields.user.map((field, at): ColumnInput => {
    const keyAt = fields.key.indexOf(field);
    const column = store.columns[at]!;
    const fromImage = (row: number) => {
      const { image } = marks[row]!.mark;
      return image === null ? null : (column[image] ?? null);
    };
    const fromKey = (row: number) => touched.keys.get(marks[row]!.key)?.values[keyAt] ?? null;
    return { type: field.type, value: keyAt >= 0 ? fromKey : fromImage };
  });
  const generation: ColumnInput = { type: 'int', value: () => request.state.length };
  await context.database.append(
    'mark_row',
    [generation, ...markColumns(marks, bench), ...user],
    marks.length,
  );
};
