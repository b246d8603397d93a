// The least memory that a table's engine may be given: a table of millions of rows is made and changed with
// it, and every row is there. What the processes took is measured and printed.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { measureTable } from '../support/table-rows.ts';
import { makePipeline, type Running } from '../support/varve.ts';

const ROWS = atLevel({ test: 2_000_000, all: 2_000_000, deep: 10_000_000 });
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

const residentMb = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+([0-9]+) kB/m.exec(status)?.[1] ?? 0) / 1024;
};

type Peak = { own: number; engine: number; together: number };

/** The most that a process and its children had, each and at one time together, until it ends well. */
const peakOf = async ({ child, finished }: Running): Promise<Peak> => {
  const pid = child.pid ?? 0;
  const most: Peak = { own: 0, engine: 0, together: 0 };
  let isRunning = true;
  void finished.then(() => {
    isRunning = false;
  });
  while (isRunning) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    const engines = await Promise.all(children.split(' ').filter(Boolean).map(Number).map(residentMb));
    const [own, engine] = [await residentMb(pid), engines.reduce((sum, mb) => sum + mb, 0)];
    most.own = Math.max(most.own, own);
    most.engine = Math.max(most.engine, engine);
    most.together = Math.max(most.together, own + engine);
    await sleep(50);
  }
  const { code, stderr } = await finished;
  assert.equal(code, 0, stderr);
  return most;
};

const peakText = ({ own, engine, together }: Peak): string =>
  `${Math.round(together)} MB (${Math.round(own)} its own, ${Math.round(engine)} the engine's)`;

test(`memory_limit: 256MB is enough for ${ROWS} rows, and for a change of every second`, async (t) => {
  await using server = await startPostgres({ settings: { max_wal_size: '8GB', shared_buffers: '128MB' } });
  await server.query(`create table wide (id bigint primary key, n int, customer text, kind int, weight float8,
    price numeric(12,2), paid bool, at timestamptz, note text, digest text)`);
  await server.query(`insert into wide
    select g, g % 1000, 'customer-' || g, g % 7, g * 1.25, (g % 10000) / 100.0, g % 2 = 0,
      '2026-01-01'::timestamptz + g * interval '1 second', null, md5(g::text)
    from generate_series(1, ${ROWS}) g`);
  const extra = '  memory_limit: 256MB';
  await using pipeline = await makePipeline({ url: server.url, name: 'wide', commitMs: 10_000, extra });
  const first = await peakOf(pipeline.start(UNTIL));
  await server.query("update wide set n = n + 1000, note = 'changed ' || digest where id % 2 = 0");
  const second = await peakOf(pipeline.start(UNTIL));
  t.diagnostic(`peak: ${peakText(first)} for the snapshot, ${peakText(second)} for the updates`);
  const found = await measureTable(join(pipeline.directory, 'tables'), 'wide', [
    'count(*)',
    'count(*) filter (is_current)',
    'count(distinct id) filter (is_current)',
    "count(*) filter (is_current and id % 2 = 0 and note = 'changed ' || digest and n >= 1000)",
    'count(*) filter (is_current and id % 2 = 1 and note is null)',
    "count(*) filter (not is_current and _closed_by = 'u' and note is null)",
  ]);
  assert.deepEqual(found, [ROWS * 1.5, ROWS, ROWS, ROWS / 2, ROWS / 2, ROWS / 2].map(String));
});
