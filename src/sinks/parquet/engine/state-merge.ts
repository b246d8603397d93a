// Owns which files of a companion become one, and which go: few enough that reading them all is cheap, and a
// mark is not written again with every merge. Writes none.
import { statSync } from 'node:fs';
import { transactionOf } from '../../../change/order.ts';
import type { Bench } from './bench.ts';
import { columnList, quoteText } from './sql.ts';
import { END, KIND, ORDER, REMOVED } from './state-columns.ts';
import type { StateMarks } from './state-marks.ts';

/** From so many files on, some are merged. */
const MERGE_AT = 8;
/** Larger files are left alone until all that is in them may be forgotten. */
const MOST_BYTES = 64 << 20;

/**
 * `sizes`: bytes, the oldest file first; newer files overrule older ones, so only neighbours are merged.
 * Returns from where on all of them become one with what is new; null: none do. A file joins when what is
 * behind it is at least half as large, so each mark is written again about once a doubling.
 */
export const mergeFrom = (sizes: readonly number[]): number | null => {
  if (sizes.length < MERGE_AT) return null;
  let from = sizes.length;
  let sum = 0;
  for (let at = sizes.length - 1; at >= 0; at--) {
    const size = sizes[at] ?? 0;
    if (size > MOST_BYTES || (sizes.length - at > 2 && size > 2 * sum)) break;
    sum += size;
    from = at;
  }
  return sizes.length - from > 1 ? from : null;
};

/** By place among the files, oldest first: those before `expired` go, those from `rest` on become one. */
type MergePlan = { expired: number; rest: number };

/** When nobody asks for it any more: a version, once it has ended that long ago. */
const LAST = `coalesce(${END}, ${ORDER})`;
const floorOf = ({ request: { horizon } }: Bench): string | null =>
  horizon === null ? null : `${transactionOf(horizon)}~`;

/** How many files, the oldest ones, have nothing that a late change may still need. */
const countExpired = async (bench: Bench, { scan, locals }: StateMarks): Promise<number> => {
  const floor = floorOf(bench);
  if (floor === null) return 0;
  for (let at = 0; at < locals.length; at++) {
    const [row] = await bench.context.database.rows(
      `SELECT max(${LAST}) FROM ${scan} WHERE generation = ${at}`,
    );
    if (typeof row?.[0] === 'string' && row[0] > floor) return at;
  }
  return locals.length;
};

/**
 * SQL: what becomes of the files that are merged, with what is new. What was taken away is forgotten only
 * together with all that may speak of it.
 */
export const selectMerged = (bench: Bench, { scan }: StateMarks, { rest, expired }: MergePlan): string => {
  const floor = floorOf(bench);
  const isLate = floor === null ? '' : ` AND ${LAST} > ${quoteText(floor)}`;
  return (
    `(SELECT * FROM (SELECT * FROM ${scan} WHERE generation >= ${rest} ` +
    'UNION ALL BY NAME SELECT * FROM mark_row) ' +
    `QUALIFY row_number() OVER (PARTITION BY ${columnList(bench.fields.key)}, ${ORDER}, ${KIND} ` +
    `ORDER BY generation DESC) = 1${rest > expired ? '' : ` AND NOT ${REMOVED}${isLate}`})`
  );
};

/** What is to become of the companion's files now. */
export const planMerge = async (bench: Bench, marks: StateMarks): Promise<MergePlan> => {
  const expired = await countExpired(bench, marks);
  const from = mergeFrom(marks.locals.slice(expired).map((local) => statSync(local).size));
  return { expired, rest: from === null ? marks.locals.length : expired + from };
};
