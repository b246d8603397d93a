// Owns the sink of Iceberg tables: one merge engine and one store for all tables, one table a topic.
import { join } from 'node:path';
import type { DeadRecord, Sink } from '../sink.ts';
import { Engine } from './engine/engine.ts';
import { freshSnapshotId } from './iceberg/metadata.ts';
import { tableDirectories } from './layout.ts';
import { localDirectory, type OpenedStore, openStore, type TablePlace, uriBelow } from './open-store.ts';
import { openScratch } from './scratch.ts';
import type { TableName } from './summary.ts';
import { openTable, type ParquetTable } from './table.ts';
import type { TableRules } from './table-options.ts';

const ENGINE_THREADS = 2;
const ENGINE_IDLE_MS = 30_000;

type ParquetSinkOptions = {
  /** Of the tables; several pipelines may share it. */
  place: TablePlace;
  /** Local directory to work in where the tables are elsewhere. */
  workDirectory: string;
  /** Its name. */
  pipeline: string;
  /** Kind of the source. */
  source: string;
  memoryBytes: number;
  rules: (table: TableName) => TableRules;
  nowMs: () => number;
  randomId: () => string;
  /** Keeps records that cannot be folded; resolves when they are durable. */
  bury: (topic: string, dead: readonly DeadRecord[]) => Promise<void>;
  /** Something of no consequence for what is committed went wrong. */
  onTrouble: (what: string, cause: unknown) => void;
};

/** Of all tables. */
type Shared = { engine: Engine; scratch: Awaited<ReturnType<typeof openScratch>>; opened: OpenedStore };

class ParquetSink implements Sink {
  readonly #options: ParquetSinkOptions;
  readonly #names = new Map<string, TableName>();
  #shared: Promise<Shared> | null = null;

  constructor(options: ParquetSinkOptions) {
    this.#options = options;
  }

  async #open(): Promise<Shared> {
    const { place, workDirectory, pipeline, memoryBytes, randomId } = this.#options;
    const here = localDirectory(place);
    const scratch = await openScratch(here ?? workDirectory, pipeline);
    const opened = await openStore(place, { uuid: randomId, copies: join(scratch.path, 'copies') });
    try {
      // What a directory does is known.
      if (here === null) await opened.prove();
    } catch (thrown) {
      opened.close();
      await scratch.close();
      throw thrown;
    }
    const engine = new Engine({
      memoryLimit: `${memoryBytes >> 20}MiB`,
      threads: ENGINE_THREADS,
      directory: scratch.path,
      idleMs: ENGINE_IDLE_MS,
    });
    return { engine, scratch, opened };
  }

  /** What could not be opened is tried again with the next table. */
  #share(): Promise<Shared> {
    this.#shared ??= this.#open().catch((thrown: unknown) => {
      this.#shared = null;
      throw thrown;
    });
    return this.#shared;
  }

  async open(topic: string, table: TableName): Promise<ParquetTable> {
    const { place, nowMs, randomId, onTrouble, pipeline, source } = this.#options;
    this.#names.set(topic, table);
    const directories = tableDirectories([...this.#names.values()]);
    const own = directories.find(
      ({ namespace, name }) => namespace === table.namespace && name === table.name,
    );
    const { engine, opened } = await this.#share();
    const onHintFailure = (cause: unknown): void =>
      onTrouble('the version hint of a table could not be moved', cause);
    return openTable({
      ...this.#options,
      io: { store: opened.store, catalog: opened.catalog, now: nowMs, uuid: randomId, onHintFailure },
      engine,
      rules: this.#options.rules(table),
      location: uriBelow(place, own?.path ?? ''),
      stateLocation: uriBelow(place, own?.statePath ?? ''),
      topic,
      lineage: { 'varve.pipeline': pipeline, 'varve.source': source, 'varve.topic': topic },
      snapshotId: () => freshSnapshotId(randomId),
    });
  }

  async close(): Promise<void> {
    const shared = await this.#shared?.catch(() => null);
    await shared?.engine[Symbol.asyncDispose]();
    shared?.opened.close();
    await shared?.scratch.close();
  }
}

export const openParquetSink = (options: ParquetSinkOptions): ParquetSink => new ParquetSink(options);
