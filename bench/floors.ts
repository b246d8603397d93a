// Owns what Varve's rates are held against, measured in the same run: programs that read the same rows and do
// nothing with them, and a peer. Knows nothing of Varve.
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { type BenchDatabase, PUBLICATION, TABLE } from './database.ts';
import { type Contender, runMeasured, runScript, type Sample } from './measure.ts';
import type { StreamRequest } from './stream-socket.ts';

const FLOOR_SLOT = 'bench_floor';
/** Between two reads of the coalescing reader: enough for thousands of messages to become one piece. */
const COALESCE_MS = 20;

/** Where a program of PostgreSQL's client package is, if it is installed. */
const findProgram = (name: string): string | null => {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // look further
    }
  }
  process.stderr.write(`${name} is not installed (Debian: postgresql-client): one floor less.\n`);
  return null;
};

export type Backlog = { database: BenchDatabase; rows: number; end: string };

const readByScript = async (
  script: string,
  { database, rows }: Backlog,
  { way, pauseMs }: { way: 'socket' | 'tcp'; pauseMs: number },
): Promise<Sample> => {
  await database.remakeSlot(FLOOR_SLOT);
  const address = database.address(way);
  const request: StreamRequest = {
    address,
    slot: FLOOR_SLOT,
    publication: PUBLICATION,
    pauseMs,
    rows,
  };
  const { answer, cpuSeconds, peakMb } = await runScript<{ rows: number; seconds: number }>(script, request);
  await database.dropSlot(FLOOR_SLOT);
  return { value: answer.rows / answer.seconds, cpuSeconds, peakMb };
};

const readByProgram = async (program: string, { database, rows, end }: Backlog): Promise<Sample> => {
  await database.remakeSlot(FLOOR_SLOT);
  const { host, port, user, database: name, password } = database.address('socket');
  const where = ['-h', host, '-p', String(port), '-U', user, '-d', name];
  const what = ['--start', '-S', FLOOR_SLOT, '-f', '/dev/null', '--fsync-interval=0', '--no-loop', '-E', end];
  const plugin = ['-o', 'proto_version=1', '-o', `publication_names=${PUBLICATION}`];
  const env = { PGPASSWORD: password };
  const { seconds, cpuSeconds, peakMb } = await runMeasured(program, [...where, ...what, ...plugin], { env });
  if (!(await database.isConfirmed(FLOOR_SLOT, end))) throw new Error(`${program} ended before the end.`);
  await database.dropSlot(FLOOR_SLOT);
  return { value: rows / seconds, cpuSeconds, peakMb };
};

/** Readers of the same backlog that decode nothing. */
export const captureFloors = (backlog: Backlog): Contender[] => {
  const program = findProgram('pg_recvlogical');
  const count = (way: 'socket' | 'tcp', pauseMs: number) => () =>
    readByScript('stream-count.ts', backlog, { way, pauseMs });
  return [
    ...(program ? [{ name: 'pg_recvlogical-socket', run: () => readByProgram(program, backlog) }] : []),
    { name: 'count-socket', run: count('socket', 0) },
    { name: 'count-coalescing-tcp', run: count('tcp', COALESCE_MS) },
  ];
};

/** A reader of the same backlog that decodes, as one would write it from npm packages. */
export const capturePeer = (backlog: Backlog): Contender => ({
  name: 'pg-logical-replication-tcp',
  run: () => readByScript('stream-library.ts', backlog, { way: 'tcp', pauseMs: 0 }),
});

/** The whole table through one COPY, thrown away. */
export const copyFloor = (database: BenchDatabase, rows: number): Contender[] => {
  const program = findProgram('psql');
  if (program === null) return [];
  const { host, port, user, database: name, password } = database.address('socket');
  const where = ['-h', host, '-p', String(port), '-U', user, '-d', name, '-X', '-q'];
  const copy = ['-c', `COPY ${TABLE} TO STDOUT (FORMAT binary)`, '-o', '/dev/null'];
  const run = async (): Promise<Sample> => {
    const env = { PGPASSWORD: password };
    const { seconds, cpuSeconds, peakMb } = await runMeasured(program, [...where, ...copy], { env });
    return { value: rows / seconds, cpuSeconds, peakMb };
  };
  return [{ name: 'psql-copy-binary', run }];
};
