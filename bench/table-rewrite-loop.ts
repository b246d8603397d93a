// A program that does with DuckDB alone what a fold does to a table without history: `changes` writes new
// versions of many of its rows to a file, `rewrite` makes the whole table anew with them.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { liveFiles, loadTable } from '../src/sinks/parquet/iceberg/table-state.ts';
import { fromFileUri, openLocalStore, toFileUri } from '../src/sinks/parquet/store-local.ts';
import { TABLE } from './database.ts';
import { answer, readRequest } from './measure.ts';

export type RewriteRequest = {
  step: 'changes' | 'rewrite';
  /** Of the tables. */
  location: string;
  /** The file of changes. */
  file: string;
  /** Keys to change, as SQL. */
  ids: string;
  /** The table made anew. */
  output: string;
};
export type RewriteTimes = { seconds: number; closed: number };

const { step, location, file, ids, output } = readRequest<RewriteRequest>();

const dataFiles = async (): Promise<string[]> => {
  const root = join(location, 'public', TABLE);
  const store = openLocalStore(root, { uuid: randomUUID });
  const io = { store, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  const state = await loadTable(io, toFileUri(root));
  const files = state === null ? [] : [...(await liveFiles(store, state)).values()];
  if (files.length === 0 || files.some(({ content }) => content !== 'data'))
    throw new Error(`${root} is no table of data files alone.`);
  return files.map(({ path }) => fromFileUri(path));
};

const scan = (paths: readonly string[]): string =>
  `read_parquet([${paths.map((path) => `'${path}'`).join(', ')}], hive_partitioning = false)`;
const toFile = (sql: string, path: string): string =>
  `COPY (${sql}) TO '${path}' (FORMAT parquet, COMPRESSION zstd)`;

const instance = await DuckDBInstance.create(':memory:', { threads: '2', preserve_insertion_order: 'false' });
const connection = await instance.connect();
const rows = scan(await dataFiles());
// A condition on the row in the join itself would make it compare every row with every change.
const isClosed = 't.is_current AND c.id IS NOT NULL';
const rewritten = `
  SELECT t.* REPLACE (
    CASE WHEN ${isClosed} THEN c.valid_from ELSE t.valid_to END AS valid_to,
    t.is_current AND c.id IS NULL AS is_current,
    CASE WHEN ${isClosed} THEN c._order ELSE t._order_end END AS _order_end,
    CASE WHEN ${isClosed} THEN 'u' ELSE t._closed_by END AS _closed_by)
  FROM ${rows} t LEFT JOIN ${scan([file])} c ON t.id = c.id
  UNION ALL BY NAME SELECT * FROM ${scan([file])}`;
const changed = `
  SELECT t.* REPLACE (
    customer || ' changed' AS customer, now()::timestamptz AS valid_from, 'u' AS _op, 'f' || _order AS _order)
  FROM ${rows} t SEMI JOIN (${ids}) i ON t.id = i.id`;

const startedMs = performance.now();
await connection.run(step === 'changes' ? toFile(changed, file) : toFile(rewritten, output));
const seconds = (performance.now() - startedMs) / 1000;
const counted = step === 'changes' ? `${scan([file])}` : `${scan([output])} WHERE NOT is_current`;
const [[closed] = []] = (await connection.runAndReadAll(`SELECT count(*) FROM ${counted}`)).getRows();
await answer({ seconds, closed: Number(closed) } satisfies RewriteTimes);
