// Owns noticing what changes rows without sending events: ADD COLUMN with a default, ALTER TYPE that rewrites,
// ATTACH and DETACH PARTITION, TRUNCATE of a leaf. Compares two sets of catalog facts. Knows no log, no policy.
import type pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { quoteTable } from './publication.ts';

type ColumnFacts = {
  id: number;
  name: string;
  typeId: number;
  typeModifier: number;
  /** Rows older than the column show a value that no event carried. */
  hasMissingValue: boolean;
};

type LeafFacts = {
  oid: number;
  name: string;
  file: number;
  isEmpty: boolean;
  /** Rows that were in the leaf before it was attached are there. */
  hasRowsBeforeAttach: boolean;
  /** Rows that are older than the leaf's newest catalog row are there: its last new file kept them. */
  hasRowsBeforeFile: boolean;
};

export type TableFacts = {
  oid: number;
  /** 0 for a partition root, which has none. */
  file: number;
  columns: readonly ColumnFacts[];
  leaves: readonly LeafFacts[];
};

/**
 * Why rows of the table may have changed without events between the two looks, for people; null: they did
 * not.
 */
export const detectRewrite = (before: TableFacts, now: TableFacts): string | null => {
  if (before.oid !== now.oid) return 'the table was dropped and made again';
  const known = new Map(before.columns.map((column) => [column.id, column]));
  const files = new Map(before.leaves.map(({ oid, file }) => [oid, file]));
  const isRewritten =
    before.file !== now.file || now.leaves.some(({ oid, file }) => (files.get(oid) ?? file) !== file);
  for (const column of now.columns) {
    const old = known.get(column.id);
    const retyped =
      old !== undefined && (old.typeId !== column.typeId || old.typeModifier !== column.typeModifier);
    if (retyped && isRewritten)
      return `the type of column ${column.name} was changed, and the table rewritten`;
    if (old !== undefined) continue;
    if (column.hasMissingValue) return `column ${column.name} was added with a default`;
    if (isRewritten) return `column ${column.name} was added, and the table rewritten`;
  }
  return detectLeafChange(before, now);
};

const detectLeafChange = (before: TableFacts, now: TableFacts): string | null => {
  const old = new Map(before.leaves.map((leaf) => [leaf.oid, leaf]));
  for (const leaf of now.leaves) {
    const was = old.get(leaf.oid);
    old.delete(leaf.oid);
    if (was === undefined && leaf.hasRowsBeforeAttach)
      return `partition ${leaf.name} was attached with rows in it`;
    // A new file without one old row: a truncate, which is not sent for a leaf, or a leaf whose every row was
    // new.
    if (was !== undefined && was.file !== leaf.file && !was.isEmpty && !leaf.hasRowsBeforeFile) {
      return `partition ${leaf.name} was truncated`;
    }
  }
  for (const leaf of old.values()) {
    if (!leaf.isEmpty) return `partition ${leaf.name} was detached or dropped`;
  }
  return null;
};

const COLUMNS_SQL = `
  SELECT n.nspname AS schema, c.relname AS name, c.oid AS oid, coalesce(pg_relation_filenode(c.oid), 0) AS
    file,
         (SELECT coalesce(json_agg(json_build_object('id', a.attnum, 'name', a.attname, 'typeId',
           a.atttypid::int8,
                   'typeModifier', a.atttypmod, 'hasMissingValue', a.atthasmissing) ORDER BY a.attnum), '[]')
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND
              a.attgenerated = ''
         ) AS columns
    FROM unnest($1::text[], $2::text[]) AS w(schema, name)
    JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name`;

// xmin and age() rather than positions: a catalog row carries the transaction that wrote it, as a table's row
// does.
const LEAVES_SQL = `
  WITH RECURSIVE tree AS (
    SELECT i.inhparent AS root, i.inhrelid AS oid, i.xmin AS attached, i.cmin AS attached_at
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
     WHERE i.inhparent = ANY ($1::oid[])
    UNION ALL
    SELECT t.root, i.inhrelid, i.xmin, i.cmin FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)
  SELECT t.root AS root, t.oid AS oid, n.nspname AS schema, c.relname AS name,
         coalesce(pg_relation_filenode(c.oid), 0) AS file, pg_relation_size(c.oid) = 0 AS "isEmpty",
         t.attached::text AS attached, t.attached_at::text AS "attachedAt", c.xmin::text AS "changed",
         has_table_privilege(c.oid, 'SELECT') AS "isReadable",
         EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = -1 AND a.xmin =
           t.attached)
           AS "isBornAttached"
    FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r' JOIN pg_namespace n ON n.oid =
      c.relnamespace
   ORDER BY 1, 2`;

type LeafRow = Omit<LeafFacts, 'hasRowsBeforeAttach' | 'hasRowsBeforeFile'> & {
  root: number;
  schema: string;
  attached: string;
  attachedAt: string;
  changed: string;
  isReadable: boolean;
  /** Made in the transaction that attached it; columns of the system's own are never written again. */
  isBornAttached: boolean;
};

/**
 * Facts of the tables that exist, by `tableText`. Leaves that are new or have a new file against `before` are
 * looked into, which ends at the first old row.
 */
export const readTableFacts = async (
  client: pg.ClientBase,
  tables: readonly TableName[],
  before: ReadonlyMap<string, TableFacts>,
): Promise<Map<string, TableFacts>> => {
  const named = [tables.map(([schema]) => schema), tables.map(([, table]) => table)];
  const rows: (Omit<TableFacts, 'leaves'> & { schema: string; name: string })[] = (
    await client.query(COLUMNS_SQL, named)
  ).rows;
  const oids = rows.map(({ oid }) => oid);
  const leaves: LeafRow[] = oids.length === 0 ? [] : (await client.query(LEAVES_SQL, [oids])).rows;
  const known = new Map(
    [...before.values()].flatMap((facts) => facts.leaves.map((leaf) => [leaf.oid, leaf])),
  );
  const found = new Map<string, TableFacts>();
  for (const { schema, name, oid, file, columns } of rows) {
    const own: LeafFacts[] = [];
    const old = before.get(tableText([schema, name]));
    for (const leaf of leaves.filter(({ root }) => root === oid)) {
      const was = known.get(leaf.oid);
      const isNews = old !== undefined && (was === undefined || was.file !== leaf.file);
      own.push(await lookInto(client, leaf, isNews));
    }
    found.set(tableText([schema, name]), { oid, file, columns, leaves: own });
  }
  return found;
};

const lookInto = async (client: pg.ClientBase, leaf: LeafRow, isNews: boolean): Promise<LeafFacts> => {
  const { oid, name, file, isEmpty } = leaf;
  const facts = { oid, name, file, isEmpty, hasRowsBeforeAttach: false, hasRowsBeforeFile: true };
  if (!isNews) return facts;
  if (!leaf.isReadable) return { ...facts, hasRowsBeforeAttach: !isEmpty && !leaf.isBornAttached };
  const from = `FROM ONLY ${quoteTable([leaf.schema, name])}`;
  const { rows } = await client.query(
    `SELECT EXISTS (SELECT 1 ${from} WHERE age(xmin) > age($1::xid)
                       OR (xmin = $1::xid AND cmin::text::int8 < $2::int8)) AS attach,
            EXISTS (SELECT 1 ${from} WHERE age(xmin) > age($3::xid)) AS file`,
    [leaf.attached, leaf.attachedAt, leaf.changed],
  );
  return { ...facts, hasRowsBeforeAttach: rows[0].attach, hasRowsBeforeFile: rows[0].file };
};
