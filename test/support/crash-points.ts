// Owns the suite of the kill before and after every durable effect there is, for any kind of topic: what the
// table holds in the end is what the source's audit says. What else is right in the end is the kind's own.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Client } from 'pg';
import { CRASH_POINTS } from '../../src/crash-point.ts';
import { readLedger } from './ledger-table.ts';
import { askOracle, auditMoment, compareWithOracle } from './oracle.ts';
import { startPostgres, type TestPostgres } from './postgres.ts';
import { makePipeline, type PipelineOptions, type TestPipeline } from './varve.ts';
import { runWorkload } from './workload.ts';

const WORKLOAD = { seed: 7, keys: 40, truncates: true, keyChanges: true };
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

type Stage = { server: TestPostgres; session: Client; pipeline: TestPipeline };

/** What must have happened so that a point is reached at all. */
const PRELUDES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  'begin.more_opened': async ({ server, pipeline }) => {
    await pipeline.run(UNTIL);
    await server.query('create table public.later (id int primary key)');
    await server.query('insert into public.later values (1)');
  },
  'source.confirm': async ({ session, pipeline }) => {
    await pipeline.run(UNTIL);
    await runWorkload([session], { ...WORKLOAD, seed: 6 }, 20);
  },
  'snapshot.rows': async ({ server }) => {
    await server.query(
      `insert into ledger select 1000 + g, g, 'n', true, 1, 1, now(), current_date, repeat(md5(g::text), 150)
       from generate_series(1, 4000) g`,
    );
  },
};

type CrashSuite = {
  /** Makes the audit and the tables that it is about; the ledger is one of them. */
  install(admin: Client): Promise<void>;
  /** `name` is the pipeline's: another one each time. */
  options(name: string): Partial<PipelineOptions>;
  /** `since`: audit row from which on nothing was killed. */
  check?(found: { name: string; admin: Client; since: bigint }): Promise<void>;
};

/** Registers one test a point and side. */
export const crashPointSuite = ({ install, options, check }: CrashSuite): void => {
  for (const point of CRASH_POINTS) {
    for (const side of ['before', 'after'] as const) {
      test(`killed ${side} ${point}`, async () => {
        const name = `${point}_${side}`.replace('.', '_');
        await using server = await startPostgres({ major: 17 });
        const admin = await server.connect();
        await install(admin);
        const session = await server.connect();
        await runWorkload([session], WORKLOAD, 40);
        await using pipeline = await makePipeline({ url: server.url, name, ...options(name) });
        await PRELUDES[point]?.({ server, session, pipeline });
        const killed = await pipeline.start(UNTIL, { VARVE_CRASH_AT: `${point}:${side}` }).finished;
        assert.equal(killed.signal, 'SIGKILL', `${point} was not reached: ${killed.stderr}`);
        await runWorkload([session], { ...WORKLOAD, seed: 8 }, 40);
        await pipeline.run(UNTIL);
        const since = await auditMoment(admin);
        await runWorkload([session], { ...WORKLOAD, seed: 9 }, 20);
        await pipeline.run(UNTIL);
        const slots = await server.query(
          "select slot_name from pg_replication_slots where slot_name like 'varve%'",
        );
        assert.equal(slots.length, 1, 'a slot was left behind');
        const found = await readLedger(join(pipeline.directory, 'tables'));
        compareWithOracle(await askOracle(admin), found, {
          since,
          holes: point.startsWith('begin') || point.startsWith('snapshot') || point.startsWith('topic'),
        });
        await check?.({ name, admin, since });
      });
    }
  }
};
