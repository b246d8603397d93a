// Owns the benches of the table half alone: a topic that is full already is folded into its table as
// `varve run` folds it. Beside each, a reader of the same records that only counts them.
import { join } from 'node:path';
import { type Contender, type Line, makeLine, runInTurn, runScript, type Settings } from './measure.ts';
import type { ReaderRequest, ReaderTimes } from './table-reader-loop.ts';
import { addChanges, type ChangeAt } from './table-topic.ts';
import {
  copyTopic,
  fold,
  preparedWorld,
  putBack,
  removeAll,
  type World,
  withoutTable,
  worldRows,
} from './table-world.ts';
import { expectRows } from './varve-pipeline.ts';

/** Coprime with every number of rows that is no multiple of it: keys come once before any comes again. */
const STRIDE = 618_033_989;

/** Updates spread over all of rows 1 to `rows` alike. */
export const uniformUpdates =
  (rows: number): ChangeAt =>
  (at) => ({ op: 'u', id: ((at * STRIDE) % rows) + 1 });

/** The same keys, as SQL. */
export const uniformUpdatesSql = (rows: number, count: number): string =>
  `SELECT (number * ${STRIDE}) % ${rows} + 1 AS id FROM range(${count}) keys(number)`;

type Folding = {
  name: string;
  /** `from`: offset in the topic behind which its work begins. */
  topic: string;
  from: number;
  rows: number;
  /** What the work is done on; absent: no table yet. */
  base?: World;
  target: string;
};

export const foldAgain = ({ topic, rows, base, name }: Folding): Contender => ({
  name: 'varve',
  run: async () => {
    const table = await (base === undefined ? withoutTable(topic) : putBack(base, topic));
    try {
      const { answer, cpuSeconds, peakMb } = await fold(table, rows);
      const { seconds, commits, upkeepSeconds } = answer;
      process.stderr.write(
        `${name}: ${commits} commits in ${seconds.toFixed(1)} s, ` +
          `${upkeepSeconds.toFixed(1)} s of upkeep left for quiet times\n`,
      );
      return { value: rows / seconds, cpuSeconds, peakMb };
    } finally {
      if (base === undefined) await removeAll(table.directory);
    }
  },
});

const readAgain = ({ topic, from, rows }: Folding): Contender => ({
  name: 'reader',
  run: async () => {
    const request: ReaderRequest = { path: topic, from };
    const { answer, cpuSeconds, peakMb } = await runScript<ReaderTimes>('table-reader-loop.ts', request);
    return { value: expectRows('the reader', answer.records, rows) / answer.seconds, cpuSeconds, peakMb };
  },
});

const runFolding = async (settings: Settings, folding: Folding): Promise<Line[]> => {
  const { name, rows, target } = folding;
  const results = await runInTurn(name, [foldAgain(folding), readAgain(folding)], settings);
  const [varve, reader] = ['varve', 'reader'].map((contender) => results.get(contender));
  const line = { unit: 'events/s', rows };
  return [
    makeLine({ ...line, name, sample: varve, floor: reader?.value, target: `${target}, <= 1000 MB` }),
    makeLine({ ...line, name: `${name}/reader`, sample: reader }),
  ];
};

/** The first fold of a table: a finished snapshot. */
export const tableSnapshot = async (settings: Settings): Promise<Line[]> => {
  const { directory } = await preparedWorld(settings);
  const rows = worldRows(settings);
  const topic = join(directory, 'topic');
  return runFolding(settings, { name: 'table-snapshot', topic, from: 0, rows, target: '>= 300000' });
};

const changesOnto = async (
  settings: Settings,
  { name, target, changeAt }: { name: string; target: string; changeAt: (rows: number) => ChangeAt },
): Promise<Line[]> => {
  const base = await preparedWorld(settings);
  const [from, rows] = [worldRows(settings), settings.rows(1_000_000, 2_000_000)];
  const topic = await copyTopic(base);
  await addChanges(topic, rows, changeAt(from));
  const lines = await runFolding(settings, { name, topic, from, rows, base, target });
  await removeAll(topic);
  return lines;
};

/** New keys, onto a table that holds many rows. */
export const tableInserts = (settings: Settings): Promise<Line[]> =>
  changesOnto(settings, {
    name: 'table-inserts',
    target: '>= 100000',
    changeAt: (rows) => (at) => ({ op: 'c', id: rows + at + 1 }),
  });

/** Updates of keys anywhere in it. */
export const tableUpdates = (settings: Settings): Promise<Line[]> =>
  changesOnto(settings, { name: 'table-updates', target: '>= 30000, aim 60000', changeAt: uniformUpdates });
