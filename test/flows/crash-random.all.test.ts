// Killed at random moments while the source is changed all the time: nothing twice, nothing missing, in the
// end.
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readLedger } from '../support/ledger-table.ts';
import { atLevel } from '../support/level.ts';
import { askOracle, auditMoment, compareWithOracle, installOracle } from '../support/oracle.ts';
import { startPostgres } from '../support/postgres.ts';
import { makePipeline } from '../support/varve.ts';
import { runWorkload, seededRandom } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));
const KILLS = atLevel({ test: 5, all: 55, deep: 500 });
/** Long enough that some runs get far and some hardly begin. */
const LIFE_MS = { least: 200, most: 2500 } as const;

test(`${KILLS} kills at random moments under load (seed ${SEED})`, async () => {
  await using server = await startPostgres({ major: 17 });
  const admin = await server.connect();
  await installOracle(admin);
  const sessions = await Promise.all([1, 2].map(() => server.connect()));
  const workload = { seed: SEED, keys: 80, truncates: true, keyChanges: true, pauseMs: 10 };
  await runWorkload(sessions, workload, 50);
  await using pipeline = await makePipeline({ url: server.url });
  const random = seededRandom(SEED);
  let since: bigint | null = null;
  const stop = new AbortController();
  const load = runWorkload(sessions, { ...workload, seed: SEED + 1 }, stop.signal);
  for (let kill = 0; kill < KILLS; kill++) {
    const running = pipeline.start(['run', 'pipeline.yaml']);
    await sleep(LIFE_MS.least + random() * (LIFE_MS.most - LIFE_MS.least));
    running.kill('SIGKILL');
    await running.finished;
    // By then the snapshot is long over, or the table starts later, which the comparison allows for.
    if (kill === KILLS >> 1) since = await auditMoment(admin);
  }
  stop.abort();
  await load;
  await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
  const found = await readLedger(join(pipeline.directory, 'tables'));
  compareWithOracle(await askOracle(admin), found, { since: since ?? 0n, holes: true });
});
