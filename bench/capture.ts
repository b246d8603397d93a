// Owns the benches of the log: how fast a backlog goes to the topic, and on to the table, beside readers of
// the same backlog that do nothing. Every contender of a bench reads the same bytes of log.
import { type BenchDatabase, type Shape, SLOT } from './database.ts';
import { type Backlog, captureFloors, capturePeer } from './floors.ts';
import { type Contender, type Line, makeLine, runInTurn, type Sample, type Settings } from './measure.ts';
import { type Counts, drain, expectRows, VarvePipeline } from './varve-pipeline.ts';

type Drain = { database: BenchDatabase; pipeline: VarvePipeline; backlog: Backlog };

/** Lets the pipeline catch up with the empty table, then loads: what it has to do is the backlog. */
export const makeBacklog = async (
  database: BenchDatabase,
  pipeline: VarvePipeline,
  { shape, rows }: { shape: Shape; rows: number },
): Promise<Drain> => {
  await database.reset();
  await pipeline.run('socket');
  await pipeline.topic.keep();
  await database.keepSlot();
  const end = await database.load(shape, rows);
  return { database, pipeline, backlog: { database, rows, end } };
};

export const drainAgain = async (
  { database, pipeline }: Drain,
  way: 'socket' | 'tcp',
  rowsOf: (counts: Counts) => number,
): Promise<Sample> => {
  await pipeline.putBack();
  await database.remakeSlot(SLOT);
  return drain(pipeline, way, rowsOf);
};

type CaptureShape = { name: string; shape: Shape; rows: number; target: string };

const captureShape = async (
  settings: Settings,
  database: BenchDatabase,
  { name, shape, rows, target }: CaptureShape,
): Promise<Line[]> => {
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'never' });
  const made = await makeBacklog(database, pipeline, { shape, rows });
  const changes = ({ changes: seen }: Counts): number => expectRows('varve', seen, rows);
  const varve = (way: 'socket' | 'tcp'): Contender => ({
    name: `varve-${way}`,
    run: () => drainAgain(made, way, changes),
  });
  const floors = captureFloors(made.backlog);
  const peer = capturePeer(made.backlog);
  const results = await runInTurn(name, [varve('tcp'), ...floors, varve('socket'), peer], settings);
  const floor = Math.max(...floors.map((contender) => results.get(contender.name)?.value ?? 0));
  return [...results].map(([contender, sample]) => {
    const line = { name: `${name}/${contender}`, unit: 'rows/s', sample, rows };
    if (contender === 'varve-tcp') return makeLine({ ...line, name, floor, target });
    return makeLine(contender === 'varve-socket' ? { ...line, floor } : line);
  });
};

/** Transactions of 1000 rows. */
export const captureThousand = (settings: Settings, database: BenchDatabase): Promise<Line[]> =>
  captureShape(settings, database, {
    name: 'capture-1000',
    shape: 'thousand',
    rows: settings.rows(1_000_000, 1_000_000),
    target: '>= 0.8 of floor, <= 1.5 CPU-s, <= 200 MB',
  });

/** Transactions of one row. */
export const captureSingle = (settings: Settings, database: BenchDatabase): Promise<Line[]> =>
  captureShape(settings, database, {
    name: 'capture-1',
    shape: 'single',
    rows: settings.rows(300_000, 1_000_000),
    target: '>= 0.7 of floor, <= 200 MB',
  });

/** One transaction of everything: memory is what matters. */
export const captureHuge = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const rows = settings.rows(1_000_000, 10_000_000);
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'never' });
  const made = await makeBacklog(database, pipeline, { shape: 'one', rows });
  const changes = ({ changes: seen }: Counts): number => expectRows('varve', seen, rows);
  const run = (): Promise<Sample> => drainAgain(made, 'tcp', changes);
  const results = await runInTurn('huge-transaction', [{ name: 'varve', run }], settings);
  return [...results.values()].flatMap((sample) => [
    makeLine({ name: 'huge-transaction', unit: 'rows/s', sample, rows, target: '<= 512 MB' }),
  ]);
};

/** From the log through the topic into the table, both halves in one process as users run it. */
export const endToEnd = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const lines: Line[] = [];
  const shapes = [
    { name: 'end-to-end', shape: 'thousand' },
    { name: 'end-to-end-mixed', shape: 'mixed' },
  ] as const;
  for (const { name, shape } of shapes) {
    const rows = settings.rows(1_000_000, 1_000_000);
    await using pipeline = await VarvePipeline.make(database, { snapshot: 'never', table: true });
    const made = await makeBacklog(database, pipeline, { shape, rows });
    // A delete is followed by its tombstone, which the table folds as well; a change counts once.
    const folded = ({ changes, folded: seen }: Counts): number => {
      if (shape === 'thousand') expectRows('varve', seen, rows);
      return changes;
    };
    const run = (): Promise<Sample> => drainAgain(made, 'tcp', folded);
    const results = await runInTurn(name, [{ name: 'varve', run }], settings);
    for (const sample of results.values())
      lines.push(makeLine({ name, unit: 'events/s', sample, rows, target: '>= 50000' }));
  }
  return lines;
};
