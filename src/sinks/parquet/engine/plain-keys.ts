// Owns which keys are plain: every event that a merge has of them is whole, of a transaction of its own, and
// comes after everything that the table knows of them. Nearly all keys are: they are merged by joins, all at
// once, and only the others by the rules.
import { inBuckets } from './buckets.ts';
import type { Database } from './database.ts';
import { DELETE_OP, type EventStage } from './event-stage.ts';
import { currentFiles, type LiveFiles } from './live-files.ts';
import type { MergeRequest } from './protocol.ts';
import { type Shape, shapesFrom } from './row-store.ts';
import { columnDefinitions, columnList, matchKeys, scanFiles } from './sql.ts';
import { stageKeys } from './stored-rows.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKey } from './touched-keys.ts';

export type PlainParts = {
  database: Database;
  fields: TableFields;
  files: LiveFiles;
  request: Pick<MergeRequest, 'data' | 'layout' | 'spec' | 'specs' | 'rules'>;
  stage: EventStage;
  /** Oldest first. */
  shapes: readonly Shape[];
};

type Split = {
  /** Keys that images of other keys rest on. */
  linked: readonly Pick<TouchedKey, 'values' | 'first'>[];
  /** There is a reason to take no key for plain. */
  isNone: boolean;
};

/**
 * Leaves the tables `ruled_key` (key columns): keys that need the rules, and `plain_event` (n, first_n,
 * before, is_chain): every other event, the first one read of its key, the one before it by order, and
 * whether its key has several.
 */
const splitKeys = async (
  { database, fields, stage, shapes, request }: PlainParts,
  { linked, isNone }: Split,
): Promise<void> => {
  const { key } = fields;
  const columns = columnList(key);
  const own = columnList(key, 'e');
  // A marked delete has the values of the version that it ends, which in a chain is no row yet.
  const isEnded = request.rules.markDeletes ? ` OR (count(*) > 1 AND bool_or(op = ${DELETE_OP}))` : '';
  const isRuled = `(bool_or(is_ruled)${isEnded})`;
  await database.run(
    `CREATE OR REPLACE TEMP TABLE busy_key AS SELECT ${columns}, min(n) AS first_n, count(*) AS events, ` +
      `${isRuled} AS is_ruled FROM event_row GROUP BY ${columns} ` +
      `HAVING ${isNone} OR count(*) > 1 OR bool_or(is_ruled)`,
  );
  // The columns that make a difference must be the same for all events of a key.
  const isChainless = isNone || shapesFrom(shapes, stage.groups.oldest).length > 1;
  await database.run(
    `CREATE OR REPLACE TEMP TABLE ruled_key AS SELECT ${columns} FROM busy_key ` +
      `WHERE ${isChainless} OR is_ruled UNION ALL SELECT ${own} ` +
      `FROM event_row e JOIN busy_key k ON ${matchKeys(key, 'k', 'e')} ` +
      'JOIN event_group g ON g.event_group = e.event_group WHERE k.events > 1 ' +
      `GROUP BY ${own} HAVING count(*) > count(DISTINCT g.first)`,
  );
  if (linked.length > 0) {
    await stageKeys(database, 'linked_key', { key, keys: linked });
    await database.run(`INSERT INTO ruled_key SELECT ${columns} FROM linked_key`);
  }
  const isFree = `ANTI JOIN ruled_key r ON ${matchKeys(key, 'r', 'e')}`;
  await database.run(
    'CREATE OR REPLACE TEMP TABLE plain_event AS ' +
      'SELECT e.n, e.n AS first_n, NULL::INTEGER AS before, false AS is_chain ' +
      `FROM event_row e ANTI JOIN busy_key k ON ${matchKeys(key, 'k', 'e')} ${isFree} UNION ALL ` +
      'SELECT e.n, k.first_n, lag(e.n) OVER (PARTITION BY k.first_n ORDER BY e.event_order), true ' +
      `FROM event e JOIN busy_key k ON ${matchKeys(key, 'k', 'e')} ${isFree}`,
  );
};

/** Adds to `base_row` the rows of the plain keys that stand now; n: the first event of the key. */
const findRows = async ({ database, fields, files, request }: PlainParts): Promise<void> => {
  const { all, key } = fields;
  const current = currentFiles(request);
  if (current.length === 0) return;
  await database.run(
    `CREATE OR REPLACE TEMP TABLE plain_key AS SELECT e.n, e.bucket, ${columnList(key, 'e')} ` +
      'FROM event_row e JOIN plain_event p ON p.n = e.n WHERE p.n = p.first_n',
  );
  const buckets = await database.rows('SELECT DISTINCT bucket FROM plain_key');
  const isWanted = inBuckets(request, new Set(buckets.map(([bucket]) => bucket as number | null)));
  const wanted = buckets.length === 0 ? [] : current.filter(isWanted);
  if (wanted.length === 0) return;
  const locals = (await files.open(wanted)).map(({ local }) => local);
  await database.run(
    `INSERT INTO base_row SELECT k.n, l.file, s.file_row_number, ${columnList(all, 's')} ` +
      `FROM ${scanFiles(locals, all)} s JOIN plain_key k ON ${matchKeys(key, 's', 'k')} ` +
      'JOIN live_file l ON l.local = s.filename ' +
      'ANTI JOIN deleted_row d ON d.file = l.file AND d.pos = s.file_row_number',
  );
};

/** Leaves to the rules what is not as the table's highs promised. */
const leaveBroken = async ({ database, fields }: PlainParts): Promise<void> => {
  const [row] = await database.rows(
    'CREATE OR REPLACE TEMP TABLE broken_key AS SELECT n FROM base_row GROUP BY n HAVING count(*) > 1 ' +
      'UNION ALL SELECT b.n FROM base_row b JOIN plain_event p ON p.first_n = b.n ' +
      'JOIN event_row e ON e.n = p.n JOIN event_group g ON g.event_group = e.event_group ' +
      `WHERE b.${fields.column('_order')} >= g.first`,
  );
  if (Number(row?.[0] ?? 0) === 0) return;
  await database.run(
    `INSERT INTO ruled_key SELECT DISTINCT ${columnList(fields.key, 'e')} FROM event_row e ` +
      'SEMI JOIN broken_key k ON k.n = e.n',
  );
  for (const table of ['plain_event WHERE first_n', 'base_row WHERE n'])
    await database.run(`DELETE FROM ${table} IN (SELECT n FROM broken_key)`);
};

/** Tables `ruled_key`, `plain_event` and `base_row` (n, file, pos, all columns). */
export const findPlain = async (parts: PlainParts, split: Split): Promise<void> => {
  const { database, fields } = parts;
  await splitKeys(parts, split);
  await database.run(
    'CREATE OR REPLACE TEMP TABLE base_row ' +
      `(n INTEGER, file INTEGER, pos BIGINT, ${columnDefinitions(fields.all)})`,
  );
  await findRows(parts);
  await leaveBroken(parts);
};
