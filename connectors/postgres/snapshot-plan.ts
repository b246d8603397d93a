// Owns which pieces a table is read in: ranges of blocks, of the table itself or of its partitions' leaves,
// all inside one snapshot. Knows no connection but the one that holds the snapshot and the locks.
import pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';
import { quoteTable } from './publication.ts';

/** A table or leaf that has rows of its own. */
export type Relation = {
  oid: number;
  /** The captured table that its rows belong to. */
  root: TableName;
  name: TableName;
  blocks: number;
  estimatedRows: number;
};

/** Blocks from (included) to (excluded); null: to the end, however far that is. */
export type BlockRange = { from: number; to: number | null };

// pg_class is read as of the snapshot, pg_relation_filenode() as of now. They differ when the rows were moved
// to another file since: that is not undone by the snapshot, which then sees none of them.
const RELATIONS_SQL = `
  WITH RECURSIVE wanted AS (
    SELECT c.oid, c.relkind, w.schema AS root_schema, w.name AS root_name
      FROM unnest($1::text[], $2::text[]) AS w(schema, name)
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    UNION ALL
    SELECT i.inhrelid, c.relkind, w.root_schema, w.root_name FROM wanted w
      JOIN pg_inherits i ON i.inhparent = w.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
  SELECT c.oid, w.root_schema AS "rootSchema", w.root_name AS "rootName",
         n.nspname AS schema, c.relname AS name, c.relkind AS kind,
         pg_relation_filenode(c.oid) IS NOT DISTINCT FROM nullif(c.relfilenode, 0) AS "isSameFile",
         coalesce(pg_relation_size(c.oid), 0)::float8 / current_setting('block_size')::int AS blocks,
         c.relpages AS "oldBlocks", c.reltuples::float8 AS "oldRows"
    FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
   ORDER BY 2, 3, 4, 5`;

type RelationRow = {
  oid: number;
  rootSchema: string;
  rootName: string;
  schema: string;
  name: string;
  kind: string;
  isSameFile: boolean;
  blocks: number;
  oldBlocks: number;
  oldRows: number;
};

/**
 * Locks the tables, partitions included, so that nobody rewrites them from now on. Readers and writers go on;
 * an ALTER waits. Throws `source_busy` with who is in the way.
 */
export const lockTables = async (
  holder: pg.ClientBase,
  side: pg.ClientBase,
  { tables, timeoutMs }: { tables: readonly TableName[]; timeoutMs: number },
): Promise<void> => {
  if (tables.length === 0) return;
  try {
    await holder.query(`SET LOCAL lock_timeout = ${timeoutMs}`);
    await holder.query(`LOCK TABLE ${tables.map(quoteTable).join(', ')} IN ACCESS SHARE MODE`);
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === '42P01') throw changedMeanwhile(tables.map(tableText).join(', '), cause);
    if (code !== '55P03') throw cause;
    throw await lockedOut(side, tables, cause);
  }
};

const lockedOut = async (
  side: pg.ClientBase,
  tables: readonly TableName[],
  cause: unknown,
): Promise<VarveError> => {
  const { rows } = await side.query(
    `SELECT DISTINCT c.relname AS name, l.pid,
            coalesce(nullif(a.application_name, ''), 'no application name') AS who
       FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND c.relname = ANY ($1)`,
    [tables.map(([, name]) => name)],
  );
  const holders = rows.map(({ name, pid, who }) => `${name} by process ${pid} (${who})`);
  return new VarveError(
    'source_busy',
    `The tables could not be locked for reading; held: ${holders.slice(0, 5).join(', ') || 'no longer'}. ` +
      'Varve tries again; a lock of this kind is an ALTER TABLE, TRUNCATE or VACUUM FULL that has not ' +
      'been committed.',
    { facts: { holders: holders.length }, cause },
  );
};

const changedMeanwhile = (what: string, cause?: unknown): VarveError =>
  new VarveError(
    'source_busy',
    `${what}: altered, truncated, rewritten or dropped while the snapshot was being fixed, so its rows ` +
      'cannot be read as of that point. Varve fixes another one.',
    { cause },
  );

/**
 * Lists what holds the tables' rows. Throws `source_busy` when one has been rewritten since the snapshot was
 * fixed.
 */
export const listRelations = async (
  holder: pg.ClientBase,
  tables: readonly TableName[],
): Promise<Relation[]> => {
  const names = [tables.map(([schema]) => schema), tables.map(([, name]) => name)];
  const rows: RelationRow[] = (await holder.query(RELATIONS_SQL, names)).rows;
  const moved = rows.filter(({ isSameFile }) => !isSameFile);
  if (moved.length > 0)
    throw changedMeanwhile(moved.map(({ schema, name }) => `${schema}.${name}`).join(', '));
  const seen = new Set(rows.map(({ rootSchema, rootName }) => tableText([rootSchema, rootName])));
  const missing = tables.filter((table) => !seen.has(tableText(table)));
  if (missing.length > 0) throw changedMeanwhile(missing.map(tableText).join(', '));
  const foreign = rows.find(({ kind }) => kind === 'f');
  if (foreign) {
    throw new VarveError(
      'source_not_ready',
      `The partition ${foreign.schema}.${foreign.name} is a foreign table, whose changes are in no log ` +
        `here. Take ` +
        `${foreign.rootSchema}.${foreign.rootName} out of source.tables.`,
    );
  }
  return rows.filter(({ kind }) => kind === 'r').map(relationOf);
};

/** Rows a block when nothing is known yet; only progress depends on it. */
const GUESSED_ROWS_PER_BLOCK = 60;

const relationOf = ({ oid, rootSchema, rootName, schema, name, ...row }: RelationRow): Relation => {
  const isKnown = row.oldRows >= 0 && row.oldBlocks > 0;
  const density = isKnown ? row.oldRows / row.oldBlocks : GUESSED_ROWS_PER_BLOCK;
  return {
    oid,
    root: [rootSchema, rootName],
    name: [schema, name],
    blocks: row.blocks,
    estimatedRows: Math.round(density * row.blocks),
  };
};

/** Cuts `blocks` into ranges that cover every block there is or comes, each once. */
export const cutRanges = (blocks: number, blocksPerRange: number): BlockRange[] => {
  const ranges: BlockRange[] = [];
  for (let from = 0; from + blocksPerRange < blocks; from += blocksPerRange) {
    ranges.push({ from, to: from + blocksPerRange });
  }
  return [...ranges, { from: ranges.at(-1)?.to ?? 0, to: null }];
};

/** One range of one relation, columns in the order given. ONLY: other relations have ranges of their own. */
export const copySql = (name: TableName, columns: readonly string[], { from, to }: BlockRange): string => {
  const bounds = [
    ...(from > 0 ? [`ctid >= '(${from},0)'`] : []),
    ...(to === null ? [] : [`ctid < '(${to},0)'`]),
  ];
  const where = bounds.length === 0 ? '' : ` WHERE ${bounds.join(' AND ')}`;
  return (
    `COPY (SELECT ${columns.map(pg.escapeIdentifier).join(', ')} FROM ONLY ` +
    `${quoteTable(name)}${where}) TO STDOUT`
  );
};
