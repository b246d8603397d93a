// Owns Debezium's side of the bench of capture into Kafka: how fast it drains a backlog from a slot. Started
// by hand it makes the backlog itself: `node bench/peers/drain-debezium.ts [ROWS]` prints the cost as JSON.
import pg from 'pg';
import { startKafka } from '../../test/support/kafka.ts';
import { startRegistry } from '../../test/support/schema-registry.ts';
import { BenchDatabase, PUBLICATION, TABLE } from '../database.ts';
import type { Sample } from '../measure.ts';
import { startDebezium } from './debezium.ts';

const SLOT = 'bench_debezium';
const DEFAULT_ROWS = 1_000_000;

type Drain = {
  readonly database: BenchDatabase;
  /** Changes of the table that the slot still holds. */
  readonly rows: number;
  readonly brokers: readonly string[];
  readonly registry: string | null;
};

let runs = 0;

/** Drains that slot into a topic of its own. Value: records a second, from the first record to the last. */
const drainByDebezium = async (slot: string, drain: Drain): Promise<Sample> => {
  await using debezium = await startDebezium({
    database: drain.database.address('tcp'),
    slot,
    publication: PUBLICATION,
    table: `public.${TABLE}`,
    prefix: `debezium-${process.pid}-${++runs}`,
    brokers: drain.brokers,
    registry: drain.registry,
    snapshot: 'no_data',
  });
  await debezium.waitFor(drain.rows);
  const { records, seconds, cpuSeconds, peakMb } = await debezium.usage();
  return { value: records / seconds, cpuSeconds, peakMb };
};

/** Varve makes its publication itself; here nobody has. */
const publish = async (database: BenchDatabase): Promise<void> => {
  const client = new pg.Client(database.address('tcp'));
  await client.connect();
  await client.query(`CREATE PUBLICATION ${PUBLICATION} FOR TABLE ${TABLE}`);
  await client.end();
};

const main = async (rows: number): Promise<void> => {
  await using database = await BenchDatabase.start();
  await using kafka = await startKafka({ isLongRunning: true });
  await using registry = await startRegistry();
  await database.reset();
  await publish(database);
  await database.makeSlot(SLOT);
  await database.load('thousand', rows);
  const sample = await drainByDebezium(SLOT, {
    database,
    rows,
    brokers: kafka.brokers,
    registry: registry.url,
  });
  process.stdout.write(`${JSON.stringify({ rows, ...sample })}\n`);
};

if (import.meta.main) await main(Number(process.argv[2] ?? DEFAULT_ROWS));
