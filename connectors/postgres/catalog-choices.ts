// Owns what the user's choices make of one table: what is hidden of its columns, which columns are its key.
// Refuses choices that do not fit the table, because the alternative is to publish what was to be hidden, or
// rows that nobody can tell apart. Asks no catalog.
import { type TableName, tableText } from '../../src/change/schema.ts';
import type { Finding } from '../../src/connector.ts';
import { VarveError } from '../../src/errors.ts';
import type { ColumnRule, ColumnRules, Formats } from '../../src/topic/format.ts';
import type { LiveTable } from './catalog-queries.ts';
import type { RelationMessage } from './pgoutput.ts';

const refuse = (table: TableName, key: string, sentence: string): VarveError =>
  new VarveError('config_invalid', sentence, { facts: { table: tableText(table), key } });

/** The rules for columns of this table, by column. */
export const rulesOf = (rules: ColumnRules, table: TableName): ReadonlyMap<string, ColumnRule> => {
  const prefix = `${tableText(table)}.`;
  const own = Object.entries(rules).filter(([path]) => path.startsWith(prefix));
  return new Map(own.map(([path, rule]) => [path.slice(prefix.length), rule]));
};

type Choices = { rules: ColumnRules; formats: Formats };

/** Choices for tables that are not captured now: a mistyped name hides nothing. */
export const findIdleChoices = ({ rules, formats }: Choices, tables: readonly TableName[]): Finding[] => {
  const isIdle = (path: string): boolean =>
    !tables.some((table) => path === tableText(table) || path.startsWith(`${tableText(table)}.`));
  const idle = [
    ...Object.keys(rules).map((path) => [path, `columns.${path}`, 'it hides nothing'] as const),
    ...Object.keys(formats.keyColumns).map(
      (path) => [path, `topic.format.key_columns of ${path}`, 'it chooses nothing'] as const,
    ),
  ];
  return idle
    .filter(([path]) => isIdle(path))
    .map(([, key, effect]) => ({
      level: 'warning',
      what: `${key} is for a table that is not captured, so ${effect}`,
      fix: 'Write schema and table as the source has them, or take it away.',
    }));
};

type Columns = { relation: RelationMessage; live: LiveTable | null };

/**
 * Throws `config_invalid` when a rule is for a column that neither the log nor the catalog has: it may have
 * been renamed, and its values would be published under the new name.
 */
export const refuseUnmatched = (
  rules: ReadonlyMap<string, ColumnRule>,
  table: TableName,
  { relation, live }: Columns,
): void => {
  for (const column of rules.keys()) {
    const isThere =
      relation.columns.some(({ name }) => name === column) ||
      live?.columns.some(({ name, dropped }) => name === column && !dropped) === true;
    if (isThere) continue;
    const path = `columns.${tableText(table)}.${column}`;
    throw refuse(
      table,
      path,
      `${path}: the table has no such column. Was it renamed? Then give the rule its new name; nothing of ` +
        'it was published yet. If it was dropped, take the rule away.',
    );
  }
};

/** Throws `config_invalid` for a rule on a key column: hidden keys do not tell rows apart. */
export const refuseHiddenKey = (
  rules: ReadonlyMap<string, ColumnRule>,
  table: TableName,
  key: readonly string[],
): void => {
  for (const column of key) {
    if (!rules.has(column)) continue;
    const path = `columns.${tableText(table)}.${column}`;
    throw refuse(
      table,
      path,
      `${path}: the column is part of the table's key, by which its rows are told apart, so nothing of it ` +
        'can be hidden. Give the table another key (topic.format.key_columns), or leave it out of the ' +
        'capture.',
    );
  }
};

/** One column of the log: its id, and whether it can be NULL as far as is known. */
type KnownColumn = { id: number; name: string; isNullable: boolean };

/**
 * Ids of the columns that the user chose as the key, in that order. Throws `config_invalid` unless the rows
 * can be told apart by them, also in updates and deletes.
 */
export const chooseKey = (
  names: readonly string[],
  columns: readonly KnownColumn[],
  { relation, live }: Columns,
): number[] => {
  const table: TableName = [relation.schema, relation.name];
  const path = `topic.format.key_columns of ${tableText(table)}`;
  const key = names.map((name) => {
    const column = columns.find((known) => known.name === name);
    if (column === undefined) throw refuse(table, path, `${path}: there is no column ${name}.`);
    if (column.isNullable) {
      throw refuse(table, path, `${path}: ${name} may be NULL, and a key never is. Declare it NOT NULL.`);
    }
    return column;
  });
  const ids = key.map(({ id }) => id);
  if (new Set(ids).size < ids.length) throw refuse(table, path, `${path}: a column is named twice.`);
  const isTold = ({ name }: KnownColumn): boolean =>
    relation.replicaIdentity === 'f' ||
    relation.columns.some((column) => column.name === name && column.isKey);
  const untold = key.find((column) => !isTold(column));
  if (untold !== undefined) {
    throw refuse(
      table,
      path,
      `${path}: updates and deletes do not tell ${untold.name}, because it is not in the table's replica ` +
        `identity. Run ALTER TABLE ${tableText(table)} REPLICA IDENTITY FULL, or USING INDEX with one over ` +
        'these columns.',
    );
  }
  if (live !== null && !live.uniqueKeys.some((unique) => unique.every((id) => ids.includes(id)))) {
    throw refuse(
      table,
      path,
      `${path}: no unique index says that (${names.join(', ')}) tells rows apart, so two rows would be ` +
        'taken for one. Add columns, or a unique index.',
    );
  }
  return ids;
};
