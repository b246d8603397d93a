// The whole pipeline over Kafka against a real server and its own audit: the topics hold exactly what was
// committed, read by a client that is none of Varve's, and the table every version of every row.
import { join } from 'node:path';
import { test } from 'node:test';
import { KAFKA_PARTITIONS, startKafkaStage } from '../support/kafka-stage.ts';
import { readLedger } from '../support/ledger-table.ts';
import { askOracle, compareWithOracle } from '../support/oracle.ts';
import { startPostgres } from '../support/postgres.ts';
import { checkTopics } from '../support/topic-check.ts';
import { installTopicOracle, readSource, runMixed, sourceMoment } from '../support/topic-oracle.ts';
import { readTopics } from '../support/topic-reader.ts';
import { makePipeline } from '../support/varve.ts';
import { runWorkload } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

const stage = await startKafkaStage();
test.after(() => stage[Symbol.asyncDispose]());

type Case = { major: 15 | 17 | 18; delivery: 'exactly_once' | 'at_least_once' };
const CASES: readonly Case[] = [
  { major: 15, delivery: 'exactly_once' },
  { major: 17, delivery: 'exactly_once' },
  { major: 18, delivery: 'exactly_once' },
  { major: 17, delivery: 'at_least_once' },
];

for (const { major, delivery } of CASES) {
  test(`topics and table hold what PostgreSQL ${major} committed, ${delivery} (seed ${SEED})`, async () => {
    await using server = await startPostgres({ major });
    const admin = await server.connect();
    await installTopicOracle(admin);
    const [mixing, ...sessions] = await Promise.all([0, 1, 2].map(() => server.connect()));
    const options = { seed: SEED, keys: 60, truncates: true, keyChanges: true, pauseMs: 5 };
    await runWorkload(sessions, options, 60);
    const name = `pg${major}_${delivery}`;
    const topic = stage.topic([`delivery: ${delivery}`]);
    await using pipeline = await makePipeline({ url: server.url, name, topic });
    const stop = new AbortController();
    const load = Promise.all([
      runWorkload(sessions, { ...options, seed: SEED + 1 }, stop.signal),
      mixing === undefined ? undefined : runMixed(mixing, SEED, stop.signal),
    ]);
    // Twice under load: the seam of the first snapshot, and a resume in the middle of everything.
    await pipeline.run(UNTIL);
    const since = await sourceMoment(admin);
    await pipeline.run(UNTIL);
    stop.abort();
    await load;
    await pipeline.run(UNTIL);
    const { kafka, registry } = stage;
    const records = await readTopics({ brokers: kafka.brokers, registry: registry.url, prefix: name });
    checkTopics(await readSource(admin), records, { since, partitions: KAFKA_PARTITIONS });
    compareWithOracle(await askOracle(admin), await readLedger(join(pipeline.directory, 'tables')), {
      since,
    });
  });
}
