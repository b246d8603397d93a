// Owns looking for rows of some keys in files as they lie there, deleted rows included: which files hold
// any, and which rows of others name such a key as the one before. Changes no file.
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField } from '../iceberg-type.ts';
import type { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import { findLinks } from './erase-links.ts';
import { truthOf } from './erase-truth.ts';
import { keyTextOf } from './key-text.ts';
import type { Erased, EraseScanRequest, EraseScanResult } from './protocol.ts';
import { columnDefinitions, columnOf, matchKeys, scanFiles } from './sql.ts';
import { markColumn, ORIGIN, stateColumns } from './state-columns.ts';
import { TableFields } from './table-fields.ts';

/** Tables: the keys by their columns, their texts, and the texts of `_previous_key` that mean one of them. */
export const ERASED_KEY = 'erased_key';
export const ERASED_TEXT = 'erased_text';
export const ERASED_LINK = 'erased_link';

const stageTexts = async (database: Database, name: string, texts: readonly string[]): Promise<void> => {
  await database.run(`CREATE OR REPLACE TEMP TABLE ${name} (text VARCHAR)`);
  await database.append(name, [{ type: 'string', value: (row) => texts[row] ?? null }], texts.length);
};

export const stageErased = async (
  database: Database,
  { keys, links }: Erased,
  { key }: TableFields,
): Promise<void> => {
  await database.run(`CREATE OR REPLACE TEMP TABLE ${ERASED_KEY} (${columnDefinitions(key)})`);
  const columns = key.map(({ type }, at) => ({
    type,
    value: (row: number): EngineValue => keys[row]?.[at] ?? null,
  }));
  await database.append(ERASED_KEY, columns, keys.length);
  await stageTexts(database, ERASED_TEXT, keys.map(keyTextOf));
  await stageTexts(database, ERASED_LINK, links);
};

type Scanned = { local: string; path: string };

/** Rows of erased keys that still hold what was to go; null where a whole row is. */
const isWhole = ({ blank }: Erased, fields: readonly IcebergField[]): string => {
  if (blank === null) return 'true';
  const left = fields
    .filter(({ id }) => blank.includes(id))
    .map((field) => `s.${columnOf(field)} IS NOT NULL`);
  return `(${left.join(' OR ')})`;
};

const countRows = async (
  database: Database,
  { local }: Scanned,
  {
    fields,
    key,
    erased,
    links,
  }: { fields: readonly IcebergField[]; key: readonly IcebergField[]; erased: Erased; links: string },
): Promise<{ rows: number; named: number }> => {
  const scan = scanFiles([local], fields);
  const rows = await database.rows(
    `SELECT count(*) FROM ${scan} s SEMI JOIN ${ERASED_KEY} k ON ${matchKeys(key, 's', 'k')} ` +
      `WHERE ${isWhole(erased, fields)}`,
  );
  const named = links === '' ? [[0]] : await database.rows(`SELECT count(*) FROM ${scan} s WHERE ${links}`);
  return { rows: Number(rows[0]?.[0] ?? 0), named: Number(named[0]?.[0] ?? 0) };
};

/** Looks into every file that is named, whole. */
export const runEraseScan = async (
  { layout, data, state, erased, withTruth }: EraseScanRequest,
  { database, askLocal }: Pick<EngineContext, 'database' | 'askLocal'>,
): Promise<EraseScanResult> => {
  const fields = new TableFields(layout);
  const result: EraseScanResult = { data: [], state: [], links: [], truths: [] };
  const locals = async (paths: readonly string[]): Promise<Scanned[]> => {
    const found: Scanned[] = [];
    for (const path of paths) found.push({ path, local: await askLocal(path) });
    return found;
  };
  const sides = [
    {
      files: await locals(data),
      fields: fields.all,
      previous: fields.indexOf('_previous_key') < 0 ? null : fields.column('_previous_key'),
      origin: null,
      into: result.data,
    },
    {
      files: await locals(state),
      fields: stateColumns(fields),
      previous: markColumn('mark_previous_key'),
      origin: ORIGIN,
      into: result.state,
    },
  ];
  const links = new Set(erased.links);
  for (const { files, fields: columns, previous } of sides)
    for (const { local } of files)
      if (previous !== null) {
        const from = scanFiles([local], columns);
        const found = await findLinks(database, from, { column: previous, erased, layout });
        for (const text of found) links.add(text);
      }
  // A row that only loses values keeps its key, and whoever had it before may be named.
  if (erased.blank === null) result.links.push(...links);
  await stageErased(database, { ...erased, links: result.links }, fields);
  for (const { files, fields: columns, previous, origin, into } of sides)
    for (const file of files) {
      const isNamed = [
        ...(previous === null ? [] : [`s.${previous} IN (SELECT text FROM ${ERASED_LINK})`]),
        ...(origin === null ? [] : [`s.${origin} IN (SELECT text FROM ${ERASED_TEXT})`]),
      ];
      const named = erased.blank === null ? isNamed.join(' OR ') : '';
      const counts = await countRows(database, file, {
        fields: columns,
        key: fields.key,
        erased,
        links: named,
      });
      into.push({ path: file.path, ...counts });
    }
  if (withTruth)
    for (const file of sides[0]?.files ?? []) result.truths.push(await truthOf(database, file, fields.all));
  return result;
};
