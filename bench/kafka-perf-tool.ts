// Owns Kafka's own kafka-producer-perf-test as a contender: installs it by Maven, starts it, reads its
// numbers.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KAFKA_VERSION } from '../test/support/kafka-install.ts';
import { classPath, ensureJars, findJava } from '../test/support/maven.ts';
import { makeValues } from './kafka-records.ts';
import { runMeasured, type Sample } from './measure.ts';

type PerfRequest = {
  brokers: readonly string[];
  topic: string;
  records: number;
  /** It ends a transaction after a time, not after a number of records. */
  transactionMs: number;
};

/** Java compiles while it runs; these are not in its rate, though they are in its CPU seconds. */
const WARM_UP_SHARE = 0.2;
const STEADY = /([\d.]+) records\/sec/g;

/** The same values as the others, without keys and without a state record. */
export const runPerfTool = async ({
  brokers,
  topic,
  records,
  transactionMs,
}: PerfRequest): Promise<Sample> => {
  const java = await findJava(17);
  const jars = await ensureJars(`kafka-tools-${KAFKA_VERSION}`, [
    `org.apache.kafka:kafka-tools:${KAFKA_VERSION}`,
    'org.slf4j:slf4j-simple:1.7.36',
  ]);
  const folder = await mkdtemp(join(tmpdir(), 'varve-perf-tool-'));
  const payload = join(folder, 'values');
  await writeFile(payload, makeValues().join('\n'));
  const warmUp = Math.ceil(records * WARM_UP_SHARE);
  const all = records + warmUp;
  try {
    const { stdout, cpuSeconds, peakMb } = await runMeasured(java.path, [
      ...['-Xmx512m', '-cp', await classPath(jars), 'org.apache.kafka.tools.ProducerPerformance'],
      ...['--bootstrap-server', brokers.join(','), '--topic', topic, '--payload-file', payload],
      ...['--num-records', String(all), '--warmup-records', String(warmUp), '--throughput', '-1'],
      ...['--transactional-id', topic, '--transaction-duration-ms', String(transactionMs)],
      ...['--command-property', 'compression.type=zstd', 'linger.ms=5', 'batch.size=262144'],
    ]);
    // The last line is of what came after the warm-up.
    const rate = [...stdout.matchAll(STEADY)].at(-1)?.[1];
    if (rate === undefined) throw new Error(`kafka-producer-perf-test printed no rate:\n${stdout}`);
    return { value: Number(rate), cpuSeconds: (cpuSeconds / all) * records, peakMb };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
