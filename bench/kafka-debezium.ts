// Owns Debezium as a contender of the Kafka benches: what it is started with, and what it leaves behind.
// Knows nothing of Varve.
import pg from 'pg';
import { type BenchDatabase, PUBLICATION, TABLE } from './database.ts';
import { dropTopics, type KafkaServices } from './kafka-topic.ts';
import type { Sample } from './measure.ts';
import { startDebezium } from './peers/debezium.ts';

export type Debezium = Awaited<ReturnType<typeof startDebezium>>;
export const DEBEZIUM_SLOT = 'bench_debezium';

/** `tunedFor` absent: its defaults, which are the fastest it has for a backlog. */
type Work = { snapshot: 'no_data' | 'initial'; tunedFor?: 'latency' };

let runs = 0;

/** Runs one with Avro through the registry while `body` uses it; nothing of it is left. */
export const withDebezium = async <Result>(
  database: BenchDatabase,
  { services: { brokers, registry }, ...work }: Work & { services: KafkaServices },
  body: (debezium: Debezium, topic: string) => Promise<Result>,
): Promise<Result> => {
  const [prefix, table] = [`debezium-${++runs}`, `public.${TABLE}`];
  try {
    await using debezium = await startDebezium({
      database: database.address('tcp'),
      slot: DEBEZIUM_SLOT,
      publication: PUBLICATION,
      table,
      prefix,
      brokers,
      registry,
      ...work,
    });
    return await body(debezium, `${prefix}.${table}`);
  } finally {
    await database.dropSlot(DEBEZIUM_SLOT);
    await dropTopics(brokers, prefix);
  }
};

/** Records a second from the first one to the last: its start, 10 to 45 seconds, does not count. */
export const untilPublished = async (debezium: Debezium, rows: number): Promise<Sample> => {
  await debezium.waitFor(rows);
  const { records, seconds, cpuSeconds, peakMb } = await debezium.usage();
  if (seconds <= 0) throw new Error('Debezium was seen once, at its end: more rows are needed.');
  // The first look found some already, whose costs came before it.
  return { value: records / seconds, cpuSeconds: (cpuSeconds / records) * rows, peakMb };
};

/** Varve makes its publication itself. */
export const publish = async (database: BenchDatabase): Promise<void> => {
  const client = new pg.Client(database.address('tcp'));
  await client.connect();
  await client.query(`CREATE PUBLICATION ${PUBLICATION} FOR TABLE ${TABLE}`);
  await client.end();
};
