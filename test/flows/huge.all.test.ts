// One transaction that is far larger than memory may be: it goes out in parts, is killed in the middle of
// them, comes again, and every row is there once. What the processes may take is measured, not believed.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { type Checkpoint, readState, STATE_KEYS } from '../../src/topic/state.ts';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { measureTable } from '../support/table-rows.ts';
import { makePipeline, type Running } from '../support/varve.ts';

const ROWS = atLevel({ test: 1_000_000, all: 1_000_000, deep: 10_000_000 });
const MAX_MEMORY_MB = 512;
/** The merge engine's process: DuckDB's limit and what a batch takes beside it. */
const MAX_ENGINE_MB = 2048;
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

/** The most memory that a process ever had, megabytes; 0 once it is gone. */
const peakMb = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmHWM:\s+([0-9]+) kB/m.exec(status)?.[1] ?? 0) / 1024;
};

/** Peaks of the process and of what it started, looked at until it ends. */
const watchMemory = async ({ child, finished }: Running): Promise<{ own: number; engine: number }> => {
  const most = { own: 0, engine: 0 };
  const pid = child.pid ?? 0;
  let isRunning = true;
  void finished.then(() => {
    isRunning = false;
  });
  while (isRunning) {
    most.own = Math.max(most.own, await peakMb(pid));
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    for (const one of children.split(' ').filter(Boolean))
      most.engine = Math.max(most.engine, await peakMb(Number(one)));
    await sleep(50);
  }
  return most;
};

test(`${ROWS} rows in one transaction, killed in the middle, are there once`, async (t) => {
  await using server = await startPostgres({ settings: { max_wal_size: '4GB' } });
  await server.query('create table huge (id bigint primary key, n int, v text)');
  await using pipeline = await makePipeline({ url: server.url, name: 'huge', commitMs: 1000 });
  await pipeline.run(UNTIL);
  await server.query(`insert into huge select g, g % 1000, md5(g::text) from generate_series(1, ${ROWS}) g`);

  const path = join(pipeline.directory, 'topic');
  const feed = await openEmbeddedFeed({ path });
  const partOf = async () => readState<Checkpoint>(await feed.state(), STATE_KEYS.checkpoint)?.part ?? null;
  const first = pipeline.start(UNTIL);
  const firstMemory = watchMemory(first);
  const parts = new Set<number>();
  while (parts.size < 2) {
    const part = await partOf();
    if (part !== null) parts.add(part.ordinal);
    await sleep(5);
  }
  first.kill('SIGKILL');
  assert.equal((await first.finished).signal, 'SIGKILL');
  const part = await partOf();
  assert.ok(part !== null && part.ordinal < ROWS - 1, 'it was killed in the middle of the transaction');

  const second = pipeline.start(UNTIL);
  const memory = await watchMemory(second);
  const end = await second.finished;
  assert.equal(end.code, 0, end.stderr);
  assert.equal(await partOf(), null);
  const { start, end: published } = await feed.ends('huge.public.huge', 0);
  await feed.close();
  assert.equal(published - start, BigInt(ROWS), 'the topic has every row once');
  const found = await measureTable(join(pipeline.directory, 'tables'), 'huge', [
    'count(*)',
    'count(distinct id)',
    'sum(n)',
    'count(distinct _tx)',
    'count(*) filter (not is_current)',
  ]);
  const sum = (ROWS / 1000) * (999 * 500);
  assert.deepEqual(found, [`${ROWS}`, `${ROWS}`, `${sum}`, '1', '0']);
  const { own } = await firstMemory;
  t.diagnostic(
    `killed after ordinal ${part.ordinal}; peak MB ${Math.max(own, memory.own)}, engine ${memory.engine}`,
  );
  assert.ok(Math.max(own, memory.own) <= MAX_MEMORY_MB, `the process took ${memory.own} MB`);
  assert.ok(memory.engine <= MAX_ENGINE_MB, `the engine took ${memory.engine} MB`);
});
