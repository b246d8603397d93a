// Owns measuring latency: rows written at a steady rate, from the moment that a row was due until a reader
// has it; and the bench of the embedded topic. The floor is a raw client of the server's log that does
// nothing with what it gets.
import { type BenchDatabase, PUBLICATION, SLOT } from './database.ts';
import {
  type Contender,
  type Cost,
  type Line,
  makeLine,
  runInTurn,
  runScript,
  type Sample,
  type Settings,
  type Started,
  startScript,
} from './measure.ts';
import type { StreamRequest } from './stream-socket.ts';
import { startVarve, VarvePipeline } from './varve-pipeline.ts';
import type { WatchRequest } from './watch-topic.ts';
import type { WriteRequest } from './write-steadily.ts';

/** Seconds at the beginning that do not count: programs are compiled while they run. */
const WARM_UP_S = 3;
const FLOOR_SLOT = 'bench_floor';

type Seen = readonly (readonly [id: number, atUs: number])[];
export type Load = { perSecond: number; rowsPerTransaction: number };
/** Rows with ids that no other round has. */
export type Round = Load & { database: BenchDatabase; firstId: number; rows: number };

/** One round after the other, of `seconds` that count, or of a number of rows for other ends. */
export const planRounds = (
  database: BenchDatabase,
  load: Load,
  seconds: number,
): ((rows?: number) => Round) => {
  let nextId = 1;
  return (rows = (WARM_UP_S + seconds) * load.perSecond) => {
    const firstId = nextId;
    nextId += rows;
    return { ...load, database, firstId, rows };
  };
};

/** Resolves when all are committed, with when the first one was due, in microseconds. */
export const writeRows = async (round: Round): Promise<number> => {
  const { database, firstId, rows, perSecond, rowsPerTransaction } = round;
  const address = database.address('socket');
  const request: WriteRequest = { address, firstId, rows, perSecond, rowsPerTransaction };
  return (await runScript<{ startUs: number }>('write-steadily.ts', request)).answer.startUs;
};

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** A row was due when its transaction was. */
const delaysMs = (round: Round, seen: Seen, startUs: number): number[] => {
  const { firstId, perSecond, rowsPerTransaction } = round;
  return seen
    .map(([id, atUs]) => ({ row: id - firstId, atUs }))
    .filter(({ row }) => row >= WARM_UP_S * perSecond)
    .map(({ row, atUs }) => (atUs - startUs - ((row - (row % rowsPerTransaction)) * 1e6) / perSecond) / 1000)
    .sort((a, b) => a - b);
};

type Usage = Pick<Cost, 'cpuSeconds' | 'peakMb'>;
type Watch = {
  /** Prints what it has seen. */
  reader: Started;
  /** Resolves when rows may be written. */
  ready: Promise<unknown>;
  /** Of what is measured, until now. */
  usage: () => Usage | Promise<Usage>;
  /** What the reader reads from, if it is another process; it is not to end. */
  worker?: Started;
};

/** Writes while the reader reads. Value: the median delay; others: 95th and 99th percentile; milliseconds. */
export const writeAndWatch = async (
  round: Round,
  { reader, ready, usage, worker }: Watch,
): Promise<Sample> => {
  const failed = (worker?.finished ?? new Promise<never>(() => undefined)).then(() =>
    Promise.reject(new Error('The pipeline ended by itself.')),
  );
  try {
    await Promise.race([ready, reader.finished, failed]);
    const before = await usage();
    const startUs = await writeRows(round);
    const { stdout } = await Promise.race([reader.finished, failed]);
    const after = await usage();
    const delays = delaysMs(round, JSON.parse(stdout) as Seen, startUs);
    const [p50 = 0, p95 = 0, p99 = 0] = [0.5, 0.95, 0.99].map((share) => percentile(delays, share));
    return {
      value: p50,
      others: [p95, p99],
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
      peakMb: after.peakMb,
    };
  } finally {
    // What failed leaves nobody behind; what went well has ended, or is asked to now.
    reader.child.kill('SIGKILL');
    worker?.child.kill('SIGTERM');
    await worker?.finished.catch(() => undefined);
  }
};

