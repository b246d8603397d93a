// Owns the questions to pg_catalog: what tables and types look like now. The answers may be ahead of the log,
// so they are hints to it. Knows no schema of ours.
import type pg from 'pg';
import { mapPostgresError } from './error-map.ts';
import type { SourceType } from './type-map.ts';

/** A row of pg_attribute; dropped columns stay in the list, because they keep their number. */
export type LiveColumn = {
  /** attnum: stays with the column through renames, and is never used again. */
  id: number;
  name: string;
  typeOid: number;
  typmod: number;
  notNull: boolean;
  dropped: boolean;
  generated: boolean;
  /** The default's expression as the server prints it. */
  default: string | null;
};

export type LiveTable = {
  oid: number;
  schema: string;
  name: string;
  /** d: primary key, n: nothing, f: the whole row, i: an index. */
  replicaIdentity: 'd' | 'n' | 'f' | 'i';
  /** In order of `id`. */
  columns: LiveColumn[];
  /** Column ids in key order, empty where there is none. */
  primaryKey: number[];
  identityIndex: number[];
  /** Columns of each index that no two rows can share. */
  uniqueKeys: number[][];
};

const KEY_OF = (condition: string): string => `
  coalesce((SELECT to_json((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index i
             WHERE i.indrelid = c.oid AND ${condition}), '[]')`;

// A leaf is answered by its root; a table that is gone by nothing. $1 null: all tables that can be captured.
const TABLES_SQL = `
  WITH picked AS (
    SELECT DISTINCT coalesce(pg_partition_root(oid)::oid, oid) AS oid FROM unnest($1::oid[]) AS asked(oid)
    UNION
    SELECT oid FROM pg_class WHERE $1 IS NULL AND relkind IN ('r', 'p') AND NOT relispartition
       AND relpersistence = 'p'
       AND relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[]))
  SELECT json_build_object(
    'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname,
    'replicaIdentity', c.relreplident,
    'primaryKey', ${KEY_OF('i.indisprimary')}, 'identityIndex', ${KEY_OF('i.indisreplident')},
    'uniqueKeys', coalesce((
      SELECT json_agg((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index i
       WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
         AND i.indpred IS NULL AND i.indexprs IS NULL), '[]'),
    'columns', coalesce((
      SELECT json_agg(json_build_object('id', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::int8,
               'typmod', a.atttypmod, 'notNull', a.attnotnull, 'dropped', a.attisdropped,
               'generated', a.attgenerated <> '',
               'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END)
               ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attrelid = c.oid AND a.attnum > 0), '[]')
  ) AS answer
    FROM picked p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') ORDER BY n.nspname, c.relname`;

// Types, what they are made of, and how a type with its modifier is written; beyond pg_catalog always with
// the namespace, so that nobody's search_path shows.
const TYPES_SQL = `
  WITH RECURSIVE used(oid) AS (
    SELECT unnest($1::oid[])
    UNION
    SELECT part.oid FROM used u JOIN pg_type t ON t.oid = u.oid
     CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) AS part(oid) WHERE part.oid <> 0)
  SELECT json_build_object(
    'types', coalesce((
      SELECT json_agg(json_build_object('oid', t.oid::int8, 'namespace', n.nspname, 'name', t.typname,
               'kind', t.typtype, 'element', CASE WHEN e.typarray = t.oid THEN e.oid::int8 ELSE 0 END,
               'delimiter', coalesce(e.typdelim, ','), 'base', t.typbasetype::int8, 'baseTypmod', t.typtypmod,
               'labels', coalesce((SELECT json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_enum l
                                    WHERE l.enumtypid = t.oid), '[]')))
        FROM used u JOIN pg_type t ON t.oid = u.oid JOIN pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_type e ON e.oid = t.typelem), '[]'),
    'texts', (
      SELECT json_agg(CASE WHEN n.nspname = 'pg_catalog' OR starts_with(x.text, quote_ident(n.nspname) || '.')
                      THEN x.text ELSE coalesce(quote_ident(n.nspname) || '.', '') || x.text END
                      ORDER BY asked.at)
        FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS asked(oid, typmod, at)
       CROSS JOIN LATERAL (SELECT format_type(asked.oid, asked.typmod) AS text) x
        LEFT JOIN pg_type t ON t.oid = asked.oid LEFT JOIN pg_namespace n ON n.oid = t.typnamespace)
  ) AS answer`;

const ask = async <Answer>(client: pg.ClientBase, sql: string, params: unknown[]): Promise<Answer[]> => {
  try {
    const { rows } = await client.query<{ answer: Answer }>(sql, params);
    return rows.map(({ answer }) => answer);
  } catch (error) {
    throw mapPostgresError(error, 'reading the catalog');
  }
};

/** The tables of these oids, leaves answered by their roots; null: all there are, by name. One round trip. */
export const readTables = (client: pg.ClientBase, oids: readonly number[] | null): Promise<LiveTable[]> =>
  ask<LiveTable>(client, TABLES_SQL, [oids]);

export type TypeRef = { typeOid: number; typmod: number };

/** `texts`: how each ref is written, in their order; `???` for a type that is gone. One round trip. */
export const readTypes = async (
  client: pg.ClientBase,
  refs: readonly TypeRef[],
): Promise<{ types: SourceType[]; texts: string[] }> => {
  const params = [refs.map(({ typeOid }) => typeOid), refs.map(({ typmod }) => typmod)];
  const [answer] = await ask<{ types: SourceType[]; texts: string[] | null }>(client, TYPES_SQL, params);
  return { types: answer?.types ?? [], texts: answer?.texts ?? [] };
};

/** True when the server does not vouch that its strings are UTF-8. */
export const holdsAnyBytes = async (client: pg.ClientBase): Promise<boolean> => {
  const sql = "SELECT to_json(current_setting('server_encoding') = 'SQL_ASCII') AS answer";
  const [answer] = await ask<boolean>(client, sql, []);
  return answer === true;
};
