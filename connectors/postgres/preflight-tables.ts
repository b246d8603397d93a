// Owns what is checked about single tables before a pipeline starts: rights, kinds, hidden rows, names that
// would meet.
import pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import type { Finding } from '../../src/connector.ts';
import { compilePatterns } from './patterns.ts';
import { quoteTable } from './publication.ts';

type TableRow = {
  root: string;
  schema: string;
  name: string;
  role: string;
  kind: string;
  unlogged: boolean;
  maySelect: boolean;
  mayUse: boolean;
  hidesRows: boolean;
  generated: string[];
};

// Rights are asked of the leaves too: a snapshot reads them one by one, and a grant on the root does not
// cover that.
const TABLES_SQL = `
  WITH RECURSIVE wanted AS (
    SELECT c.oid, w.schema || '.' || w.name AS root FROM unnest($1::text[], $2::text[]) AS w(schema, name)
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    UNION ALL
    SELECT i.inhrelid, w.root FROM wanted w JOIN pg_inherits i ON i.inhparent = w.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
  SELECT w.root, n.nspname AS schema, c.relname AS name, current_user AS role, c.relkind AS kind,
         c.relpersistence = 'u' AS unlogged, has_table_privilege(c.oid, 'SELECT') AS "maySelect",
         has_schema_privilege(n.oid, 'USAGE') AS "mayUse", row_security_active(c.oid) AS "hidesRows",
         ARRAY(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped) AS generated
    FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
   ORDER BY 1, 2, 3`;

/** Findings about the tables that match, and that any match at all. */
export const checkTables = async (
  client: pg.ClientBase,
  patterns: readonly string[],
  tables: readonly TableName[],
): Promise<Finding[]> => {
  const leftOut = await findUnlogged(client, patterns);
  if (tables.length === 0) {
    return [
      ...leftOut,
      {
        level: 'error',
        what: `No table matches ${patterns.join(', ')}.`,
        fix:
          'Correct source.tables: patterns are schema.table, such as public.*, and names are ' +
          'case-sensitive.',
      },
    ];
  }
  const names = [tables.map(([schema]) => schema), tables.map(([, name]) => name)];
  const rows: TableRow[] = (await client.query(TABLES_SQL, names)).rows;
  const found = [...rows.flatMap(checkTable), ...findCollisions(tables), ...leftOut];
  return found.some(({ level }) => level === 'error')
    ? found
    : [{ level: 'ok', what: `${tables.length} tables can be read`, fix: null }, ...found];
};

/**
 * Unlogged tables are in no log, so nothing of them can be captured: a pattern that means them is told so.
 */
const findUnlogged = async (client: pg.ClientBase, patterns: readonly string[]): Promise<Finding[]> => {
  const { rows } = await client.query(
    `SELECT n.nspname AS schema, c.relname AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'u' AND NOT c.relispartition ORDER BY 1, 2`,
  );
  return rows
    .map(({ schema, name }: { schema: string; name: string }): TableName => [schema, name])
    .filter(compilePatterns(patterns))
    .map((table) => ({
      level: 'warning',
      what: `${unloggedText(table)} It is left out.`,
      fix: unloggedFix(table),
    }));
};

const unloggedText = (table: TableName): string =>
  `${tableText(table)} is unlogged: its changes are in no log.`;
const unloggedFix = (table: TableName): string =>
  `ALTER TABLE ${quoteTable(table)} SET LOGGED; or take it out with "!${tableText(table)}".`;

const checkTable = (row: TableRow): Finding[] => {
  const table: TableName = [row.schema, row.name];
  const who = pg.escapeIdentifier(row.role);
  const found: Finding[] = [];
  const error = (what: string, fix: string): number => found.push({ level: 'error', what, fix });
  if (!row.mayUse) {
    const grant = `GRANT USAGE ON SCHEMA ${pg.escapeIdentifier(row.schema)} TO ${who};`;
    error(`The role ${row.role} may not use the schema ${row.schema} of ${tableText(table)}.`, grant);
  }
  if (!row.maySelect) {
    error(
      `The role ${row.role} may not read ${tableText(table)}.`,
      `GRANT SELECT ON ${quoteTable(table)} TO ${who};`,
    );
  }
  if (row.unlogged) error(unloggedText(table), unloggedFix(table));
  if (row.kind === 'f') {
    error(
      `The partition ${tableText(table)} of ${row.root} is a foreign table: its rows are in another ` +
        `server's log.`,
      `Take ${row.root} out with "!${row.root}", or capture it at its home.`,
    );
  }
  if (row.hidesRows) {
    error(
      `Row security hides rows of ${tableText(table)} from the role ${row.role}: a snapshot would miss them.`,
      `ALTER ROLE ${who} BYPASSRLS;`,
    );
  }
  if (row.generated.length > 0 && tableText(table) === row.root) {
    const what = `Generated columns are not captured: ${row.generated.join(', ')} of ${tableText(table)}.`;
    found.push({ level: 'warning', what, fix: 'Nothing to mend; compute them where the tables are read.' });
  }
  return found;
};

/** Tables whose topics or folders would meet: stores and readers often ignore case and signs. */
export const findCollisions = (tables: readonly TableName[]): Finding[] => {
  const seen = new Map<string, TableName>();
  const found: Finding[] = [];
  for (const table of tables) {
    const plain = tableText(table)
      .toLowerCase()
      .replaceAll(/[^a-z0-9._-]/g, '_');
    const other = seen.get(plain);
    if (other === undefined) seen.set(plain, table);
    else {
      found.push({
        level: 'error',
        what: `${tableText(other)} and ${tableText(table)} would become one topic or folder, ${plain}.`,
        fix: `Take one out with "!${tableText(table)}", or rename it.`,
      });
    }
  }
  return found;
};
