// Owns the publication: making and extending our own, and proving that any other one loses nothing. Comes
// before the slot always: a slot made first decodes with a catalog in which the publication does not exist,
// for ever.
import pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';

export type PublicationOptions = {
  name: string;
  /** auto: made and extended by us; never: somebody else does, we verify. */
  create: 'auto' | 'never';
  /**
   * Whose it is; written into the publication's comment, so that `reset` drops nothing of somebody else's.
   */
  pipeline: string;
};

export const quoteTable = ([schema, table]: TableName): string =>
  `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`;

type Publication = {
  operations: boolean;
  viaRoot: boolean;
  generated: boolean;
  comment: string | null;
};

/** What `tables` lack in `publication`; `missing` alone can be mended by adding them. */
type Gaps = { missing: TableName[]; filtered: TableName[]; columnLists: TableName[]; partitioned: boolean };

const commentOf = (pipeline: string): string =>
  `Made by Varve for the pipeline ${pipeline}; varve reset drops it.`;

const readPublication = async (client: pg.ClientBase, name: string): Promise<Publication | null> => {
  const { rows } = await client.query(
    `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AS operations, pubviaroot AS "viaRoot",
            coalesce(to_jsonb(p)->>'pubgencols', 'n') <> 'n' AS generated,
            obj_description(p.oid, 'pg_publication') AS comment
       FROM pg_publication p WHERE pubname = $1`,
    [name],
  );
  return rows[0] ?? null;
};

/** True when this pipeline made the publication. */
export const isOurs = async (client: pg.ClientBase, options: PublicationOptions): Promise<boolean> =>
  (await readPublication(client, options.name))?.comment === commentOf(options.pipeline);

/**
 * Makes the publication ready for `tables`: creates or extends our own, verifies any. Tables that are in it
 * already and not in `tables` stay. Throws `source_not_ready` or `source_denied` with the SQL that mends it.
 */
export const ensurePublication = async (
  client: pg.ClientBase,
  options: PublicationOptions,
  tables: readonly TableName[],
): Promise<void> => {
  const known = await readPublication(client, options.name);
  const ours = known === null ? options.create === 'auto' : known.comment === commentOf(options.pipeline);
  if (ours && options.create === 'auto') {
    const missing =
      known === null ? tables : (await findGaps(client, { ...options, ...known }, tables)).missing;
    if (known === null || missing.length > 0) {
      await refuseUnidentified(client, missing);
      await change(client, known === null ? creation(options, missing) : [addition(options.name, missing)]);
    }
  }
  const findings = await publicationFaults(client, options, tables);
  const [first] = findings;
  if (first === undefined) return;
  throw new VarveError('source_not_ready', `${first.what} To mend it: ${first.fix}`, {
    facts: { publication: options.name, faults: findings.length },
  });
};

/** Drops the publication if this pipeline made it. */
export const dropPublication = async (client: pg.ClientBase, options: PublicationOptions): Promise<void> => {
  if (await isOurs(client, options)) {
    await client.query(`DROP PUBLICATION IF EXISTS ${pg.escapeIdentifier(options.name)}`);
  }
};

// ONLY: inherited tables are tables of their own, with patterns of their own; partitions always come with
// their root.
const tableList = (tables: readonly TableName[]): string =>
  tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ');

const addition = (name: string, tables: readonly TableName[]): string =>
  `ALTER PUBLICATION ${pg.escapeIdentifier(name)} ADD TABLE ${tableList(tables)}`;

// publish_via_partition_root: the server maps a leaf's rows to the root with the catalog of the row's own
// time. Done here it would need the leaf in today's catalog, and a leaf that was detached or dropped while we
// lag is not there any more. A leaf's truncate is not sent then (and never becomes the root's); rewrites.ts
// sees it in the leaf's file instead.
const OPTIONS = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

const creation = ({ name, pipeline }: PublicationOptions, tables: readonly TableName[]): string[] => [
  `CREATE PUBLICATION ${pg.escapeIdentifier(name)} FOR TABLE ${tableList(tables)} WITH (${OPTIONS})`,
  `COMMENT ON PUBLICATION ${pg.escapeIdentifier(name)} IS ${pg.escapeLiteral(commentOf(pipeline))}`,
];

const change = async (client: pg.ClientBase, statements: readonly string[]): Promise<void> => {
  try {
    await client.query('BEGIN');
    await client.query("SET LOCAL lock_timeout = '30s'");
    for (const statement of statements) await client.query(statement);
    await client.query('COMMIT');
  } catch (cause) {
    await client.query('ROLLBACK').catch(() => undefined);
    const { code, message } = cause as { code?: string; message: string };
    if (code !== '42501' && code !== '55P03') throw cause;
    const why = code === '42501' ? 'this role may not' : 'another session holds a lock on one of the tables';
    throw new VarveError(
      code === '42501' ? 'source_denied' : 'source_not_ready',
      `The publication could not be changed: ${why} (${message}). Run it as the owner of the tables, and ` +
        `set ` +
        `source.publication.create to never: ${statements.join('; ')};`,
      { cause },
    );
  }
};

