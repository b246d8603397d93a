// Owns running Varve as a bench needs it: a folder with a pipeline file, the real command as a measured child
// process, and a topic that can be put back to where it was. Knows no floor.
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchDatabase, PIPELINE, TABLE } from './database.ts';
import { type Cost, type Sample, type Started, startMeasured } from './measure.ts';

/** Of the built package, as `npm run bench` has made it a moment ago. */
const MAIN = fileURLToPath(new URL('../dist/src/main.js', import.meta.url));

/** The command itself, measured. */
export const startVarve = (words: readonly string[]): Started =>
  startMeasured(process.execPath, [MAIN, ...words]);

/** JSON is YAML, and quotes everything. */
const fileText = (database: BenchDatabase, way: 'socket' | 'tcp', options: PipelineOptions): string =>
  JSON.stringify({
    name: PIPELINE,
    source: { kind: 'postgres', ...database.address(way), tables: [`public.${TABLE}`] },
    topic: { path: './topic', retention_gb: 100 },
    ...(options.table ? { table: { location: './tables' } } : {}),
    snapshot: { mode: options.snapshot },
    log: { level: 'warn' },
  });

type PipelineOptions = { snapshot: 'initial' | 'never'; table?: boolean };
export type Counts = { rows: number; changes: number; folded: number };

export class VarvePipeline implements AsyncDisposable {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async make(database: BenchDatabase, options: PipelineOptions): Promise<VarvePipeline> {
    const pipeline = new VarvePipeline(await mkdtemp(join(tmpdir(), 'varve-bench-')));
    for (const way of ['socket', 'tcp'] as const)
      await writeFile(pipeline.file(way), fileText(database, way, options));
    return pipeline;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  get topicPath(): string {
    return join(this.#directory, 'topic');
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

  /** Keeps the topic as it is now, for `putBack`. */
  async keep(): Promise<void> {
    await cp(this.topicPath, this.#kept, { recursive: true });
  }

  /** The topic as it was kept, or none; no tables. */
  async putBack(): Promise<void> {
    for (const part of ['topic', 'tables'])
      await rm(join(this.#directory, part), { recursive: true, force: true });
    await cp(this.#kept, this.topicPath, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  get #kept(): string {
    return join(this.#directory, 'topic-kept');
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
