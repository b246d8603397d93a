// Owns finding whose rows are to go by a condition of the user's, over all versions of a table.
import type { EngineValue } from '../columns-value.ts';
import { checkCondition, conditionError } from './condition.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import type { EngineSettings, EraseKeysRequest, EraseKeysResult } from './protocol.ts';
import { makeRowsView } from './scan.ts';
import { quoteName } from './sql.ts';
import { TableFields } from './table-fields.ts';

const MOST_KEYS = 1_000_000;

/** The keys of rows that stand or stood in the table and for which a condition of the user's holds. */
export const runEraseKeys = async (
  request: EraseKeysRequest,
  { askLocal }: Pick<EngineContext, 'askLocal'>,
  settings: EngineSettings,
): Promise<EraseKeysResult> => {
  const fields = new TableFields(request.layout);
  await using database = await Database.open(settings);
  await checkCondition(database, request.where);
  const rows = { files: request, fields, filter: 'true' };
  await database.lock(await makeRowsView({ database, askLocal }, 'table_rows', rows));
  const names = fields.key.map(({ name }) => quoteName(name)).join(', ');
  const keys: EngineValue[][] = [];
  try {
    await database.readOne(
      `SELECT DISTINCT ${names} FROM table_rows WHERE (${request.where}\n) LIMIT ${MOST_KEYS + 1}`,
      fields.key.map(({ type }) => type),
      (columns, count) => {
        for (let row = 0; row < count; row++) keys.push(columns.map((column) => column[row] ?? null));
      },
    );
  } catch (thrown) {
    throw conditionError(thrown, request.where);
  }
  return { keys: keys.slice(0, MOST_KEYS), more: keys.length > MOST_KEYS };
};
