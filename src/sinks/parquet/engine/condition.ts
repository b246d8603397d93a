// Owns what a condition of somebody's may be: one expression over a row's columns, with functions that only
// compute. Read from the engine's own parse, so nothing is understood here that runs differently there.
import { VarveError } from '../../../errors.ts';
import type { Database } from './database.ts';
import { quoteText } from './sql.ts';

/** What an expression may consist of. No subquery, window, star or parameter. */
const CLASSES: ReadonlySet<string> = new Set([
  'BETWEEN',
  'CASE',
  'CAST',
  'COLLATE',
  'COLUMN_REF',
  'COMPARISON',
  'CONJUNCTION',
  'CONSTANT',
  'FUNCTION',
  'LAMBDA',
  'LAMBDA_REF',
  'OPERATOR',
]);

/** They compute nothing of a row: they tell of the engine, or hold SQL. */
const TELLING = "'current_setting', 'getvariable', 'json_serialize_plan', 'txid_current', 'in_search_path'";

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const refuse = (why: string, cause?: unknown): VarveError =>
  new VarveError(
    'usage',
    `The condition was refused: ${why}. It is one SQL expression over the table's columns, without ` +
      'subqueries, and with functions that only compute.',
    { cause },
  );

/** Names of the functions in a parsed expression; throws for whatever is none of CLASSES. */
const functionsOf = (node: Json, found: Set<string>): Set<string> => {
  if (typeof node !== 'object' || node === null) return found;
  if (Array.isArray(node)) {
    for (const item of node as readonly Json[]) functionsOf(item, found);
    return found;
  }
  const { class: kind, function_name: name } = node as { [name: string]: Json };
  if (typeof kind === 'string' && !CLASSES.has(kind)) throw refuse(`it holds a ${kind.toLowerCase()}`);
  if (kind === 'FUNCTION') found.add(String(name).toLowerCase());
  for (const item of Object.values(node)) functionsOf(item, found);
  return found;
};

type Parsed = {
  error: boolean;
  error_message?: string;
  statements?: {
    node: {
      type: string;
      modifiers: Json[];
      cte_map: { map: Json[] };
      select_list: { alias: string }[];
      from_table: { type: string };
      [clause: string]: Json | object;
    };
  }[];
};

/** The one expression that the text is; throws for anything that is more, or less. */
const parse = async (database: Database, text: string): Promise<Json> => {
  // No parentheses around it: they could be closed inside. The line break ends a comment.
  const [row] = await database.rows(`SELECT json_serialize_sql(${quoteText(`SELECT ${text}\n`)})`);
  const { error, error_message, statements = [] } = JSON.parse(String(row?.[0])) as Parsed;
  const why = error_message?.split('\n')[0] ?? 'it cannot be read';
  if (error) throw refuse(/without selection list/.test(why) ? 'it is empty' : why);
  const node = statements[0]?.node;
  const clauses = ['where_clause', 'having', 'sample', 'qualify'];
  const isOne =
    statements.length === 1 &&
    node?.type === 'SELECT_NODE' &&
    node.from_table.type === 'EMPTY' &&
    node.select_list.length === 1 &&
    node.select_list[0]?.alias === '' &&
    node.modifiers.length === 0 &&
    node.cte_map.map.length === 0 &&
    (node.group_expressions as Json[]).length === 0 &&
    clauses.every((clause) => node[clause] === null);
  if (!isOne) throw refuse('it is more than one expression');
  return node.select_list[0] as unknown as Json;
};

/**
 * Throws `usage` for a condition that does more than look at one row. What a function does the engine tells:
 * a macro may hold a subquery, a volatile one acts or gives another answer each time.
 */
export const checkCondition = async (database: Database, text: string): Promise<void> => {
  const functions = functionsOf(await parse(database, text), new Set());
  if (functions.size === 0) return;
  const names = [...functions].map(quoteText).join(', ');
  const computes =
    `function_name NOT IN (${TELLING}) AND ((function_type = 'scalar' AND stability <> 'VOLATILE') OR ` +
    "(function_type = 'macro' AND NOT regexp_matches(macro_definition, '\\bSELECT\\b|current_|sleep')))";
  const rows = await database.rows(
    `SELECT function_name FROM duckdb_functions() WHERE function_name IN (${names}) ` +
      `GROUP BY function_name HAVING bool_or(NOT coalesce(${computes}, false)) ORDER BY function_name`,
  );
  const [wrong] = rows.map(([name]) => String(name));
  if (wrong !== undefined) throw refuse(`the function ${wrong} does more than compute`);
};

/** What is wrong with what was asked; the rest is no fault of the condition's. */
const OF_THE_CONDITION =
  /^(Binder|Catalog|Conversion|Invalid Input|Not implemented|Out of Range|Parser|Permission) Error/;

/** What the evaluation threw, without what it says of a row. */
export const conditionError = (thrown: unknown, where: string | null): unknown => {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (where === null || thrown instanceof VarveError || !OF_THE_CONDITION.test(text)) return thrown;
  // A conversion error would print a row's value.
  const isSafe = /^(Parser|Binder|Catalog|Permission) Error/.test(text);
  return refuse(isSafe ? (text.split('\n')[0] ?? '') : 'it cannot be evaluated on some row', thrown);
};