/** The floor. */
export const readRaw = async (round: Round): Promise<Sample> => {
  const { database, rows } = round;
  await database.makeSlot(FLOOR_SLOT);
  const address = database.address('socket');
  const request: StreamRequest = {
    address,
    slot: FLOOR_SLOT,
    publication: PUBLICATION,
    pauseMs: 0,
    rows,
  };
  const reader = startScript('stream-times.ts', request);
  const ready = database.untilRead(FLOOR_SLOT);
  const sample = await writeAndWatch(round, { reader, ready, usage: reader.soFar });
  await database.dropSlot(FLOOR_SLOT);
  return sample;
};

/** Starts the feed's reader; with a file it runs that pipeline in its own process, as with a sink. */
export const startFeedReader = (
  { firstId, rows }: Round,
  pipeline: VarvePipeline,
  file: string | null,
): Started => {
  const request: WatchRequest = { topic: pipeline.topic.place(), firstId, rows, file };
  return startScript('watch-topic.ts', request);
};

/** Varve with its reader in the same process, as its own sink is. */
const readWithin = async (round: Round, pipeline: VarvePipeline): Promise<Sample> => {
  // What the other contenders wrote is not part of this round.
  await pipeline.run('socket');
  const reader = startFeedReader(round, pipeline, pipeline.file('socket'));
  const ready = Promise.all([reader.spoke, round.database.untilRead(SLOT)]);
  return writeAndWatch(round, { reader, ready, usage: reader.soFar });
};

/** Varve, and in another process the reader. */
export const readBeside = async (
  round: Round,
  pipeline: VarvePipeline,
  startReader: () => Started,
): Promise<Sample> => {
  await pipeline.run('socket');
  const reader = startReader();
  const worker = startVarve(['run', pipeline.file('socket')]);
  const ready = Promise.all([reader.spoke, round.database.untilRead(SLOT)]);
  return writeAndWatch(round, { reader, ready, usage: worker.soFar, worker });
};

type LatencyParts = {
  /** Those of the contender `varve` are called so, the others `name/contender`. */
  name: string;
  contenders: readonly Contender[];
  results: ReadonlyMap<string, Sample>;
  rows: number;
  targets: { p50: string; p99: string };
};

/** A line a percentile and contender; the floor is `raw-receipt`. */
export const latencyLines = ({ name, contenders, results, rows, targets }: LatencyParts): Line[] =>
  (['p50', 'p95', 'p99'] as const).flatMap((share, at) => {
    const pick = (sample: Sample | undefined): Sample | undefined =>
      sample && { ...sample, value: (at === 0 ? sample.value : sample.others?.[at - 1]) ?? 0 };
    const floor = pick(results.get('raw-receipt'))?.value;
    return contenders.map((contender) => {
      const line = { unit: 'ms', sample: pick(results.get(contender.name)), rows };
      if (contender.name !== 'varve')
        return makeLine({ ...line, name: `${name}-${share}/${contender.name}` });
      const target = share === 'p95' ? {} : { target: targets[share] };
      return makeLine({ ...line, name: `${name}-${share}`, floor, ...target });
    });
  });

export const latency = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  await database.reset();
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'never' });
  await pipeline.run('socket');
  const load = { perSecond: 1000, rowsPerTransaction: 1 };
  const next = planRounds(database, load, settings.rows(10_000, 60_000) / load.perSecond);
  const beside = (round: Round): Promise<Sample> =>
    readBeside(round, pipeline, () => startFeedReader(round, pipeline, null));
  const contenders: Contender[] = [
    { name: 'varve', run: () => readWithin(next(), pipeline) },
    { name: 'raw-receipt', run: () => readRaw(next()) },
    { name: 'other-process', run: () => beside(next()) },
  ];
  const results = await runInTurn('latency', contenders, settings);
  const targets = { p50: '<= 3 ms', p99: '<= 20 ms' };
  return latencyLines({ name: 'latency', contenders, results, rows: next().rows, targets });
};
