// Owns the bench of the fold: changes merged into a table that holds many rows already, by how many they are
// and where their keys lie.
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Line, makeLine, medianOf, noteLoad, runScript, type Settings } from './measure.ts';
import type { MergeCase, MergeRequest, MergeTimes } from './merge-loop.ts';

const TARGETS: readonly (MergeCase & { target: string })[] = [
  { name: 'merge-1k-newest', changes: 1000, keys: 'newest', target: '<= 0.5 s at 10M rows' },
  { name: 'merge-1k-uniform', changes: 1000, keys: 'uniform', target: '<= 1.2 s at 10M rows' },
  { name: 'merge-100k-newest', changes: 100_000, keys: 'newest', target: '<= 2 s at 10M rows' },
  { name: 'merge-100k-uniform', changes: 100_000, keys: 'uniform', target: '<= 4 s at 10M rows' },
];

/** Of all files below it. */
export const folderMb = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async (file) => (await stat(join(file.parentPath, file.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20;
};

/** A commit's time, and in a line of its own the time of the upkeep after it. */
export const merge = async (settings: Settings): Promise<Line[]> => {
  const rows = settings.rows(2_000_000, 10_000_000);
  const directory = await mkdtemp(join(tmpdir(), 'varve-bench-'));
  try {
    noteLoad(`merge: building a table of ${rows} rows`);
    const request: MergeRequest = { directory, rows, cases: [], reps: settings.reps };
    const built = await runScript<{ seconds: number }>('merge-loop.ts', request);
    const size = await folderMb(directory);
    process.stderr.write(`merge: built in ${built.answer.seconds.toFixed(1)} s, ${size.toFixed(0)} MB\n`);
    noteLoad(`merge: ${settings.reps} times ${TARGETS.length} cases`);
    const changed = await runScript<MergeTimes[]>('merge-loop.ts', { ...request, cases: TARGETS });
    return TARGETS.flatMap(({ name, changes, target }) => {
      const times = changed.answer.filter((time) => time.name === name);
      const sample = (pick: (time: MergeTimes) => number) => ({
        value: medianOf(times.map(pick)),
        cpuSeconds: medianOf(times.map(({ cpuSeconds }) => cpuSeconds)),
        peakMb: changed.peakMb,
      });
      const line = { unit: 's', rows: changes };
      return [
        makeLine({ ...line, name, sample: sample(({ seconds }) => seconds), target }),
        makeLine({ ...line, name: `${name}/upkeep`, sample: sample(({ upkeepSeconds }) => upkeepSeconds) }),
      ];
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};
