// Owns the bench of many small commits into a large table: is the thousandth slower than the tenth?
import { join } from 'node:path';
import { type Line, makeLine, medianOf, noteLoad, runScript, type Settings } from './measure.ts';
import type { MergeCase, MergeRequest, MergeTimes } from './merge-loop.ts';
import { preparedWorld, putBack, worldRows } from './table-world.ts';

const CHANGES = 1000;
/** After so many commits it is looked at. */
const POINTS = [10, 100, 1000];
/** Commits up to a point whose median is its figure. */
const NEAR = 5;

/** Targets: what a merge of as many changes takes in a table without history. */
const CASES: readonly (MergeCase & { target: string })[] = [
  { name: 'newest', changes: CHANGES, keys: 'newest', target: '<= 0.5 s at 10M rows' },
  { name: 'uniform', changes: CHANGES, keys: 'uniform', target: '<= 1.2 s at 10M rows' },
];

const pointLines = (times: readonly MergeTimes[], { name, target, peakMb }: Series): Line[] => {
  const near = (point: number): MergeTimes[] => times.slice(Math.max(0, point - NEAR), point);
  const sample = (point: number, pick: (time: MergeTimes) => number) => ({
    value: medianOf(near(point).map(pick)),
    cpuSeconds: medianOf(near(point).map(({ cpuSeconds }) => cpuSeconds)),
    peakMb,
  });
  const line = { unit: 's', rows: CHANGES };
  return POINTS.filter((point) => point <= times.length).flatMap((point) => {
    const of = `table-small-commits/${name}-${point}`;
    const [first = point] = POINTS;
    const floor = point === first ? undefined : sample(first, ({ seconds }) => seconds).value;
    return [
      makeLine({ ...line, name: of, sample: sample(point, ({ seconds }) => seconds), floor, target }),
      makeLine({
        ...line,
        name: `${of}/upkeep`,
        sample: sample(point, ({ upkeepSeconds }) => upkeepSeconds),
      }),
    ];
  });
};

type Series = { name: string; target: string; peakMb: number };

/** Seconds a commit, and of the upkeep that follows each where commits are seconds apart. */
export const tableSmallCommits = async (settings: Settings): Promise<Line[]> => {
  const world = await preparedWorld(settings);
  const commits = settings.rows(1_000_000, 1_000_000) / CHANGES;
  const lines: Line[] = [];
  for (const { target, ...one } of CASES) {
    const table = await putBack(world);
    noteLoad(`table-small-commits: ${commits} commits, ${one.name}`);
    const request: MergeRequest = {
      directory: join(table.directory, 'tables'),
      rows: worldRows(settings),
      cases: [one],
      reps: commits,
    };
    const { answer, peakMb } = await runScript<MergeTimes[]>('merge-loop.ts', request);
    lines.push(...pointLines(answer, { name: one.name, target, peakMb }));
  }
  return lines;
};
