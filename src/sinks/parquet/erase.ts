// Owns taking somebody's rows out of a table for good: every version in one commit that also forgets all
// older snapshots, then the files of those, at once. Knows no topic and no people.
import { durably } from '../../crash-point.ts';
import { VarveError } from '../../errors.ts';
import type { StateFile, WrittenFile } from './engine/protocol.ts';
import { type Proof, proveErased, unreached } from './erase-proof.ts';
import { type ErasedTable, type ErasePlan, memoryOf, scanner, withAnswers } from './erase-search.ts';
import { type Change, commit } from './iceberg/commit.ts';
import { REWRITE_POLICY } from './iceberg/maintenance.ts';
import { partitionKey } from './iceberg/partition.ts';
import { liveFiles, loadTable, type TableState } from './iceberg/table-state.ts';
import type { LiveFile } from './iceberg-type.ts';
import { fileKey } from './layout.ts';
import { adoptFiles, storedFiles } from './stored-table.ts';

export type EraseReport = {
  rows: number;
  rewritten: number;
  deleted: number;
  snapshotsExpired: number;
  snapshotId: bigint;
  proof: Proof;
};

const isHit = ({ rows, named }: { rows: number; named: number }): boolean => rows > 0 || named > 0;

/** Files of one partition, so many at once as fit into one rewrite. */
const groupsOf = (files: readonly LiveFile[]): LiveFile[][] => {
  const groups: LiveFile[][] = [];
  for (const same of Map.groupBy(files, partitionKey).values()) {
    let bytes = Number.POSITIVE_INFINITY;
    for (const file of same) {
      if (bytes + file.bytes > REWRITE_POLICY.maxInputBytes) {
        groups.push([]);
        bytes = 0;
      }
      groups.at(-1)?.push(file);
      bytes += file.bytes;
    }
  }
  return groups;
};

const rewriteData = async (
  table: ErasedTable,
  { state, erased }: ErasePlan,
  hit: readonly LiveFile[],
): Promise<WrittenFile[]> => {
  const { io, engine } = table;
  const files = await storedFiles(io.store, state);
  const added: WrittenFile[] = [];
  for (const inputs of groupsOf(hit)) {
    const request = { ...files, commit: io.uuid(), inputs, fileRows: REWRITE_POLICY.targetRows, erased };
    const written = await withAnswers(table, (answers) => engine.erase('eraseRows', request, answers));
    await adoptFiles(io.store, written.added);
    added.push(...written.added);
  }
  return added;
};

/** The companion's files after it, in their order. */
const rewriteState = async (
  table: ErasedTable,
  { layout, erased, found, stateFiles }: ErasePlan,
): Promise<string[]> => {
  const { io, engine, stateLocation } = table;
  const hit = new Set(found.state.filter(isHit).map(({ path }) => path));
  const after: string[] = [];
  for (const path of stateFiles) {
    if (!hit.has(path)) {
      after.push(path);
      continue;
    }
    const request = { layout, erased, path, commit: io.uuid(), stateLocation };
    const { added } = await withAnswers(table, (answers) => engine.erase('eraseState', request, answers));
    if (added === null) continue;
    const { local, path: uri }: StateFile = added;
    await io.store.adopt(local, uri);
    after.push(uri);
  }
  return after;
};

const refuseOutside = ({ location }: TableState, files: readonly LiveFile[]): void => {
  const outside = files.find(({ path }) => !fileKey(path).startsWith(`${fileKey(location)}/`));
  if (outside === undefined) return;
  throw new VarveError(
    'table_foreign',
    `${outside.path} holds rows that are to be erased, and lies outside ${location}, where Varve deletes ` +
      'nothing. Have the writer that put it there rewrite it, and erase again.',
    { facts: { file: outside.path, location } },
  );
};

const removeUnreached = async (table: ErasedTable, state: TableState): Promise<number> => {
  const { io, stateLocation } = table;
  const gone = await unreached(io, state, { stateLocation, stateFiles: memoryOf(state).stateFiles });
  for (const uri of gone) await io.store.remove(uri);
  for (const prefix of [`${state.location}/`, `${stateLocation}/`])
    await io.store.sweepLeftovers(prefix, Number.POSITIVE_INFINITY);
  return gone.length;
};

/**
 * One commit without the rows, or their values, and without any older snapshot; then every file that the
 * table needs no more goes, and all others are looked into. Who reads an older snapshot loses it. May
 *
 * be cut off at any point and done again. Throws `commit_conflict` when another writer was first; what the
 * proof has found is in the report.
 */
export const eraseRows = async (table: ErasedTable, plan: ErasePlan): Promise<EraseReport> => {
  const { io, location, stateLocation } = table;
  const { state, layout, erased, found } = plan;
  const live = await liveFiles(io.store, state);
  const paths = new Set(found.data.filter(isHit).map(({ path }) => path));
  const hit = [...live.values()].filter(({ path }) => paths.has(path));
  refuseOutside(state, hit);
  const deletes = [...live.values()].filter(({ referencedDataFile }) => paths.has(referencedDataFile ?? ''));
  const added = await rewriteData(table, plan, hit);
  const stateFiles = await rewriteState(table, plan);
  const snapshotId = table.snapshotId();
  const change: Change = {
    snapshot: {
      id: snapshotId,
      operation: 'replace',
      add: added.map(({ file }) => file),
      remove: [...hit, ...deletes],
      summary: { 'varve.state-files': JSON.stringify(stateFiles) },
      baseSequence: Number(state.metadata['last-sequence-number']),
    },
    expire: { maxAgeMs: 0, minKeep: 1, maxKeep: 1 },
    merge: { mergeAt: 100, maxBytes: 8 << 20, forgetRemoved: true },
  };
  await durably('table.commit', () => commit(io, state, change));
  const after = await loadTable(io, location);
  if (after === null) throw new VarveError('table_corrupt', `${location} vanished while rows were erased.`);
  const deleted = await removeUnreached(table, after);
  const proof = await proveErased(io, after, {
    stateLocation,
    stateFiles: memoryOf(after).stateFiles,
    scan: scanner(table, layout, erased),
  });
  return {
    rows: found.data.reduce((sum, { rows }) => sum + rows, 0),
    rewritten: hit.length + found.state.filter(isHit).length,
    deleted,
    snapshotsExpired: state.metadata.snapshots.length,
    snapshotId,
    proof,
  };
};
