// Owns what can be told of a table from its metadata alone, without an engine: for `status`.
import { VarveError } from '../../errors.ts';
import { liveFiles, loadTable, summaryValue, type TableIo, type TableState } from './iceberg/table-state.ts';
import { tableDirectories } from './layout.ts';
import { type OpenedStore, openStore, type TablePlace, uriBelow } from './open-store.ts';
import { readMemory } from './table-memory.ts';
import { pausedSince } from './table-pause.ts';

export type TableSummary = {
  location: string;
  /** Next offset to read, by partition. */
  offsets: ReadonlyMap<number, bigint>;
  /** Versions in data files, and those of them that are current; deleted positions are taken off. */
  rows: number;
  currentRows: number;
  files: number;
  committedAtMs: number;
  /** ISO time since when nothing is committed, because somebody said so; null: it is not paused. */
  pausedSince: string | null;
};

export type TableName = { namespace: string; name: string };

const refuseWrite = (): never => {
  throw new VarveError('internal', 'A reader of tables tried to write.');
};

/** For reading only. `copies`: directory for copies of files that are elsewhere; null: none. */
export const openReadOnly = (place: TablePlace, copies: string | null): Promise<OpenedStore> =>
  openStore(place, { uuid: refuseWrite, copies });

type FoundTable = { io: TableIo; state: TableState };

/** The newest version of a table of the place that was opened; null when it is not there yet. */
export const findTableIn = async (
  { store, catalog }: OpenedStore,
  place: TablePlace,
  table: TableName,
): Promise<FoundTable | null> => {
  const [own] = tableDirectories([table]);
  const io = { store, catalog, now: Date.now, uuid: refuseWrite, onHintFailure: () => undefined };
  const state = await loadTable(io, uriBelow(place, own?.path ?? ''));
  return state === null ? null : { io, state };
};

/** A daemon looks often, and its connections are worth keeping. */
const opened = new WeakMap<TablePlace, Promise<OpenedStore>>();

/** The same, for what needs its metadata only. */
export const findTable = async (place: TablePlace, table: TableName): Promise<FoundTable | null> => {
  const known = opened.get(place) ?? openReadOnly(place, null);
  opened.set(place, known);
  return findTableIn(await known, place, table);
};

export const readTableSummary = async (place: TablePlace, table: TableName): Promise<TableSummary | null> => {
  const found = await findTable(place, table);
  if (found === null) return null;
  const { io, state } = found;
  const files = [...(await liveFiles(io.store, state)).values()];
  let rows = 0;
  let currentRows = 0;
  const hasHistory = state.fields.some(({ name }) => name === 'is_current');
  for (const { content, partition, records } of files) {
    const counted = content === 'data' ? records : -records;
    rows += counted;
    if (!hasHistory || partition[0] === true) currentRows += counted;
  }
  return {
    location: state.location,
    offsets: readMemory((key) => summaryValue(state, key)).offsets,
    rows,
    currentRows,
    files: files.length,
    committedAtMs: state.snapshot === null ? 0 : Number(state.snapshot['timestamp-ms']),
    pausedSince: pausedSince(state),
  };
};
