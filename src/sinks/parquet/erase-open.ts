// Owns opening one table to be erased from: its store, an engine, and a folder to work in.
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from './engine/engine.ts';
import type { ErasedTable } from './erase-search.ts';
import { freshSnapshotId } from './iceberg/metadata.ts';
import { tableDirectories } from './layout.ts';
import { localDirectory, openStore, type TablePlace, uriBelow } from './open-store.ts';
import { openScratch } from './scratch.ts';
import type { TableName } from './summary.ts';

const ENGINE = { threads: 2, idleMs: 30_000 } as const;

/** What killed runs of the pipeline left in its folders, rows among it, goes as well. */
export const openErasure = async (
  place: TablePlace,
  table: TableName,
  { pipeline, memoryBytes }: { pipeline: string; memoryBytes: number },
): Promise<ErasedTable & AsyncDisposable> => {
  const [own] = tableDirectories([table]);
  const scratch = await openScratch(localDirectory(place) ?? tmpdir(), pipeline);
  const opened = await openStore(place, { uuid: randomUUID, copies: join(scratch.path, 'copies') });
  const { store, catalog } = opened;
  const engine = new Engine({
    ...ENGINE,
    memoryLimit: `${memoryBytes >> 20}MiB`,
    directory: scratch.path,
  });
  return {
    io: { store, catalog, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined },
    engine,
    location: uriBelow(place, own?.path ?? ''),
    stateLocation: uriBelow(place, own?.statePath ?? ''),
    snapshotId: () => freshSnapshotId(randomUUID),
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      opened.close();
      await scratch.close();
    },
  };
};
