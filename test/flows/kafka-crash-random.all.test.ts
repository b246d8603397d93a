// Killed at random moments while three tables are changed all the time, over Kafka: a stranger who reads the
// topics finds every committed change once, in whole transactions and in order; no claim was ahead of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaFlow } from '../support/kafka-flow.ts';
import { startKafkaStage } from '../support/kafka-stage.ts';
import { atLevel } from '../support/level.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN } from '../support/stage.ts';
import { checkMarks } from '../support/topic-check.ts';
import { watchMarks } from '../support/topic-marks.ts';
import type { Running } from '../support/varve.ts';
import { seededRandom } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));
const KILLS = atLevel({ test: 5, all: 100, deep: 1000 });
/** A third of them at any moment after the start, the others when a run has got something done. */
const EARLY = 1 / 3;
const MOMENT_MS = { early: { least: 200, most: 2000 }, late: { least: 0, most: 150 } } as const;

/** Resolves when a run streams and something that it wrote was confirmed, or when it is over. */
const untilDurable = async (flow: KafkaFlow, running: Running): Promise<void> => {
  await running.saw(/"msg":"streaming"/);
  const before = await flow.confirmed();
  while (running.child.exitCode === null && (await flow.confirmed()) === before) await sleep(10);
};

const runAndKill = async (flow: KafkaFlow, random: () => number): Promise<void> => {
  const running = flow.pipeline.start(RUN);
  const isEarly = random() < EARLY;
  const { least, most } = isEarly ? MOMENT_MS.early : MOMENT_MS.late;
  const moment = least + random() * (most - least);
  if (!isEarly) await untilDurable(flow, running);
  await sleep(moment);
  running.kill('SIGKILL');
  const { signal, stderr } = await running.finished;
  assert.equal(signal, 'SIGKILL', `it ended by itself: ${stderr}`);
};

test(`${KILLS} kills at random moments under load, over Kafka (seed ${SEED})`, async (t) => {
  await using stage = await startKafkaStage();
  await using server = await startPostgres({ major: 17 });
  const { brokers } = stage.kafka;
  const registry = stage.registry.url;
  await using flow = await KafkaFlow.set(server, { brokers, registry, seed: SEED });
  const load = flow.startLoad();
  const watched = new AbortController();
  const confirmed = () => flow.confirmed();
  const watch = watchMarks({ brokers, prefix: flow.name, confirmed }, watched.signal);
  // Awaited in the end.
  watch.catch(() => undefined);
  const random = seededRandom(SEED);
  for (let kill = 0; kill < KILLS; kill++) {
    await runAndKill(flow, random);
    // By then the snapshot is long over.
    if (kill === KILLS >> 1) await flow.noteSeam();
  }
  watched.abort();
  await load.stop();
  const records = await flow.assertWhole({ holes: true });
  const marks = await watch;
  t.diagnostic(`${records.length} records, ${marks.length} claims`);
  assert.ok(marks.length >= KILLS, 'hardly anything was claimed to be safe');
  checkMarks(records, marks);
});
