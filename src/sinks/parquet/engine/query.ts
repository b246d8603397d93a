// Owns questions to a table's files: its rows now, as of a time or an order, one key's versions, what became
// of a key. The user's condition runs in a database of its own that can read these files and nothing else.
import type { EngineValue } from '../columns-value.ts';
import { checkCondition, conditionError } from './condition.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import type { EngineSettings, QueryRequest, QueryResult } from './protocol.ts';
import { isAsked, makeRowsView } from './scan.ts';
import { TableFields } from './table-fields.ts';

/** Throws `usage` for a condition or a question that does not fit the table. */
export const runQuery = async (
  request: QueryRequest,
  { askLocal }: Pick<EngineContext, 'askLocal'>,
  settings: EngineSettings,
): Promise<QueryResult> => {
  const fields = new TableFields(request.layout);
  const filter = isAsked(request.rows, fields);
  await using database = await Database.open(settings);
  if (request.where !== null) await checkCondition(database, request.where);
  const locals = await makeRowsView({ database, askLocal }, 'table_rows', { files: request, fields, filter });
  await database.lock(locals);
  const order = fields.indexOf('_order') + 1;
  const byKey = [...fields.key.map((field) => fields.all.indexOf(field) + 1), order].join(', ');
  const sort = request.newestFirst === true ? `${order} DESC` : byKey;
  // The line break ends a comment that the condition may end with.
  const where = request.where === null ? '' : `WHERE (${request.where}\n)`;
  const rows: (readonly EngineValue[])[] = [];
  const files: string[] = [];
  try {
    await database.readOne(
      `SELECT * FROM table_rows ${where} ORDER BY ${sort} LIMIT ${request.limit + 1}`,
      [...fields.all.map(({ type }) => type), 'string'],
      (values, count) => {
        const columns = values.slice(0, -1);
        const uris = values.at(-1) ?? [];
        for (let row = 0; row < count; row++) {
          rows.push(columns.map((column) => column[row]!));
          files.push(uris[row] as string);
        }
      },
    );
  } catch (thrown) {
    throw conditionError(thrown, request.where);
  }
  const { limit } = request;
  return {
    columns: fields.all.map(({ name }) => name),
    rows: rows.slice(0, limit),
    files: files.slice(0, limit),
    more: rows.length > limit,
  };
};
