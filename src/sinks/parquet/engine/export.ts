// Owns writing rows of a table to plain Parquet files of about one size, in folders named after partition
// values as Hive has them. Streams: what is held is a row group a thread. Knows no store and no manifest.
import { mkdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { VarveError } from '../../../errors.ts';
import type { IcebergField } from '../iceberg-type.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import { CODECS } from './output-files.ts';
import type { EngineSettings, ExportedFile, ExportPart, ExportRequest, ExportResult } from './protocol.ts';
import { makeRowsView, stoodAt } from './scan.ts';
import { fieldIds, quoteName, quoteText } from './sql.ts';
import { TableFields } from './table-fields.ts';

/** The rows are read once for each folder. */
const MOST_FOLDERS = 10_000;
const ROW_GROUP_ROWS = 122_880;
/** Wide rows: so much of a file's size is the most that is held before it is written. */
const ROW_GROUP_BYTES = 16 << 20;
/** What Hive calls the folder of NULL. */
const NULL_FOLDER = '__HIVE_DEFAULT_PARTITION__';

/** `%` first of all; then what a path, a URI, a glob or Hive would take for something else. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped.
const UNSAFE = /[\u0000-\u001f\u007f"#%'*/:=?\\{}[\]^]/g;
const LONGEST_FOLDER = 250;

const escaped = (text: string): string =>
  text.replace(UNSAFE, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);

/** `name=value`. */
const folderOf = ({ name }: ExportPart, value: string | null): string => {
  const text = value === null || value === '' ? NULL_FOLDER : escaped(value);
  const folder = `${escaped(name)}=${text}`;
  if (Buffer.byteLength(folder) <= LONGEST_FOLDER) return folder;
  throw new VarveError(
    'usage',
    `A value of ${name} is too long to name a folder; partition by something else.`,
  );
};

const FORMATS = { day: '%Y-%m-%d', hour: '%Y-%m-%d-%H' } as const;

/** SQL of a row's folder value, as text. */
const folderValue = (fields: readonly IcebergField[], { fieldId, transform }: ExportPart): string => {
  const field = fields.find(({ id }) => id === fieldId);
  if (field === undefined) throw new RangeError(`no column has the field id ${fieldId}`);
  const column = quoteName(field.name);
  if (transform === 'identity') return `CAST(${column} AS VARCHAR)`;
  // By the clock of UTC, in which the engine runs, also for zoned times.
  return `strftime(${column}, ${quoteText(FORMATS[transform])})`;
};

type Folder = { path: string; values: readonly (string | null)[]; where: string };

const foldersOf = async (
  database: Database,
  fields: readonly IcebergField[],
  parts: readonly ExportPart[],
): Promise<readonly Folder[]> => {
  if (parts.length === 0) return [{ path: '', values: [], where: 'true' }];
  const exprs = parts.map((part) => folderValue(fields, part));
  const list = exprs.map((sql, at) => `${sql} AS value_${at}`).join(', ');
  const rows = await database.rows(
    `SELECT DISTINCT ${list} FROM table_rows ORDER BY ALL LIMIT ${MOST_FOLDERS + 1}`,
  );
  if (rows.length > MOST_FOLDERS)
    throw new VarveError(
      'usage',
      `--partition-by would make more than ${MOST_FOLDERS} folders; partition by something coarser.`,
    );
  return rows.map((row) => {
    const values = row.map((value) => (value === null ? null : String(value)));
    const isOne = (sql: string, value: string | null): string =>
      value === null ? `${sql} IS NULL` : `${sql} = ${quoteText(value)}`;
    return {
      path: parts.map((part, at) => folderOf(part, values[at] ?? null)).join('/'),
      values,
      where: exprs.map((sql, at) => isOne(sql, values[at] ?? null)).join(' AND '),
    };
  });
};

const writeFolder = async (
  database: Database,
  { into, fileBytes, compression }: ExportRequest,
  { folder, fields }: { folder: Folder; fields: readonly IcebergField[] },
): Promise<ExportedFile[]> => {
  const path = join(into, folder.path);
  mkdirSync(path, { recursive: true });
  const columns = fields.map(({ name }) => quoteName(name)).join(', ');
  const rows = await database.rows(
    `COPY (SELECT ${columns} FROM table_rows WHERE ${folder.where}) TO ${quoteText(path)} ` +
      `(FORMAT parquet, COMPRESSION ${CODECS[compression]}, FIELD_IDS ${fieldIds(fields)}, ` +
      `ROW_GROUP_SIZE ${ROW_GROUP_ROWS}, ROW_GROUP_SIZE_BYTES ${Math.min(ROW_GROUP_BYTES, fileBytes)}, ` +
      `FILE_SIZE_BYTES ${fileBytes}, OVERWRITE_OR_IGNORE true, FILENAME_PATTERN 'part-{i}', RETURN_STATS)`,
  );
  return rows.map(([file, count, bytes]) => ({
    path: relative(into, String(file)),
    rows: Number(count),
    bytes: Number(bytes),
    values: folder.values,
  }));
};

/** Throws `usage` for a moment or a partitioning that does not fit the table. */
export const runExport = async (
  request: ExportRequest,
  { askLocal }: Pick<EngineContext, 'askLocal'>,
  settings: EngineSettings,
): Promise<ExportResult> => {
  const fields = new TableFields(request.layout);
  const filter = request.rows.kind === 'versions' ? 'true' : stoodAt(request.rows, fields);
  await using database = await Database.open(settings);
  await makeRowsView({ database, askLocal }, 'table_rows', { files: request, fields, filter });
  const files: ExportedFile[] = [];
  for (const folder of await foldersOf(database, fields.all, request.parts))
    files.push(...(await writeFolder(database, request, { folder, fields: fields.all })));
  return { files };
};
