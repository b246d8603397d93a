// Owns running Varve as a bench needs it: a folder with a pipeline file, the real command as a measured
// child process, and a topic that can be put back to where it was. Knows no floor, and of topics only the
// embedded one.
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchDatabase, PIPELINE, TABLE } from './database.ts';
import { builtUrl, type Cost, type Sample, type Started, startMeasured } from './measure.ts';

const MAIN = fileURLToPath(builtUrl('main.js'));

/** The command itself, measured. */
export const startVarve = (words: readonly string[]): Started =>
  startMeasured(process.execPath, [MAIN, ...words]);

/** A file's `topic`, and enough for a reader to find it. */
export type TopicPlace =
  | { kind: 'embedded'; path: string; retention_gb: number }
  | {
      kind: 'kafka';
      brokers: readonly string[];
      prefix: string;
      registry: { url: string };
      delivery: 'exactly_once' | 'at_least_once';
      partitions: number;
    };

/** Where a pipeline publishes, and how it is put back to where it was. */
export type BenchTopic = {
  /** Until `putBack` moves it. */
  place(): TopicPlace;
  /** Keeps it as it is now. */
  keep(): Promise<void>;
  /** As it was kept, or nothing at all. */
  putBack(): Promise<void>;
};

class EmbeddedTopic implements BenchTopic {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  place(): TopicPlace {
    return { kind: 'embedded', path: this.#path, retention_gb: 100 };
  }

  async keep(): Promise<void> {
    await cp(this.#path, this.#kept, { recursive: true });
  }

  async putBack(): Promise<void> {
    await rm(this.#path, { recursive: true, force: true });
    await cp(this.#kept, this.#path, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  get #kept(): string {
    return `${this.#path}-kept`;
  }
}

/** `topic` absent: an embedded one. */
type PipelineOptions = { snapshot: 'initial' | 'never'; table?: boolean; topic?: BenchTopic };
export type Counts = { rows: number; changes: number; folded: number };

export class VarvePipeline implements AsyncDisposable {
  readonly topic: BenchTopic;
  readonly #directory: string;
  readonly #database: BenchDatabase;
  readonly #options: PipelineOptions;

  private constructor(directory: string, database: BenchDatabase, options: PipelineOptions) {
    this.topic = options.topic ?? new EmbeddedTopic(join(directory, 'topic'));
    this.#directory = directory;
    this.#database = database;
    this.#options = options;
  }

  static async make(database: BenchDatabase, options: PipelineOptions): Promise<VarvePipeline> {
    const directory = await mkdtemp(join(tmpdir(), 'varve-bench-'));
    const pipeline = new VarvePipeline(directory, database, options);
    await pipeline.#writeFiles();
    return pipeline;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  file(way: 'socket' | 'tcp'): string {
    return join(this.#directory, `${way}.yaml`);
  }

  /** Runs until caught up. */
  async run(way: 'socket' | 'tcp'): Promise<Cost & Counts> {
    const words = ['run', this.file(way), '--until-caught-up', '--json'];
    const { stdout, ...cost } = await startVarve(words).finished;
    const counts = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Counts;
    return { ...cost, ...counts };
  }

  /** The topic as it was kept, or none; no tables. */
  async putBack(): Promise<void> {
    await rm(join(this.#directory, 'tables'), { recursive: true, force: true });
    await this.topic.putBack();
    await this.#writeFiles();
  }

  async #writeFiles(): Promise<void> {
    for (const way of ['socket', 'tcp'] as const) await writeFile(this.file(way), this.#fileText(way));
  }

  /** JSON is YAML, and quotes everything. */
  #fileText(way: 'socket' | 'tcp'): string {
    const { table, snapshot } = this.#options;
    return JSON.stringify({
      name: PIPELINE,
      source: { kind: 'postgres', ...this.#database.address(way), tables: [`public.${TABLE}`] },
      topic: this.topic.place(),
      ...(table ? { table: { location: './tables' } } : {}),
      snapshot: { mode: snapshot },
      log: { level: 'warn' },
    });
  }
}

/**
 * A run that has work, less one right after it that has none: starting, and looking whether there is more,
 * is not what is measured. Value: rows a second.
 */
export const drain = async (
  pipeline: VarvePipeline,
  way: 'socket' | 'tcp',
  rowsOf: (counts: Counts) => number,
): Promise<Sample> => {
  const full = await pipeline.run(way);
  const empty = await pipeline.run(way);
  const seconds = full.seconds - empty.seconds;
  if (seconds <= 0) throw new Error('The run took no longer than one without work: more rows are needed.');
  const cpuSeconds = Math.max(0, full.cpuSeconds - empty.cpuSeconds);
  return { value: rowsOf(full) / seconds, cpuSeconds, peakMb: full.peakMb };
};

/** Refuses a number that was not earned. */
export const expectRows = (what: string, got: number, wanted: number): number => {
  if (got === wanted) return got;
  throw new Error(`${what} saw ${got} of ${wanted} rows; its rate means nothing.`);
};
