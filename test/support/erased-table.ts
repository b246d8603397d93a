// Owns erasing rows of a table without the command, proving it alone, and making a table's manifests say more
// than its rows do. Knows no topic.
import { randomUUID } from 'node:crypto';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../../src/sinks/parquet/engine/engine.ts';
import type { Erased } from '../../src/sinks/parquet/engine/protocol.ts';
import { type EraseReport, eraseRows } from '../../src/sinks/parquet/erase.ts';
import { proveErased } from '../../src/sinks/parquet/erase-proof.ts';
import { type ErasedTable, loadErasable, planErasure } from '../../src/sinks/parquet/erase-search.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { fromFileUri, toFileUri } from '../../src/sinks/parquet/store-local.ts';
import type { TableBench } from './table-bench.ts';
import { readTable } from './table-rows.ts';

export const openErased = async (bench: TableBench): Promise<ErasedTable & AsyncDisposable> => {
  const directory = join(bench.directory, `scratch-${randomUUID()}`);
  await mkdir(directory);
  const engine = new Engine({ memoryLimit: '512MB', threads: 1, directory, idleMs: 10_000 });
  const location = toFileUri(join(bench.location, 'public', 't'));
  return {
    io: bench.io,
    engine,
    location,
    stateLocation: `${location}__varve_state`,
    snapshotId: () => BigInt(Math.floor(Math.random() * 2 ** 50)) + 1n,
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
};

export const erasedKeys = (
  bench: TableBench,
  ids: readonly number[],
  blank: Erased['blank'] = null,
): Erased => ({
  keys: ids.map((id) => [BigInt(id)]),
  schemas: [bench.writer.record],
  links: [],
  blank,
});

export const erase = async (bench: TableBench, erased: Erased): Promise<EraseReport> => {
  await using table = await openErased(bench);
  const loaded = await loadErasable(table);
  return await eraseRows(table, await planErasure(table, loaded, erased));
};

/** The proof alone, of a table as it lies there. */
export const prove = async (bench: TableBench, erased: Erased): Promise<readonly string[]> => {
  await using table = await openErased(bench);
  const { state, layout } = await loadErasable(table);
  const { stateFiles } = await planErasure(table, { state, layout }, erased);
  const scan = (request: object) =>
    table.engine.erase(
      'eraseScan',
      { data: [], state: [], withTruth: true, ...request, layout, erased },
      { localCopy: async (uri) => fromFileUri(uri), schema: async () => '' },
    );
  const { findings } = await proveErased(table.io, state, { ...table, stateFiles, scan });
  return findings;
};

/**
 * Puts the table's first file under bounds of a column that say more than there is, as a file that was
 * cut by hand would have them.
 */
export const widenBounds = async (
  root: string,
  { table, column: name, upper }: { table: string; column: string; upper: Uint8Array },
): Promise<void> => {
  const { io, state, fields, files } = await readTable(root, table);
  const id = fields.find((field) => field.name === name)?.id ?? -1;
  const first = files.find(({ content }) => content === 'data');
  if (first === undefined) throw new Error(`the table ${table} has no file`);
  const path = `${first.path.slice(0, -'.parquet'.length)}-moved.parquet`;
  await copyFile(fromFileUri(first.path), fromFileUri(path));
  const column = first.stats.get(id) ?? { bytes: 0, values: 1, nulls: 0 };
  const moved = { ...first, path, stats: new Map([...first.stats, [id, { ...column, upper }] as const]) };
  const baseSequence = Number(state.metadata['last-sequence-number']);
  const snapshot = {
    id: 4711n,
    operation: 'replace' as const,
    add: [moved],
    remove: [first],
    summary: {},
    baseSequence,
  };
  await commit(io, state, { snapshot });
};
