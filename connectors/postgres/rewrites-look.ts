// Owns the questions to the server from which rewrites are told: files, columns, partitions, publication,
// and, only where one of these changed, the age of rows. Ages, because a catalog row carries the transaction
// that wrote it, as a table's row does. Judges nothing.
import type pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { quoteTable } from './publication.ts';
import { type ColumnFacts, changedColumns, type PartFacts, type TableFacts } from './rewrites.ts';

// One statement, because what it sees is one moment: a rewrite between two would be half seen now, and look
// like no change the next time. So the file is the catalog row's; pg_relation_filenode knows a later one.
// A leaf counts as attached when the youngest link between it and the root was made. System columns (attnum
// -1) are written once: they tell the transaction that made the table.
const TABLES_SQL = `
  WITH RECURSIVE wanted AS (
    SELECT n.nspname AS schema, c.relname AS name, c.oid
      FROM unnest($1::text[], $2::text[]) AS w(schema, name)
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name),
  tree AS (
    SELECT oid AS root, oid, NULL::xid AS attached, NULL::int8 AS attached_at FROM wanted
    UNION ALL
    SELECT t.root, i.inhrelid,
           CASE WHEN age(t.attached) < age(i.xmin) THEN t.attached ELSE i.xmin END,
           CASE WHEN age(t.attached) < age(i.xmin) THEN t.attached_at
                WHEN age(t.attached) = age(i.xmin) THEN greatest(t.attached_at, i.cmin::text::int8)
                ELSE i.cmin::text::int8 END
      FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition),
  parts AS (
    SELECT t.root, json_agg(json_build_object('oid', t.oid::int8, 'schema', n.nspname, 'name', c.relname,
             'isLeaf', t.oid <> t.root, 'file', c.relfilenode::int8,
             'isEmpty', coalesce(pg_relation_size(c.oid), 0) = 0,
             'attached', t.attached::text, 'attachedAt', t.attached_at::text, 'changed', c.xmin::text,
             'isReadable', has_table_privilege(c.oid, 'SELECT'),
             'isBornAttached', EXISTS (SELECT 1 FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum = -1 AND a.xmin = t.attached)
             ) ORDER BY t.oid) AS parts
      FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r'
      JOIN pg_namespace n ON n.oid = c.relnamespace
     GROUP BY t.root)
  SELECT w.schema, w.name, w.oid, coalesce(p.parts, '[]') AS parts,
         (SELECT coalesce(json_agg(json_build_object('id', a.attnum, 'name', a.attname,
                   'typeId', a.atttypid::int8, 'typeModifier', a.atttypmod, 'version', a.xmin::text,
                   'hasMissingValue', a.atthasmissing) ORDER BY a.attnum), '[]')
            FROM pg_attribute a
           WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ) AS columns
    FROM wanted w LEFT JOIN parts p ON p.root = w.oid`;

type PartRow = Pick<PartFacts, 'oid' | 'name' | 'isLeaf' | 'file' | 'isEmpty'> & {
  schema: string;
  attached: string | null;
  attachedAt: string | null;
  changed: string;
  isReadable: boolean;
  isBornAttached: boolean;
};

/** So many rows are asked for their age; where they leave it open, the worse is taken. */
const SAMPLE_ROWS = 10_000;

/**
 * Facts of the tables that exist, by `tableText`. Rows are looked at only in what changed against `before`.
 * @param before what was seen last; a table that is not in it is only described
 */
export const readTableFacts = async (
  client: pg.ClientBase,
  tables: readonly TableName[],
  before: ReadonlyMap<string, TableFacts>,
): Promise<Map<string, TableFacts>> => {
  const named = [tables.map(([schema]) => schema), tables.map(([, table]) => table)];
  const rows: (TableFacts & { schema: string; name: string; parts: PartRow[] })[] = (
    await client.query(TABLES_SQL, named)
  ).rows;
  const found = new Map<string, TableFacts>();
  for (const { schema, name, oid, columns, parts } of rows) {
    const text = tableText([schema, name]);
    const now = { oid, columns, parts: parts.map(describe) };
    const old = before.get(text);
    const isSame = old === undefined || old.oid !== oid;
    found.set(text, isSame ? now : await lookInto(client, parts, { old, now }));
  }
  return found;
};

// The row that links table and publication is another one after it was taken out and put in again. No row for
// a publication that does not exist: the log says that itself.
const PUBLISHED_SQL = `
  SELECT n.nspname AS schema, c.relname AS name,
         CASE WHEN p.puballtables OR r.oid IS NOT NULL OR s.oid IS NOT NULL
              THEN concat_ws(' ', p.oid, r.oid, s.oid, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate,
                             p.pubviaroot, r.prqual IS NULL, r.prattrs IS NULL)
              ELSE '' END AS published
    FROM unnest($1::text[], $2::text[]) AS w(schema, name)
    JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    JOIN pg_publication p ON p.pubname = $3
    LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
    LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid`;

