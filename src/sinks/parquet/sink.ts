// Owns the sink of Iceberg tables on local disk: one merge engine for all tables, one table a topic.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DeadRecord, Sink, TableSink } from '../sink.ts';
import { Engine } from './engine/engine.ts';
import { tableDirectories } from './layout.ts';
import { storeError } from './store-error.ts';
import { openLocalStore, toFileUri } from './store-local.ts';
import { openTable } from './table.ts';

const ENGINE_THREADS = 2;
const ENGINE_IDLE_MS = 30_000;

type ParquetSinkOptions = {
  /** Directory of the tables; several pipelines may share it. */
  directory: string;
  /** Its name: of one pipeline there is one process. */
  pipeline: string;
  memoryMb: number;
  /** Several changes of a row in one transaction are one version. */
  collapse: boolean;
  lateWindowMs: number;
  keepSnapshots: number;
  keepSnapshotsMs: number;
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
  readonly #names = new Map<string, { namespace: string; name: string }>();
  #engine: Promise<Engine> | null = null;
  #scratch: string | null = null;

  constructor(options: ParquetSinkOptions) {
    this.#options = options;
  }

  /**
   * The scratch folder lies beside the tables, so that finished files are adopted by a rename. A process that
   * was killed left its own behind; the engine that it started may still be busy there.
   */
  async #openEngine(): Promise<Engine> {
    const { directory, pipeline, memoryMb } = this.#options;
    const scratch = join(directory, `.varve-scratch-${pipeline}`);
    try {
      await rm(scratch, { recursive: true, force: true });
      await mkdir(scratch, { recursive: true });
      this.#scratch = await mkdtemp(join(scratch, 'engine-'));
    } catch (thrown) {
      this.#engine = null;
      throw storeError('make', scratch, thrown);
    }
    return new Engine({
      memoryLimit: `${memoryMb}MB`,
      threads: ENGINE_THREADS,
      directory: this.#scratch,
      idleMs: ENGINE_IDLE_MS,
    });
  }

  async open(topic: string, table: { namespace: string; name: string }): Promise<TableSink> {
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
      location: toFileUri(join(directory, own?.path ?? '')),
      stateLocation: toFileUri(join(directory, own?.statePath ?? '')),
      topic,
      snapshotId: () => snapshotIdFrom(randomId),
    });
  }

  async close(): Promise<void> {
    const engine = await this.#engine?.catch(() => null);
    await engine?.[Symbol.asyncDispose]();
    // What cannot be removed goes at the next start; said here, it would stand before what ended the run.
    if (this.#scratch !== null)
      await rm(dirname(this.#scratch), { recursive: true, force: true }).catch(() => undefined);
  }
}

export const openParquetSink = (options: ParquetSinkOptions): Sink => new ParquetSink(options);
