// Owns the bench of questions to a large table: the commands as people run them, Node's start included, and
// what of it is the start alone.
import { formatOrder, parseOrder } from '../src/change/order.ts';
import {
  type Contender,
  type Line,
  makeLine,
  medianOf,
  runInTurn,
  runMeasured,
  type Sample,
  type Settings,
} from './measure.ts';
import { uniformUpdates } from './table-fold.ts';
import { addChanges } from './table-topic.ts';
import { copyTopic, fold, preparedWorld, putBack, removeAll, worldRows } from './table-world.ts';
import { startVarve } from './varve-pipeline.ts';

const NAME = 'table-history';
/** A repetition is the median of so many askings, each of another row. */
const ASKED = 5;

type Step = { kind: string; row: Record<string, string> };

const jsonLines = <Item>(text: string): Item[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Item);

type Question = { name: string; words: (id: number) => readonly string[]; target?: string };

const asked = (name: string, ask: (at: number) => Promise<{ seconds: number } & Omit<Sample, 'value'>>) => {
  let at = 0;
  const run = async (): Promise<Sample> => {
    const costs = [];
    for (let turn = 0; turn < ASKED; turn++) costs.push(await ask(at++));
    return {
      value: medianOf(costs.map(({ seconds }) => seconds * 1000)),
      cpuSeconds: medianOf(costs.map(({ cpuSeconds }) => cpuSeconds)),
      peakMb: medianOf(costs.map(({ peakMb }) => peakMb)),
    };
  };
  return { name, run } satisfies Contender;
};

/** What was opened to answer it. */
const tellEffort = async ({ name, words }: Question, id: number): Promise<void> => {
  const { stdout } = await startVarve([...words(id), '--json', '--explain']).finished;
  const effort = jsonLines<{ explain?: object }>(stdout).at(-1)?.explain;
  process.stderr.write(`${NAME} ${name}: ${JSON.stringify(effort)}\n`);
};

/** The moments right before and right after the transaction that wrote row `id` last. */
const momentsOf = async (file: string, id: number): Promise<[before: string, after: string]> => {
  const { stdout } = await startVarve(['history', file, 'orders', `${id}`, '--json']).finished;
  const versions = jsonLines<Step>(stdout).filter(({ kind }) => kind === 'version');
  if (versions.length !== 2) throw new Error(`row ${id} has ${versions.length} versions, not 2`);
  const order = parseOrder(versions.at(-1)?.row._order ?? '');
  const at = (position: bigint): string => formatOrder({ ...order, position, ordinal: 0 });
  return [at(order.position), at(order.position + 1n)];
};

const questionsTo = async (file: string, idAt: (at: number) => number): Promise<Question[]> => {
  const [before, after] = await momentsOf(file, idAt(0));
  return [
    { name: 'history', words: (id) => ['history', file, 'orders', `${id}`], target: '<= 300 ms' },
    { name: 'asof', words: (id) => ['asof', file, 'orders', '--at', after, '--where', `id = ${id}`] },
    { name: 'diff', words: () => ['diff', file, 'orders', '--from', before, '--to', after] },
    { name: 'why', words: (id) => ['why', file, 'orders', `${id}`] },
  ];
};

/** Milliseconds of each question, in a table with a history. */
export const tableHistory = async (settings: Settings): Promise<Line[]> => {
  const base = await preparedWorld(settings);
  const [rows, changes] = [worldRows(settings), settings.rows(300_000, 1_000_000)];
  const changeAt = uniformUpdates(rows);
  const topic = await copyTopic(base);
  await addChanges(topic, changes, changeAt);
  const table = await putBack(base, topic);
  await fold(table, changes);
  const { file } = table;
  /** Every so many changes: they are asked for from all over the table. */
  const idAt = (at: number): number => changeAt((at * 7919) % Math.min(changes, rows)).id;
  const questions = await questionsTo(file, idAt);
  for (const question of questions) await tellEffort(question, idAt(0));
  const starts = [
    asked('node', () => runMeasured(process.execPath, ['-e', '0'])),
    asked('start', () => startVarve(['--version']).finished),
  ];
  const asks = questions.map(({ name, words }) => asked(name, (at) => startVarve(words(idAt(at))).finished));
  const results = await runInTurn(NAME, [...starts, ...asks], settings);
  await removeAll(topic);
  const floor = results.get('start')?.value;
  return [...results].map(([name, sample]) => {
    const target = questions.find((question) => question.name === name)?.target;
    const line = { name: `${NAME}/${name}`, unit: 'ms', sample, rows: 1 };
    if (name === 'node' || name === 'start') return makeLine(line);
    return makeLine({ ...line, floor, ...(target === undefined ? {} : { target }) });
  });
};
