// Owns taking rows of some keys out of files, or values out of those rows: out of data files and out of the
// companion's. What it writes is whole; nothing is taken over here.
import { join } from 'node:path';
import type { IcebergField } from '../iceberg-type.ts';
import type { EngineContext } from './engine-context.ts';
import { ERASED_KEY, ERASED_LINK, ERASED_TEXT, stageErased } from './erase-scan.ts';
import { UNKNOWN_KEY } from './key-text.ts';
import { copyRows } from './output-files.ts';
import type {
  Erased,
  EraseRowsRequest,
  EraseStateRequest,
  EraseStateResult,
  RewriteResult,
} from './protocol.ts';
import { runRewrite } from './rewrite.ts';
import { castAll, columnList, columnOf, matchKeys, quoteText, scanFiles } from './sql.ts';
import { CLOSED, KIND, markColumn, ORDER, ORIGIN, stateColumns } from './state-columns.ts';
import { TableFields } from './table-fields.ts';

/** No text of SQL can hold it. */
const UNKNOWN = `chr(${UNKNOWN_KEY.charCodeAt(0)})`;

/** Without what names an erased key as the one before. */
const unlinked = (column: string): string =>
  `CASE WHEN ${column} IN (SELECT text FROM ${ERASED_LINK}) THEN NULL ELSE ${column} END`;

type Blanking = {
  fields: readonly IcebergField[];
  key: readonly IcebergField[];
  erased: Erased;
  /** Their names in the table. */
  names: readonly string[];
  /** The column that names what a row has no value of. */
  incomplete: string;
  /** Other SQL for columns, by the engine's names. */
  changed: ReadonlyMap<string, string>;
};

/** SQL of one column of a row whose values may go. */
const columnLeft = (column: string, id: number, { erased, names, incomplete, changed }: Blanking): string => {
  const other = changed.get(column);
  if (other !== undefined) return other;
  const { blank } = erased;
  if (blank === null) return `s.${column}`;
  if (blank.includes(id)) return `CASE WHEN k.is_erased IS NOT NULL THEN NULL ELSE s.${column} END`;
  if (column !== incomplete) return `s.${column}`;
  const all = `list_concat(coalesce(s.${column}, []), [${names.map(quoteText).join(', ')}])`;
  return `CASE WHEN k.is_erased IS NOT NULL THEN list_sort(list_distinct(${all})) ELSE s.${column} END`;
};

/** SQL of the rows that stay, of a relation whose columns are named by field id. */
const withoutErased = (from: string, blanking: Blanking): string => {
  const { fields, key, erased } = blanking;
  const columns = fields.map((field) => {
    const column = columnOf(field);
    return `${columnLeft(column, field.id, blanking)} AS ${column}`;
  });
  const keys = `(SELECT *, true AS is_erased FROM ${ERASED_KEY}) k`;
  const rows = `SELECT ${columns.join(', ')} FROM ${from} s LEFT JOIN ${keys} ON ${matchKeys(key, 's', 'k')}`;
  return erased.blank === null ? `${rows} WHERE k.is_erased IS NULL` : rows;
};

const namesOf = (fields: readonly IcebergField[], { blank }: Erased): string[] =>
  fields.filter(({ id }) => blank?.includes(id) === true).map(({ name }) => name);

/** Writes what is left of the live rows of the inputs, which share one partition tuple. */
export const runEraseRows = async (
  request: EraseRowsRequest,
  context: EngineContext,
): Promise<RewriteResult> => {
  const { database } = context;
  const { erased, layout } = request;
  const fields = new TableFields(layout);
  await stageErased(database, erased, fields);
  const changed = new Map<string, string>();
  if (fields.indexOf('_previous_key') >= 0) {
    const column = fields.column('_previous_key');
    changed.set(column, unlinked(`s.${column}`));
  }
  const names = namesOf(fields.all, erased);
  const incomplete = fields.column('_incomplete');
  const blanking = { fields: fields.all, key: fields.key, erased, names, incomplete, changed };
  const refine = (rows: string): string => withoutErased(`(${rows})`, blanking);
  // A blanked column may be one that rows are placed by.
  const isMoved = request.spec.fields.findIndex(({ sourceId }) => erased.blank?.includes(sourceId) === true);
  return runRewrite(request, context, { refine, known: isMoved < 0 ? null : isMoved });
};

/** Writes what is left of one companion file. */
export const runEraseState = async (
  { layout, erased, path, commit, stateLocation }: EraseStateRequest,
  { database, directory, askLocal }: EngineContext,
): Promise<EraseStateResult> => {
  const fields = new TableFields(layout);
  await stageErased(database, erased, fields);
  const columns = stateColumns(fields);
  const previous = markColumn('mark_previous_key');
  const origin =
    `CASE WHEN s.${ORIGIN} IN (SELECT text FROM ${ERASED_TEXT}) ` + `THEN ${UNKNOWN} ELSE s.${ORIGIN} END`;
  // An image that rested on an erased key's rests on nothing that is known.
  const changed = new Map(
    erased.blank === null
      ? [
          [previous, unlinked(`s.${previous}`)],
          [ORIGIN, origin],
        ]
      : [],
  );
  const names = namesOf(fields.all, erased);
  const incomplete = markColumn('mark_incomplete');
  const blanking = { fields: columns, key: fields.key, erased, names, incomplete, changed };
  const rows = withoutErased(scanFiles([await askLocal(path)], columns), blanking);
  const local = join(directory, `${commit}-state.parquet`);
  const sort = `${KIND} = ${quoteText(CLOSED)}, ${columnList(fields.key)}, ${ORDER}`;
  const select = `SELECT ${castAll(columns)} FROM (${rows}) ORDER BY ${sort}`;
  const done = await copyRows(database, select, { path: local, fields: columns });
  if (done.rows === 0) return { added: null };
  const { rows: count, bytes } = done;
  return { added: { local, path: `${stateLocation}/${commit}.parquet`, rows: count, bytes } };
};