/** How `publication` sends each of the tables, by `tableText`; empty where there is no such publication. */
export const readPublished = async (
  client: pg.ClientBase,
  publication: string,
  tables: readonly TableName[],
): Promise<ReadonlyMap<string, string>> => {
  const names = [tables.map(([schema]) => schema), tables.map(([, table]) => table)];
  const { rows } = await client.query(PUBLISHED_SQL, [...names, publication]);
  return new Map(rows.map(({ schema, name, published }) => [tableText([schema, name]), published]));
};

const describe = ({ oid, name, isLeaf, file, isEmpty }: PartRow): PartFacts => ({
  oid,
  name,
  isLeaf,
  file,
  isEmpty,
  columnsWithoutOlderRows: [],
  columnsWithOlderRows: [],
  hasRowsBeforeAttach: false,
  hasRowsBeforeFile: true,
});

const lookInto = async (
  client: pg.ClientBase,
  rows: readonly PartRow[],
  { old, now }: { old: TableFacts; now: TableFacts },
): Promise<TableFacts> => {
  const files = new Map(old.parts.map(({ oid, file }) => [oid, file]));
  const columns = changedColumns(old, now);
  const hasMissing = columns.some(({ hasMissingValue }) => hasMissingValue);
  const parts: PartFacts[] = [];
  for (const row of rows) {
    const isNew = !files.has(row.oid);
    const isNews = isNew || hasMissing || files.get(row.oid) !== row.file;
    // A leaf that was there before has not been attached since: no need to search all of it for older rows.
    const asked = isNew ? row : { ...row, attached: null };
    parts.push(isNews ? { ...describe(row), ...(await ageOfRows(client, asked, columns)) } : describe(row));
  }
  return { ...now, parts };
};

type Ages = Omit<PartFacts, 'oid' | 'name' | 'isLeaf' | 'file' | 'isEmpty'>;

const ageOfRows = async (
  client: pg.ClientBase,
  part: PartRow,
  columns: readonly ColumnFacts[],
): Promise<Ages> => {
  const ids = columns.map(({ id }) => id);
  const hasRowsBeforeAttach = part.attached !== null && !part.isEmpty && !part.isBornAttached;
  const feared: Ages = {
    columnsWithoutOlderRows: ids,
    columnsWithOlderRows: ids,
    hasRowsBeforeAttach,
    hasRowsBeforeFile: true,
  };
  if (!part.isReadable) return feared;
  try {
    return await askAges(client, part, columns);
  } catch (thrown) {
    // A leaf so large that the search for older rows took too long: what is not known is taken for the worse.
    if ((thrown as { code?: string }).code === '57014') return feared;
    throw thrown;
  }
};

const askAges = async (
  client: pg.ClientBase,
  part: PartRow,
  columns: readonly ColumnFacts[],
): Promise<Ages> => {
  const ids = columns.map(({ id }) => id);
  const from = `FROM ONLY ${quoteTable([part.schema, part.name])}`;
  const { rows } = await client.query(
    `WITH sample AS MATERIALIZED (SELECT age(xmin) AS age ${from} LIMIT ${SAMPLE_ROWS})
     SELECT (SELECT max(age) FROM sample) AS oldest, (SELECT count(*)::int FROM sample) AS sampled,
            ARRAY(SELECT age(version) FROM unnest($4::text[]::xid[]) AS version) AS columns, age($3::xid) AS
              file,
            EXISTS (SELECT 1 ${from} WHERE age(xmin) > age($1::xid)
                       OR (xmin = $1::xid AND cmin::text::int8 < $2::int8)) AS attach`,
    [part.attached, part.attachedAt, part.changed, columns.map(({ version }) => version)],
  );
  const answer: { oldest: number | null; sampled: number; columns: number[]; file: number; attach: boolean } =
    rows[0];
  const { oldest } = answer;
  const isOlder = (age: number): boolean => oldest !== null && oldest > age;
  return {
    columnsWithoutOlderRows: ids.filter((_, at) => oldest !== null && !isOlder(answer.columns[at] ?? 0)),
    columnsWithOlderRows: ids.filter(
      (_, at) => isOlder(answer.columns[at] ?? 0) || answer.sampled === SAMPLE_ROWS,
    ),
    hasRowsBeforeAttach: answer.attach,
    hasRowsBeforeFile: isOlder(answer.file),
  };
};
