// Owns the rows of a table as a question sees them: live rows of some files, those that stood at one moment,
// under their real names. Knows no answer.
import { VarveError } from '../../../errors.ts';
import type { Database } from './database.ts';
import { literalOf } from './literal.ts';
import { type AskLocal, LiveFiles } from './live-files.ts';
import type { Moment, QueryRequest, SourceFile } from './protocol.ts';
import { castAll, columnOf, quoteName, quoteText, scanFiles } from './sql.ts';
import type { TableFields } from './table-fields.ts';

const hasOwn = (fields: TableFields, name: string): boolean => fields.indexOf(name) >= 0;

/** SQL: whether a row stood at a moment. Throws `usage` where the table does not remember. */
export const stoodAt = (moment: Moment, fields: TableFields): string => {
  if (moment.kind === 'current') return hasOwn(fields, 'is_current') ? fields.column('is_current') : 'true';
  if (!hasOwn(fields, 'valid_to'))
    throw new VarveError(
      'usage',
      !hasOwn(fields, 'valid_from')
        ? 'This table is a list of events; it has no state as of a time.'
        : 'This table keeps no history: it has no state as of a time or an order. --snapshot shows it as a ' +
            'commit left it.',
    );
  const isOrder = 'order' in moment.at;
  const at = 'order' in moment.at ? quoteText(moment.at.order) : `make_timestamptz(${moment.at.ts})`;
  const from = fields.column(isOrder ? '_order' : 'valid_from');
  const to = fields.column(isOrder ? '_order_end' : 'valid_to');
  return `(${from} <= ${at} AND (${to} IS NULL OR ${to} > ${at}))`;
};

/** SQL: whether a row is looked for. */
export const isAsked = (rows: QueryRequest['rows'], fields: TableFields): string => {
  switch (rows.kind) {
    case 'history':
      return fields.key
        .map((field, at) => `${columnOf(field)} = ${literalOf(rows.key[at] ?? '', field.type)}`)
        .join(' AND ');
    case 'rekeyed': {
      const order = fields.column('_order');
      const [from, to] = [quoteText(rows.from), quoteText(rows.to)];
      return `${fields.column('_previous_key')} IS NOT NULL AND ${order} >= ${from} AND ${order} < ${to}`;
    }
    default:
      return stoodAt(rows, fields);
  }
};

/** The name under which a row tells its file; Iceberg reserves it for that. */
const FILE = '_file';

const fileColumn = ({ all }: TableFields): string => {
  const names = new Set(all.map(({ name }) => name.toLowerCase()));
  let name = FILE;
  while (names.has(name)) name += '_';
  return name;
};

type Scan = {
  files: Pick<QueryRequest, 'data' | 'deletes'>;
  fields: TableFields;
  /** SQL over columns named by field id. */
  filter: string;
};

/**
 * Makes the view `name` of these rows: columns by their real names, then the file. Gives the files' local
 * paths, which the database must be allowed to read.
 */
export const makeRowsView = async (
  { database, askLocal }: { database: Database; askLocal: AskLocal },
  name: string,
  { files, fields, filter }: Scan,
): Promise<readonly string[]> => {
  const columns = castAll(fields.all);
  const file = quoteName(fileColumn(fields));
  if (files.data.length === 0) {
    const empty = fields.all.map((field) => `NULL AS ${columnOf(field)}`).join(', ');
    await database.run(
      `CREATE TEMP VIEW ${name} AS SELECT ${columns}, ''::VARCHAR AS ${file} ` +
        `FROM (SELECT ${empty}) WHERE false`,
    );
    return [];
  }
  const live = new LiveFiles(database, askLocal, files.deletes);
  await live.prepare();
  const opened = await live.open(files.data as readonly SourceFile[]);
  const locals = opened.map(({ local }) => local);
  // Two views of one database have files and deletes of their own.
  await database.run(`ALTER TABLE live_file RENAME TO ${name}_file`);
  await database.run(`ALTER TABLE deleted_row RENAME TO ${name}_deleted`);
  await database.run(
    `CREATE TEMP VIEW ${name} AS SELECT ${columns}, l.uri AS ${file} ` +
      `FROM ${scanFiles(locals, fields.all)} s JOIN ${name}_file l ON l.local = s.filename ` +
      `ANTI JOIN ${name}_deleted d ON d.file = l.file AND d.pos = s.file_row_number WHERE ${filter}`,
  );
  return locals;
};
