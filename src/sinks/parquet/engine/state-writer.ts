// Owns writing a table's marks: what a fold has changed goes into a new file, and many files become one.
import { join } from 'node:path';
import type { KeyResult } from '../scd2-version.ts';
import type { Bench } from './bench.ts';
import type { ColumnInput } from './database.ts';
import type { NextRows } from './next-rows.ts';
import { copyRows } from './output-files.ts';
import type { StateFile } from './protocol.ts';
import { castAll, columnDefinitions, columnList, quoteText } from './sql.ts';
import { CLOSED, KIND, MARK_FIELDS, type MarkRow, ORDER, stateColumns } from './state-columns.ts';
import type { StateMarks } from './state-marks.ts';
import { planMerge, selectMerged } from './state-merge.ts';
import type { TouchedKeys } from './touched-keys.ts';

type StateChange = {
  results: readonly KeyResult<number>[];
  touched: TouchedKeys;
  next: NextRows;
  /** Marks of the plain keys. */
  count: number;
  /** The marks so far. */
  companion: StateMarks;
};

/** Writes what a fold has changed; `removed`: the files that the new one replaces. */
export const writeState = async (
  bench: Bench,
  { results, touched, next, count, companion }: StateChange,
): Promise<{ added: StateFile | null; removed: readonly string[] }> => {
  const { request, context, fields, past } = bench;
  const { database } = context;
  const generation = request.state.length;
  const marks: MarkRow[] = results.flatMap(({ key, marksAdded, marksRemoved }) => [
    ...marksRemoved.map((mark) => ({ key, mark, removed: true })),
    ...marksAdded.map((mark) => ({ key, mark, removed: false })),
  ]);
  if (past !== null) marks.push(...results.flatMap(reopened));
  const plan = await planMerge(bench, companion);
  const removed = [...request.state.slice(0, plan.expired), ...request.state.slice(plan.rest)];
  const isNothingNew = marks.length === 0 && count === 0 && (past?.count ?? 0) === 0;
  if (isNothingNew && plan.rest === generation) return { added: null, removed };
  await stageMarks(marks, touched, bench);
  if (count > 0) await database.run(`INSERT INTO mark_row ${next.selectMarks(generation)}`);
  if (past !== null) await database.run(`INSERT INTO mark_row ${past.selectMarks(generation)}`);
  const columns = stateColumns(fields);
  const local = join(context.directory, `${request.commit}-state.parquet`);
  const all = plan.rest === generation ? 'mark_row' : selectMerged(bench, companion, plan);
  // Closed versions lie apart: who asks for marks reads past their images.
  const sort = `${KIND} = ${quoteText(CLOSED)}, ${columnList(fields.key)}, ${ORDER}`;
  const select = `SELECT ${castAll(columns)} FROM ${all} ORDER BY ${sort}`;
  const { rows, bytes } = await copyRows(context.database, select, { path: local, fields: columns });
  if (rows === 0) return { added: null, removed };
  return {
    added: { local, path: `${request.stateLocation}/${request.commit}.parquet`, rows, bytes },
    removed,
  };
};

/** Closed versions that are no more, or stand again. */
const reopened = ({ key, removed, written }: KeyResult<number>): MarkRow[] => {
  const closed = new Set(written.filter(({ orderEnd }) => orderEnd !== null).map(({ order }) => order));
  return removed
    .filter(({ order, orderEnd }) => orderEnd !== null && !closed.has(order))
    .map(({ order, op, ts, tx }) => {
      const mark = { order, kind: CLOSED, op, ts, tx, unchanged: [], origin: null } as const;
      return { key, mark: { ...mark, previousKey: null, image: null }, removed: true };
    });
};

/** By place in MARK_FIELDS. */
const markColumns = (marks: readonly MarkRow[], { store }: Bench): ColumnInput[] => {
  const mark = (row: number): MarkRow['mark'] => marks[row]!.mark;
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
  return MARK_FIELDS.map(({ type }, at) => ({ type, value: values[at] ?? (() => null) }));
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
