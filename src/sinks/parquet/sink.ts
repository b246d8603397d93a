// Owns the sink of Iceberg tables on local disk: one merge engine for all tables, one table a topic.
import { join } from 'node:path';
import type { DeadRecord, Sink, TableSink } from '../sink.ts';
import { Engine } from './engine/engine.ts';
import { tableDirectories } from './layout.ts';
import { openScratch } from './scratch.ts';
import { openLocalStore, toFileUri } from './store-local.ts';
import type { TableName } from './summary.ts';
import { openTable } from './table.ts';
import type { TableRules } from './table-options.ts';

const ENGINE_THREADS = 2;
const ENGINE_IDLE_MS = 30_000;

type ParquetSinkOptions = {
  /** Directory of the tables; several pipelines may share it. */
  directory: string;
  /** Its name. */
  pipeline: string;
  memoryBytes: number;
  rules: (table: TableName) => TableRules;
  nowMs: () => number;
  randomId: () => string;
  /** Keeps records that cannot be folded; resolves when they are durable. */
  bury: (topic: string, dead: readonly DeadRecord[]) => Promise<void>;
  /** Something of no consequence for what is committed went wrong. */
  onTrouble: (what: string, cause: unknown) => void;
};

/** Positive, random, below 2^53 so that every JSON parser keeps it. */
const snapshotIdFrom = (randomId: () => string): bigint =>
  BigInt.asUintN(52, BigInt(`0x${randomId().replaceAll('-', '')}`)) + 1n;

class ParquetSink implements Sink {
  readonly #options: ParquetSinkOptions;
  readonly #names = new Map<string, TableName>();
  #engine: Promise<Engine> | null = null;
  #scratch: Awaited<ReturnType<typeof openScratch>> | null = null;

  constructor(options: ParquetSinkOptions) {
    this.#options = options;
  }

  async #openEngine(): Promise<Engine> {
    const { directory, pipeline, memoryBytes } = this.#options;
    this.#scratch = await openScratch(directory, pipeline).catch((thrown: unknown) => {
      this.#engine = null;
      throw thrown;
    });
    return new Engine({
      memoryLimit: `${memoryBytes >> 20}MiB`,
      threads: ENGINE_THREADS,
      directory: this.#scratch.path,
      idleMs: ENGINE_IDLE_MS,
    });
  }

  async open(topic: string, table: TableName): Promise<TableSink> {
    const { directory, nowMs, randomId, onTrouble } = this.#options;
    this.#names.set(topic, table);
    const directories = tableDirectories([...this.#names.values()]);
    const own = directories.find(
      ({ namespace, name }) => namespace === table.namespace && name === table.name,
    );
    this.#engine ??= this.#openEngine();
    const engine = await this.#engine;
    const onHintFailure = (cause: unknown): void =>
      onTrouble('the version hint of a table could not be moved', cause);
    return openTable({
      ...this.#options,
      io: { store: openLocalStore(directory, { uuid: randomId }), now: nowMs, uuid: randomId, onHintFailure },
      engine,
      rules: this.#options.rules(table),
      location: toFileUri(join(directory, own?.path ?? '')),
      stateLocation: toFileUri(join(directory, own?.statePath ?? '')),
      topic,
      snapshotId: () => snapshotIdFrom(randomId),
    });
  }

  async close(): Promise<void> {
    const engine = await this.#engine?.catch(() => null);
    await engine?.[Symbol.asyncDispose]();
    await this.#scratch?.close();
  }
}

export const openParquetSink = (options: ParquetSinkOptions): Sink => new ParquetSink(options);
