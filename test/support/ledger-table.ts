// Owns reading the oracle's table back from its files, with an engine of the test's own and no merge code of
// Varve's.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { liveFiles, loadTable } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { fromFileUri, openLocalStore, toFileUri } from '../../src/sinks/parquet/store-local.ts';
import { canonicalImage, type FoundVersion } from './oracle.ts';

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const list = (paths: readonly string[]): string => `[${paths.map(quote).join(', ')}]`;

const COLUMNS = `id::varchar as c0, n::varchar as c1, name as c2, flag::varchar as c3,
  amount::varchar as c4, score::varchar as c5,
  strftime(f."at" at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%f') as c6, day::varchar as c7, md5(big) as c8,
  _op, coalesce(_closed_by, '') as closed_by, is_current::varchar as is_current,
  len(_incomplete)::varchar as incomplete`;

/**
 * Every version of every key, by key and order; position deletes applied. Empty when the table is not there
 * yet.
 */
export const readLedger = async (location: string, name = 'ledger'): Promise<Map<string, FoundVersion[]>> => {
  const root = join(location, 'public', name);
  const store = openLocalStore(root, { uuid: randomUUID });
  const io = { store, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  const state = await loadTable(io, toFileUri(root));
  const found = new Map<string, FoundVersion[]>();
  if (state === null) return found;
  const files = [...(await liveFiles(store, state)).values()];
  const pathsOf = (content: string): string[] =>
    files.filter((file) => file.content === content).map(({ path }) => fromFileUri(path));
  const data = pathsOf('data');
  if (data.length === 0) return found;
  const deletes = pathsOf('position_deletes');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run("set timezone = 'UTC'");
    const dead =
      deletes.length === 0
        ? ''
        : `where not exists (select 1 from read_parquet(${list(deletes)}, hive_partitioning = false) d
             where d.file_path = 'file://' || f.filename and d.pos = f.file_row_number)`;
    const reader = await connection.runAndReadAll(
      `select ${COLUMNS} from read_parquet(${list(data)}, filename = true, file_row_number = true,
         union_by_name = true, hive_partitioning = false) f ${dead} order by f.id, f._order`,
    );
    for (const row of reader.getRowsJson() as (string | null)[][]) {
      const [op, closedBy, isCurrent, incomplete] = row.slice(9);
      if ((isCurrent === 'true') !== (closedBy === ''))
        throw new Error(`key ${row[0]}: is_current ${isCurrent} but closed by ${closedBy}`);
      if (incomplete !== null && incomplete !== '0')
        throw new Error(`key ${row[0]} has an incomplete version`);
      const versions = found.get(String(row[0])) ?? [];
      versions.push({
        image: canonicalImage(row.slice(0, 9)),
        closedBy: closedBy === '' ? null : (closedBy ?? null),
        op: op ?? '',
      });
      found.set(String(row[0]), versions);
    }
    return found;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
};
