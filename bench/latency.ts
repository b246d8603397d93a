// Owns the bench of latency: from the moment that a row was due to be written until a reader has it, at a
// steady rate. The floor is a raw client of the server's log that does nothing with what it gets.
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

const PER_SECOND = 1000;
/** Rows at the beginning that do not count: programs are compiled while they run. */
const WARM_UP_ROWS = 3000;
const FLOOR_SLOT = 'bench_floor';

type Seen = readonly (readonly [id: number, atUs: number])[];
type Round = { database: BenchDatabase; firstId: number; rows: number };

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

const delaysMs = ({ firstId }: Round, seen: Seen, startUs: number): number[] =>
  seen
    .map(([id, atUs]) => ({ row: id - firstId, atUs }))
    .filter(({ row }) => row >= WARM_UP_ROWS)
    .map(({ row, atUs }) => (atUs - startUs - (row * 1e6) / PER_SECOND) / 1000)
    .sort((a, b) => a - b);

/** Writes while `reader` reads the slot; `worker` is what the costs are of. */
const writeAndWatch = async (
  round: Round,
  slot: string,
  { reader, worker }: { reader: Started; worker: Started },
): Promise<Sample> => {
  const { database, firstId, rows } = round;
  await Promise.race([database.untilRead(slot), worker.finished, reader.finished]);
  const before: Cost = worker.soFar();
  const request: WriteRequest = { address: database.address('socket'), firstId, rows, perSecond: PER_SECOND };
  const { answer } = await runScript<{ startUs: number }>('write-steadily.ts', request);
  const { stdout } = await reader.finished;
  const after = worker.soFar();
  const delays = delaysMs(round, JSON.parse(stdout) as Seen, answer.startUs);
  const [p50 = 0, p95 = 0, p99 = 0] = [0.5, 0.95, 0.99].map((share) => percentile(delays, share));
  return {
    value: p50,
    others: [p95, p99],
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    peakMb: after.peakMb,
  };
};

const readRaw = async (round: Round): Promise<Sample> => {
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
  const sample = await writeAndWatch(round, FLOOR_SLOT, { reader, worker: reader });
  await database.dropSlot(FLOOR_SLOT);
  return sample;
};

/** `same`: the reader is in Varve's process, as its own sink is; `other`: in one of its own. */
const readTopic = async (round: Round, pipeline: VarvePipeline, where: 'same' | 'other'): Promise<Sample> => {
  // What the other contenders wrote is not part of this round.
  await pipeline.run('socket');
  const { firstId, rows } = round;
  const file = pipeline.file('socket');
  const request: WatchRequest = {
    path: pipeline.topicPath,
    firstId,
    rows,
    file: where === 'same' ? file : null,
  };
  const reader = startScript('watch-topic.ts', request);
  const worker = where === 'same' ? reader : startVarve(['run', file]);
  const sample = await writeAndWatch(round, SLOT, { reader, worker });
  if (worker !== reader) worker.child.kill('SIGTERM');
  await worker.finished;
  return sample;
};

export const latency = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const rows = WARM_UP_ROWS + settings.rows(10_000, 60_000);
  await database.reset();
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'never' });
  await pipeline.run('socket');
  let firstId = 1;
  const nextRound = (): Round => {
    const round = { database, firstId, rows };
    firstId += rows;
    return round;
  };
  const contenders: Contender[] = [
    { name: 'varve', run: () => readTopic(nextRound(), pipeline, 'same') },
    { name: 'raw-receipt', run: () => readRaw(nextRound()) },
    { name: 'other-process', run: () => readTopic(nextRound(), pipeline, 'other') },
  ];
  const results = await runInTurn('latency', contenders, settings);
  const targets = ['<= 3 ms', undefined, '<= 20 ms'];
  return ['p50', 'p95', 'p99'].flatMap((share, at) => {
    const pick = (sample: Sample | undefined): number =>
      (at === 0 ? sample?.value : sample?.others?.[at - 1]) ?? 0;
    const floor = pick(results.get('raw-receipt'));
    return [...results].map(([name, sample]) => {
      const line = { unit: 'ms', sample: { ...sample, value: pick(sample) }, rows };
      const target = targets[at];
      if (name !== 'varve') return makeLine({ ...line, name: `latency-${share}/${name}` });
      return makeLine({
        ...line,
        name: `latency-${share}`,
        floor,
        ...(target === undefined ? {} : { target }),
      });
    });
  });
};
