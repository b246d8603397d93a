// Owns what can be told of a table from its metadata alone, without an engine: for `status`.
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import { liveFiles, loadTable, summaryValue, type TableIo, type TableState } from './iceberg/table-state.ts';
import { tableDirectories } from './layout.ts';
import { openLocalStore, toFileUri } from './store-local.ts';
import { readMemory } from './table-memory.ts';

export type TableSummary = {
  location: string;
  /** Next offset to read, by partition. */
  offsets: ReadonlyMap<number, bigint>;
  /** Versions in data files, and those of them that are current; deleted positions are taken off. */
  rows: number;
  currentRows: number;
  files: number;
  committedAtMs: number;
};

export type TableName = { namespace: string; name: string };

const readOnly = (directory: string): TableIo => ({
  store: openLocalStore(directory, { uuid: () => refuseWrite() }),
  now: Date.now,
  uuid: () => refuseWrite(),
  onHintFailure: () => undefined,
});

const refuseWrite = (): never => {
  throw new VarveError('internal', 'A reader of tables tried to write.');
};

/**
 * The newest version of a table below `directory`, and the files behind it; null when it is not there yet.
 */
export const findTable = async (
  directory: string,
  table: TableName,
): Promise<{ io: TableIo; state: TableState } | null> => {
  const [own] = tableDirectories([table]);
  const io = readOnly(directory);
  const state = await loadTable(io, toFileUri(join(directory, own?.path ?? '')));
  return state === null ? null : { io, state };
};

export const readTableSummary = async (directory: string, table: TableName): Promise<TableSummary | null> => {
  const found = await findTable(directory, table);
  if (found === null) return null;
  const { io, state } = found;
  const files = [...(await liveFiles(io.store, state)).values()];
  let rows = 0;
  let currentRows = 0;
  for (const { content, partition, records } of files) {
    const counted = content === 'data' ? records : -records;
    rows += counted;
    if (partition[0] === true) currentRows += counted;
  }
  return {
    location: state.location,
    offsets: readMemory((key) => summaryValue(state, key)).offsets,
    rows,
    currentRows,
    files: files.length,
    committedAtMs: state.snapshot === null ? 0 : Number(state.snapshot['timestamp-ms']),
  };
};
