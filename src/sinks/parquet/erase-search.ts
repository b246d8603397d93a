// Owns finding what there is to erase in a table: whose rows, in which files. Changes nothing.
import { VarveError } from '../../errors.ts';
import type { TableLayout } from './columns-layout.ts';
import type { EngineValue } from './columns-value.ts';
import type { Engine, EngineAnswers } from './engine/engine.ts';
import type { Erased, EraseScanResult } from './engine/protocol.ts';
import { type Scan, unreached } from './erase-proof.ts';
import { liveFiles, loadTable, summaryValue, type TableIo, type TableState } from './iceberg/table-state.ts';
import { storedFiles, storedLayout } from './stored-table.ts';
import { readMemory } from './table-memory.ts';

export type ErasedTable = {
  io: TableIo;
  engine: Engine;
  location: string;
  stateLocation: string;
  snapshotId: () => bigint;
};

/** What there is to do, and on which state of the table. */
export type ErasePlan = {
  state: TableState;
  layout: TableLayout;
  erased: Erased;
  stateFiles: readonly string[];
  /** Up to which the table has its topic, by partition. */
  offsets: ReadonlyMap<number, bigint>;
  found: EraseScanResult;
  /** Files that only older snapshots have, or nobody. */
  unreached: readonly string[];
};

const refuseSchema = (): never => {
  throw new VarveError('internal', 'An erasure asked for a schema of the topic.');
};

export const withAnswers = async <Result>(
  { io }: Pick<ErasedTable, 'io'>,
  work: (answers: EngineAnswers) => Promise<Result>,
): Promise<Result> => {
  using copies = io.store.lease();
  return await work({ localCopy: copies.localCopy, schema: refuseSchema });
};

export const memoryOf = (state: TableState) => readMemory((key) => summaryValue(state, key));

/** Its newest version. Throws `usage` where there is none, or where others hold on to older snapshots. */
export const loadErasable = async ({ io, location }: Pick<ErasedTable, 'io' | 'location'>) => {
  const state = await loadTable(io, location);
  if (state === null || state.snapshot === null)
    throw new VarveError('usage', `${location} has no rows yet: there is nothing to erase.`);
  const refs = Object.keys(state.metadata.refs).filter((name) => name !== 'main');
  if (refs.length > 0)
    throw new VarveError(
      'usage',
      `${location} has branches or tags that hold older snapshots: ${refs.join(', ')}. Rows there stay; ` +
        'drop them with the tool that made them, and erase again.',
      { facts: { location, refs: refs.join(', ') } },
    );
  return { state, layout: storedLayout(state) };
};

/** Keys of all rows, of any time, for which the condition holds. Throws `usage`. */
export const findKeys = async (
  table: ErasedTable,
  state: TableState,
  where: string,
): Promise<readonly (readonly EngineValue[])[]> => {
  const { layout, data, deletes } = await storedFiles(table.io.store, state);
  const request = {
    layout,
    data: data.map(({ path, specId, partition, records, bytes }) => ({
      path,
      specId,
      partition,
      records,
      bytes,
    })),
    deletes: deletes.map(({ path, referencedDataFile, bytes }) => ({ path, referencedDataFile, bytes })),
    where,
  };
  const { keys, more } = await withAnswers(table, (answers) =>
    table.engine.erase('eraseKeys', request, answers),
  );
  if (more)
    throw new VarveError('usage', `--where finds more than ${keys.length} keys; erase in smaller parts.`);
  return keys;
};

export const scanner =
  (table: ErasedTable, layout: TableLayout, erased: Erased): Scan =>
  (request) =>
    withAnswers(table, (answers) => table.engine.erase('eraseScan', { ...request, layout, erased }, answers));

/** Looks into every file of the newest version. */
export const planErasure = async (
  table: ErasedTable,
  { state, layout }: Pick<ErasePlan, 'state' | 'layout'>,
  erased: Erased,
): Promise<ErasePlan> => {
  const { io, stateLocation } = table;
  const { stateFiles, offsets } = memoryOf(state);
  const live = [...(await liveFiles(io.store, state)).values()];
  const data = live.filter(({ content }) => content === 'data').map(({ path }) => path);
  const found = await scanner(table, layout, erased)({ data, state: stateFiles, withTruth: false });
  const gone = await unreached(io, state, { stateLocation, stateFiles });
  return {
    state,
    layout,
    stateFiles,
    offsets,
    found,
    unreached: gone,
    erased: { ...erased, links: found.links },
  };
};
