// The whole pipeline against a real server and its own audit table: every version of every row, in order, and
// no other.
import { join } from 'node:path';
import { test } from 'node:test';
import { readLedger } from '../support/ledger-table.ts';
import { askOracle, auditMoment, compareWithOracle, installOracle } from '../support/oracle.ts';
import { startPostgres } from '../support/postgres.ts';
import { makePipeline } from '../support/varve.ts';
import { runWorkload } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));

for (const major of [15, 17, 18] as const) {
  test(`the table holds exactly the source's versions on PostgreSQL ${major} (seed ${SEED})`, async () => {
    await using server = await startPostgres({ major });
    const admin = await server.connect();
    await installOracle(admin);
    const sessions = await Promise.all([1, 2, 3].map(() => server.connect()));
    const options = { seed: SEED, keys: 60, truncates: true, keyChanges: true, pauseMs: 5 };
    await runWorkload(sessions, options, 60);
    await using pipeline = await makePipeline({ url: server.url });
    const stop = new AbortController();
    const load = runWorkload(sessions, { ...options, seed: SEED + 1 }, stop.signal);
    // Twice under load: the seam of the first snapshot, and a resume in the middle of everything.
    await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
    const since = await auditMoment(admin);
    await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
    stop.abort();
    await load;
    await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
    const found = await readLedger(join(pipeline.directory, 'tables'));
    compareWithOracle(await askOracle(admin), found, { since });
  });
}
