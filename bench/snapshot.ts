// Owns the bench of the first read: a whole table to the topic, beside a COPY that is thrown away.
import type { BenchDatabase } from './database.ts';
import { copyFloor } from './floors.ts';
import { type Line, makeLine, runInTurn, type Sample, type Settings } from './measure.ts';
import { drain, expectRows, VarvePipeline } from './varve-pipeline.ts';

export const snapshotToTopic = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const rows = settings.rows(2_000_000, 2_000_000);
  await database.reset();
  await database.load('thousand', rows);
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'initial' });
  const run = async (): Promise<Sample> => {
    await database.dropLog();
    await pipeline.putBack();
    return drain(pipeline, 'socket', ({ rows: read }) => expectRows('varve', read, rows));
  };
  const floors = copyFloor(database, rows);
  const results = await runInTurn('snapshot-topic', [{ name: 'varve', run }, ...floors], settings);
  return [...results].map(([name, sample]) => {
    const line = { name: `snapshot-topic/${name}`, unit: 'rows/s', sample, rows };
    if (name !== 'varve') return makeLine(line);
    const floor = results.get('psql-copy-binary')?.value;
    return makeLine({ ...line, name: 'snapshot-topic', floor, target: '>= 0.4 of floor' });
  });
};
