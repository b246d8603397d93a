// Owns the comparison of one commit: many updates of a large table by Varve, by DuckDB making the whole table
// anew, and by Spark's MERGE INTO, each on the same table and with the same keys.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureSpark } from '../test/support/readers.ts';
import { TABLE } from './database.ts';
import {
  type Contender,
  type Line,
  makeLine,
  noteLoad,
  runInTurn,
  runMeasured,
  runScript,
  type Sample,
  type Settings,
} from './measure.ts';
import { foldAgain, uniformUpdates, uniformUpdatesSql } from './table-fold.ts';
import type { RewriteRequest, RewriteTimes } from './table-rewrite-loop.ts';
import { addChanges } from './table-topic.ts';
import {
  copyTopic,
  makeDirectory,
  preparedWorld,
  putBack,
  removeAll,
  type World,
  worldRows,
} from './table-world.ts';
import { expectRows } from './varve-pipeline.ts';

const NAME = 'table-rivals';
const MODES = ['merge-on-read', 'copy-on-write'] as const;

type Changes = { base: World; request: Omit<RewriteRequest, 'step'>; count: number };

const rewriteAgain = ({ base, request, count }: Changes): Contender => ({
  name: 'duckdb-full-rewrite',
  isPeer: true,
  run: async () => {
    await putBack(base);
    const all: RewriteRequest = { ...request, step: 'rewrite' };
    const { answer, cpuSeconds, peakMb } = await runScript<RewriteTimes>('table-rewrite-loop.ts', all);
    return { value: expectRows('duckdb', answer.closed, count) / answer.seconds, cpuSeconds, peakMb };
  },
});

/** Its hadoop catalog takes the table as it lies. */
const mergeAgain = (mode: (typeof MODES)[number], { base, request, count }: Changes): Contender => ({
  name: `spark-merge-into-${mode}`,
  isPeer: true,
  run: async (): Promise<Sample> => {
    const { python, jar } = await ensureSpark();
    await putBack(base);
    const script = fileURLToPath(new URL('table_merge.py', import.meta.url));
    const words = [script, jar, request.location, `public.${TABLE}`, request.file, mode];
    const { stdout, cpuSeconds, peakMb } = await runMeasured(python, words);
    const result = JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? '') as RewriteTimes;
    return { value: expectRows('spark', result.closed, count) / result.seconds, cpuSeconds, peakMb };
  },
});

/** Updates a second, in one commit of all of them. */
export const tableRivals = async (settings: Settings): Promise<Line[]> => {
  const base = await preparedWorld(settings);
  const [from, count] = [worldRows(settings), settings.rows(200_000, 500_000)];
  const topic = await copyTopic(base);
  await addChanges(topic, count, uniformUpdates(from));
  const directory = await makeDirectory();
  const changes: Changes = {
    base,
    count,
    request: {
      location: join(base.directory, 'tables'),
      file: join(directory, 'changes.parquet'),
      ids: uniformUpdatesSql(from, count),
      output: join(directory, 'table.parquet'),
    },
  };
  await putBack(base);
  noteLoad(`${NAME}: a file of ${count} changes`);
  const request: RewriteRequest = { ...changes.request, step: 'changes' };
  const made = await runScript<RewriteTimes>('table-rewrite-loop.ts', request);
  expectRows('the file of changes', made.answer.closed, count);
  const contenders = [
    foldAgain({ name: NAME, topic, from, rows: count, base, target: '' }),
    rewriteAgain(changes),
    ...MODES.map((mode) => mergeAgain(mode, changes)),
  ];
  const results = await runInTurn(NAME, contenders, settings);
  for (const path of [topic, directory]) await removeAll(path);
  return contenders.map(({ name }) =>
    makeLine({ name: `${NAME}/${name}`, unit: 'events/s', sample: results.get(name), rows: count }),
  );
};
