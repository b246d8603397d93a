// Killed at random moments while three tables are changed all the time, over Kafka: a stranger who reads the
// topics finds every committed change once, in whole transactions and in order; no claim was ever ahead of them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KAFKA_PARTITIONS, startKafkaStage } from '../support/kafka-stage.ts';
import { readLedger } from '../support/ledger-table.ts';
import { atLevel } from '../support/level.ts';
import { askOracle, compareWithOracle } from '../support/oracle.ts';
import { startPostgres } from '../support/postgres.ts';
import { checkMarks, checkTopics } from '../support/topic-check.ts';
import { watchMarks } from '../support/topic-marks.ts';
import { installTopicOracle, readSource, runMixed, sourceMoment } from '../support/topic-oracle.ts';
import { readTopics } from '../support/topic-reader.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';
import { runWorkload, seededRandom } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));
const KILLS = atLevel({ test: 5, all: 100, deep: 1000 });
const PREFIX = 'crashed';
const CONFIRMED = `select confirmed_flush_lsn::text as at from pg_replication_slots where slot_name = 'varve_${PREFIX}'`;

/** A third of them at any moment after the start, the others when a run has got something done. */
const EARLY = 1 / 3;
const MOMENT_MS = { early: { least: 200, most: 2000 }, late: { least: 0, most: 150 } } as const;

type Source = { confirmed(): Promise<string | null> };

const runAndKill = async (pipeline: TestPipeline, random: () => number, source: Source): Promise<void> => {
  const before = await source.confirmed();
  const running = pipeline.start(['run', 'pipeline.yaml']);
  const isEarly = random() < EARLY;
  const { least, most } = isEarly ? MOMENT_MS.early : MOMENT_MS.late;
  const moment = least + random() * (most - least);
  const isOver = (): boolean => running.child.exitCode !== null;
  if (!isEarly) while (!isOver() && (await source.confirmed()) === before) await sleep(10);
  await sleep(moment);
  running.kill('SIGKILL');
  const { signal, stderr } = await running.finished;
  assert.equal(signal, 'SIGKILL', `it ended by itself: ${stderr}`);
};

test(`${KILLS} kills at random moments under load, over Kafka (seed ${SEED})`, async (t) => {
  await using stage = await startKafkaStage();
  await using server = await startPostgres({ major: 17 });
  const admin = await server.connect();
  await installTopicOracle(admin);
  const [watching, ...sessions] = await Promise.all([0, 1, 2, 3].map(() => server.connect()));
  const [mixing, ...writing] = sessions;
  assert.ok(watching && mixing);
  const workload = { seed: SEED, keys: 80, truncates: true, keyChanges: true, pauseMs: 20 };
  await runWorkload(writing, workload, 50);
  await using pipeline = await makePipeline({ url: server.url, name: PREFIX, topic: stage.topic() });
  const stop = new AbortController();
  const load = [
    runWorkload(writing, { ...workload, seed: SEED + 1 }, stop.signal),
    runMixed(mixing, SEED, stop.signal),
  ];
  const { brokers } = stage.kafka;
  const confirmed = async (): Promise<string | null> => (await watching.query(CONFIRMED)).rows[0]?.at ?? null;
  const watch = watchMarks({ brokers, prefix: PREFIX, confirmed }, stop.signal);
  const random = seededRandom(SEED);
  let since = 0n;
  for (let kill = 0; kill < KILLS; kill++) {
    await runAndKill(pipeline, random, { confirmed });
    // By then the snapshot is long over.
    if (kill === KILLS >> 1) since = await sourceMoment(admin);
  }
  stop.abort();
  await Promise.all(load);
  await pipeline.run(['run', 'pipeline.yaml', '--until-caught-up']);
  const records = await readTopics({ brokers, registry: stage.registry.url, prefix: PREFIX });
  const marks = await watch;
  t.diagnostic(`${records.length} records, ${marks.length} claims`);
  assert.ok(marks.length >= KILLS / 2, 'hardly anything was claimed to be safe');
  checkTopics(await readSource(admin), records, { since, partitions: KAFKA_PARTITIONS });
  checkMarks(records, marks);
  const found = await readLedger(join(pipeline.directory, 'tables'));
  compareWithOracle(await askOracle(admin), found, { since, holes: true });
});
