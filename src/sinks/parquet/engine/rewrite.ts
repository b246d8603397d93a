// Owns maintenance of data files: many of one partition become few, sorted, without the rows that were
// deleted. The rows stay the same.
import { rmSync } from 'node:fs';
import { VarveError } from '../../../errors.ts';
import { sortedBy } from '../file-layout.ts';
import { commonFields, partitionKey } from '../iceberg/partition.ts';
import type { DataFile, IcebergField } from '../iceberg-type.ts';
import type { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import { LiveFiles } from './live-files.ts';
import { OutputFiles } from './output-files.ts';
import type { RewriteRequest, RewriteResult, SourceFile, TableFiles } from './protocol.ts';
import { columnList, columnOf, quoteText, scanFiles, sqlType } from './sql.ts';
import { TableFields } from './table-fields.ts';

/** Sorting holds all rows of a piece in memory: where that is too small, pieces are. */
const MOST_PIECES = 4096;
/** Cuts fall where a sample says; so many sampled rows a piece keep the pieces alike. */
const SAMPLED_A_PIECE = 200;

const isOutOfMemory = (thrown: unknown): boolean => /^Out of Memory Error/.test((thrown as Error).message);

/**
 * Condition, column by column: a row lies at or behind `cut` ('>'), or before it ('<'). The first column's
 * own bound leaves whole row groups out.
 */
const side = (
  sign: '>' | '<',
  [field, ...others]: readonly IcebergField[],
  [text, ...more]: readonly string[],
): string => {
  if (field === undefined || text === undefined) return sign === '>' ? 'true' : 'false';
  const [column, value] = [columnOf(field), `CAST(${quoteText(text)} AS ${sqlType(field.type)})`];
  return `(${column} ${sign}= ${value} AND (${column} ${sign} ${value} OR ${side(sign, others, more)}))`;
};

/** Conditions over `live_row` that cut it into pieces of about the same size, in the order of `sort`. */
const cutRows = async (
  database: Database,
  sort: readonly IcebergField[],
  pieces: number,
): Promise<string[]> => {
  if (pieces <= 1) return ['true'];
  const columns = columnList(sort);
  const texts = sort.map((field) => `CAST(${columnOf(field)} AS VARCHAR)`).join(', ');
  const sampled = await database.rows(
    `SELECT ${texts} FROM (SELECT ${columns} FROM live_row ` +
      `USING SAMPLE reservoir(${pieces * SAMPLED_A_PIECE} ROWS) REPEATABLE (1)) ORDER BY ${columns}`,
  );
  const cuts: (readonly string[])[] = [];
  for (let piece = 1; piece < pieces; piece++) {
    const row = sampled[Math.floor((piece * sampled.length) / pieces)] as string[] | undefined;
    // No row was left.
    if (row === undefined) break;
    if (row.join('\0') !== cuts.at(-1)?.join('\0')) cuts.push(row);
  }
  return [...cuts, null].map((cut, at) => {
    const from = cuts[at - 1];
    return `${from ? side('>', sort, from) : 'true'} AND ${cut ? side('<', sort, cut) : 'true'}`;
  });
};

/** What the rows of a file are known to have of the table's own partition tuple: all of it, or less. */
export const knownPlace = (
  { spec, specs }: Pick<TableFiles, 'spec' | 'specs'>,
  { specId, partition }: Pick<SourceFile, 'specId' | 'partition'>,
): DataFile['partition'] => {
  const theirs = specs.find((one) => one.specId === specId);
  return theirs === undefined ? [] : partition.slice(0, commonFields(spec, theirs));
};

type Refinement = {
  /** SQL of the rows that are written, from SQL of those that live. */
  refine: (rows: string) => string;
  /** So many values of the partition tuple are the same before and after; null: all that are known. */
  known: number | null;
};

const AS_THEY_ARE: Refinement = { refine: (rows) => rows, known: null };

/**
 * Writes the live rows of the inputs, which share one partition tuple of one spec, to few files of the
 * table's own spec.
 */
export const runRewrite = async (
  request: RewriteRequest,
  context: EngineContext,
  { refine, known }: Refinement = AS_THEY_ARE,
): Promise<RewriteResult> => {
  const { database, directory, askLocal } = context;
  const { commit, location, spec, format, inputs, layout, fileRows } = request;
  const [first] = inputs;
  if (first === undefined) return { added: [] };
  const tuple = partitionKey(first);
  if (inputs.some((input) => partitionKey(input) !== tuple))
    throw new VarveError('internal', 'Files of different partitions cannot be rewritten into one.');
  const fields = new TableFields(layout);
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const opened = await files.open(inputs);
  const scan = scanFiles(
    opened.map(({ local }) => local),
    fields.all,
  );
  const live =
    `SELECT s.* FROM ${scan} s JOIN live_file l ON l.local = s.filename ` +
    'ANTI JOIN deleted_row d ON d.file = l.file AND d.pos = s.file_row_number';
  await database.run(`CREATE OR REPLACE TEMP VIEW live_row AS ${refine(live)}`);
  const sort = sortedBy(layout).map((id) => fields.stored.find((field) => field.id === id) as IcebergField);
  const rows = opened.reduce((sum, { records, index }) => sum + records - (files.deleted.get(index) ?? 0), 0);
  const partition = knownPlace(request, first).slice(0, known ?? undefined);
  for (let pieces = Math.max(1, Math.ceil(rows / fileRows)); ; pieces *= 4) {
    const output = new OutputFiles(database, { commit, location, directory, spec, format });
    try {
      for (const piece of await cutRows(database, sort, pieces))
        await output.writeData(`(SELECT * FROM live_row WHERE ${piece})`, {
          fields: fields.all,
          sort: columnList(sort),
          partition,
        });
      return { added: output.files };
    } catch (thrown) {
      if (!isOutOfMemory(thrown) || pieces * 4 > MOST_PIECES) throw thrown;
      for (const { local } of output.files) rmSync(local, { force: true });
    }
  }
};
