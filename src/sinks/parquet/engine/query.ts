// Owns questions to a table's files: its rows now, as of a time or an order, or one key's versions. The
// user's condition runs in a database of its own that can read these files and nothing else.
import { VarveError } from '../../../errors.ts';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergType } from '../iceberg-type.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import { isCurrentFile, LiveFiles } from './live-files.ts';
import type { EngineSettings, QueryRequest, QueryResult } from './protocol.ts';
import { castAll, columnOf, quoteText, scanFiles, sqlType } from './sql.ts';
import { TableFields } from './table-fields.ts';

const condition = ({ rows }: QueryRequest, fields: TableFields): string => {
  switch (rows.kind) {
    case 'current':
      return fields.key.length === 0 ? 'true' : fields.column('is_current');
    case 'history': {
      if (rows.key.length !== fields.key.length)
        throw new VarveError(
          'usage',
          `The table's key has these columns: ${fields.key.map(({ name }) => name).join(', ')}. ` +
            `${rows.key.length} values were given.`,
        );
      const equals = fields.key.map(
        (field, at) =>
          `${columnOf(field)} = CAST(${quoteText(rows.key[at] ?? '')} AS ${sqlType(field.type)})`,
      );
      return equals.join(' AND ');
    }
    case 'asOf': {
      if (fields.key.length === 0)
        throw new VarveError(
          'usage',
          'A table without a key is a list of events; it has no state as of a time.',
        );
      const isOrder = 'order' in rows.at;
      const at = 'order' in rows.at ? quoteText(rows.at.order) : `make_timestamptz(${rows.at.ts})`;
      const from = fields.column(isOrder ? '_order' : 'valid_from');
      const to = fields.column(isOrder ? '_order_end' : 'valid_to');
      return `${from} <= ${at} AND (${to} IS NULL OR ${to} > ${at})`;
    }
  }
};

/** Digits behind the point that a number's type keeps; null: the type is no exact number. */
const scaleOf = (type: IcebergType): number | null => {
  if (type === 'int' || type === 'long') return 0;
  const decimal = typeof type === 'string' ? /^decimal\(\d+, ?(\d+)\)$/.exec(type) : null;
  return decimal === null ? null : Number(decimal[1]);
};

/** Whether a cast would round the text, and so find another key. */
const isRounded = (text: string, type: IcebergType): boolean => {
  const scale = scaleOf(type);
  return scale !== null && !new RegExp(`^[+-]?\\d+(\\.\\d{0,${scale}}0*)?$`).test(text.trim());
};

/** Throws `usage` for a key's text that no value of its column is written as. */
const checkKey = async ({ rows }: QueryRequest, { key }: TableFields, database: Database): Promise<void> => {
  if (rows.kind !== 'history') return;
  for (const [at, { name, type }] of key.entries()) {
    const text = rows.key[at] ?? '';
    const [row] = await database.rows(`SELECT TRY_CAST(${quoteText(text)} AS ${sqlType(type)}) IS NULL`);
    if (row?.[0] === true || isRounded(text, type))
      throw new VarveError(
        'usage',
        `The key column ${name} is of type ${type}: ${JSON.stringify(text)} is none.`,
      );
  }
};

const usageError = (thrown: unknown): VarveError => {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  // A conversion error would print a row's value.
  const isSafe = /^(Parser|Binder|Catalog|Permission) Error/.test(text);
  const why = isSafe ? text.split('\n')[0] : 'it cannot be evaluated on some row';
  return new VarveError(
    'usage',
    `The condition was refused: ${why}. It is one SQL expression over the table's columns.`,
  );
};

/** Throws `usage` for a key or condition that does not fit the table. */
export const runQuery = async (
  request: QueryRequest,
  { askLocal }: Pick<EngineContext, 'askLocal'>,
  settings: EngineSettings,
): Promise<QueryResult> => {
  const fields = new TableFields(request.layout);
  const filter = condition(request, fields);
  const isNow = request.rows.kind === 'current' && fields.key.length > 0;
  const data = isNow ? request.data.filter(isCurrentFile) : request.data;
  const columns = fields.all.map(({ name }) => name);
  await using database = await Database.open(settings);
  await checkKey(request, fields, database);
  if (data.length === 0) return { columns, rows: [], more: false };
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const locals = (await files.open(data)).map(({ local }) => local);
  await database.run(
    `CREATE TEMP VIEW table_rows AS SELECT ${castAll(fields.all)} FROM ${scanFiles(locals, fields.all)} s ` +
      'JOIN live_file l ON l.local = s.filename ' +
      `ANTI JOIN deleted_row d ON d.file = l.file AND d.pos = s.file_row_number WHERE ${filter}`,
  );
  await database.lock(locals);
  const order = fields.all.map(({ name }) => name).indexOf('_order') + 1;
  const sort = [...fields.key.map((field) => fields.all.indexOf(field) + 1), order].join(', ');
  // The line break ends a comment that the condition may end with.
  const where = request.where === null ? '' : `WHERE (${request.where}\n)`;
  const rows: (readonly EngineValue[])[] = [];
  const sql = `SELECT * FROM table_rows ${where} ORDER BY ${sort} LIMIT ${request.limit + 1}`;
  try {
    await database.readOne(
      sql,
      fields.all.map(({ type }) => type),
      (values, count) => {
        for (let row = 0; row < count; row++) rows.push(values.map((column) => column[row]!));
      },
    );
  } catch (thrown) {
    throw usageError(thrown);
  }
  return { columns, rows: rows.slice(0, request.limit), more: rows.length > request.limit };
};
