// Owns the pipeline that the table's benches ask and fold: a topic with a snapshot of many rows, the table
// that was folded from it, and copies of both to work on. Made once a run of the benches.
import { rmSync } from 'node:fs';
import { cp, link, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PIPELINE, TABLE } from './database.ts';
import { type Cost, noteLoad, runScript, type Settings } from './measure.ts';
import { folderMb } from './merge.ts';
import type { FoldRequest, FoldTimes } from './table-fold-loop.ts';
import { makeSnapshotTopic } from './table-topic.ts';

/** A pipeline's folder: its file, `topic` and `tables`. */
export type World = { directory: string; file: string };

export const worldRows = (settings: Settings): number => settings.rows(2_000_000, 10_000_000);

const KEPT = 'kept';
const made: string[] = [];
// Gigabytes, which no run that ended may leave behind.
process.once('exit', () => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

export const makeDirectory = async (): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'varve-bench-'));
  made.push(path);
  return path;
};

/** `topic` may be another's, which is only read. */
const writePipeline = async (directory: string, topic = './topic'): Promise<World> => {
  const file = join(directory, 'pipeline.yaml');
  // JSON is YAML, and quotes everything. Nobody asks the source.
  const text = {
    name: PIPELINE,
    source: { kind: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none', tables: [`public.${TABLE}`] },
    topic: { kind: 'embedded', path: topic, retention_gb: 1000 },
    table: { location: './tables' },
    log: { level: 'warn' },
  };
  await writeFile(file, JSON.stringify(text));
  return { directory, file };
};

/** Files of tables never change once they are there, or are replaced whole: a copy costs a name each. */
const linkAll = async (from: string, to: string): Promise<void> => {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkAll(source, target);
    else await link(source, target);
  }
};

/** An own topic that goes on where this world's ends. */
export const copyTopic = async ({ directory }: World): Promise<string> => {
  const copy = join(await makeDirectory(), 'topic');
  await cp(join(directory, 'topic'), copy, { recursive: true });
  return copy;
};

/** Of gigabytes. */
export const removeAll = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

/** A pipeline that has no table yet. */
export const withoutTable = async (topic: string): Promise<World> =>
  writePipeline(await makeDirectory(), topic);

/**
 * The table as it was when it was made, to be changed by what `topic` holds. A table names its files by their
 * whole paths, so there is one at a time.
 */
export const putBack = async ({ directory }: World, topic = './topic'): Promise<World> => {
  await removeAll(join(directory, 'tables'));
  await linkAll(join(directory, KEPT), join(directory, 'tables'));
  return writePipeline(directory, topic);
};

/** Folds what its topic holds; refuses a number that was not earned. */
export const fold = async ({ file }: World, rows: number): Promise<Cost & { answer: FoldTimes }> => {
  const done = await runScript<FoldTimes>('table-fold-loop.ts', { file } satisfies FoldRequest);
  if (done.answer.events === rows) return done;
  throw new Error(`${done.answer.events} of ${rows} events were folded; the rate means nothing.`);
};

let world: Promise<World> | null = null;

const makeWorld = async (rows: number): Promise<World> => {
  const directory = await makeDirectory();
  const made = await writePipeline(directory);
  noteLoad(`table: a topic of ${rows} rows, and the table of it`);
  const startedMs = performance.now();
  await makeSnapshotTopic(join(directory, 'topic'), rows);
  const { answer } = await fold(made, rows);
  const seconds = (performance.now() - startedMs) / 1000;
  const files = await folderMb(join(directory, 'tables'));
  await linkAll(join(directory, 'tables'), join(directory, KEPT));
  process.stderr.write(
    `table: made in ${seconds.toFixed(1)} s, ${answer.seconds.toFixed(1)} s of it the fold; ` +
      `${files.toFixed(0)} MB\n`,
  );
  return made;
};

/** The topic and the table of `worldRows`. Who changes the table puts it back before. */
export const preparedWorld = (settings: Settings): Promise<World> => {
  world ??= makeWorld(worldRows(settings));
  return world;
};