const findGaps = async (
  client: pg.ClientBase,
  { name, viaRoot }: { name: string; viaRoot: boolean },
  tables: readonly TableName[],
): Promise<Gaps> => {
  const { rows } = await client.query(
    `SELECT w.schema, w.name, c.relkind = 'p' AS partitioned, p.tablename IS NOT NULL AS published,
            p.rowfilter IS NOT NULL AS filtered, r.prattrs IS NOT NULL AS "columnList"
       FROM unnest($2::text[], $3::text[]) AS w(schema, name)
       JOIN pg_namespace n ON n.nspname = w.schema
       JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
       LEFT JOIN pg_publication_tables p ON p.pubname = $1
             AND p.schemaname = w.schema AND p.tablename = w.name
       LEFT JOIN pg_publication_rel r ON r.prrelid = c.oid
             AND r.prpubid = (SELECT oid FROM pg_publication WHERE pubname = $1)`,
    [name, tables.map(([schema]) => schema), tables.map(([, table]) => table)],
  );
  const pick = (test: (row: Record<string, unknown>) => unknown): TableName[] =>
    rows.filter(test).map((row) => [row.schema, row.name] as const);
  return {
    // Without publish_via_partition_root the view lists leaves only; that is a fault of its own, mended
    // first.
    missing: pick((row) => !row.published && (viaRoot || !row.partitioned)),
    filtered: pick((row) => row.filtered),
    columnLists: pick((row) => row.columnList),
    partitioned: rows.some((row) => row.partitioned),
  };
};

export type Fault = { what: string; fix: string };

/**
 * Everything that would make events of `tables` go missing, with the SQL that mends each. Changes nothing.
 */
export const publicationFaults = async (
  client: pg.ClientBase,
  { name, pipeline, create }: PublicationOptions,
  tables: readonly TableName[],
): Promise<Fault[]> => {
  const quoted = pg.escapeIdentifier(name);
  const found = await readPublication(client, name);
  if (found === null) {
    const fix = `CREATE PUBLICATION ${quoted} FOR TABLE ${tableList(tables)} WITH (${OPTIONS});`;
    return [{ what: `The publication ${name} does not exist.`, fix }];
  }
  const faults: Fault[] = [];
  const fault = (what: string, fix: string): number => faults.push({ what, fix: `${fix};` });
  const { missing, filtered, columnLists, partitioned } = await findGaps(client, { ...found, name }, tables);
  const list = (names: readonly TableName[]): string => names.map(tableText).join(', ');
  const readd = (names: readonly TableName[]): string =>
    `ALTER PUBLICATION ${quoted} DROP TABLE ${names.map(quoteTable).join(', ')}; ${addition(name, names)}`;
  if (!found.operations) {
    fault(
      `The publication ${name} does not publish all of insert, update, delete and truncate: changes would ` +
        `be lost.`,
      `ALTER PUBLICATION ${quoted} SET (publish = 'insert, update, delete, truncate')`,
    );
  }
  if (missing.length > 0) {
    const whose =
      create === 'auto' && found.comment !== commentOf(pipeline) ? ', and this pipeline did not make it' : '';
    fault(`The publication ${name} does not contain ${list(missing)}${whose}.`, addition(name, missing));
  }
  if (filtered.length > 0) {
    const what = `The publication ${name} filters rows of ${list(filtered)}: rows would be lost unseen.`;
    fault(what, readd(filtered));
  }
  if (columnLists.length > 0) {
    const what = `The publication ${name} has a column list for ${list(columnLists)}: columns would be lost.`;
    fault(what, readd(columnLists));
  }
  if (partitioned && !found.viaRoot) {
    fault(
      `The publication ${name} publishes partitions under their own names, not under their root.`,
      `ALTER PUBLICATION ${quoted} SET (publish_via_partition_root = true)`,
    );
  }
  if (found.generated) {
    const what = `The publication ${name} publishes generated columns, which a snapshot does not read.`;
    fault(what, `ALTER PUBLICATION ${quoted} SET (publish_generated_columns = none)`);
  }
  return faults;
};

const UNIDENTIFIED_SQL = `
  WITH RECURSIVE wanted AS (
    SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(schema, name)
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    UNION ALL
    SELECT i.inhrelid FROM wanted w JOIN pg_inherits i ON i.inhparent = w.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
  SELECT n.nspname AS schema, c.relname AS name
    FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND NOT CASE c.relreplident
     WHEN 'f' THEN true
     WHEN 'd' THEN EXISTS (SELECT 1 FROM pg_index x
                            WHERE x.indrelid = c.oid AND x.indisprimary AND x.indisvalid AND x.indimmediate)
     WHEN 'i' THEN EXISTS (SELECT 1 FROM pg_index x
                            WHERE x.indrelid = c.oid AND x.indisreplident AND x.indisvalid)
     ELSE false END
   ORDER BY 1, 2`;

/**
 * Tables, and leaves of them, whose rows have nothing to be told apart by: once published, UPDATE and DELETE
 * fail.
 */
export const findUnidentified = async (
  client: pg.ClientBase,
  tables: readonly TableName[],
): Promise<TableName[]> => {
  const { rows } = await client.query(UNIDENTIFIED_SQL, [
    tables.map(([schema]) => schema),
    tables.map(([, table]) => table),
  ]);
  return rows.map(({ schema, name }: { schema: string; name: string }) => [schema, name] as const);
};

const refuseUnidentified = async (client: pg.ClientBase, tables: readonly TableName[]): Promise<void> => {
  const bad = await findUnidentified(client, tables);
  if (bad.length === 0) return;
  throw new VarveError(
    'source_not_ready',
    `${bad.map(tableText).join(', ')}: without a replica identity, every UPDATE and DELETE of your users ` +
      `would fail once ` +
      `published. Give a primary key, or run: ${bad.map(replicaIdentityFix).join(' ')}`,
    { facts: { tables: bad.length } },
  );
};

export const replicaIdentityFix = (table: TableName): string =>
  `ALTER TABLE ${quoteTable(table)} REPLICA IDENTITY FULL;`;
