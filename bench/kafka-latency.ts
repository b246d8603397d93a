// Owns the bench of latency through Kafka: until a read_committed consumer in another process has a row, by
// our feed and by kafkajs, and the same through Debezium as one tunes it for that.
import { startKafka } from '../test/support/kafka.ts';
import { startRegistry } from '../test/support/schema-registry.ts';
import { type BenchDatabase, PIPELINE, TOPIC } from './database.ts';
import { DEBEZIUM_SLOT, type Debezium, withDebezium } from './kafka-debezium.ts';
import { KafkaTopic } from './kafka-topic.ts';
import type { KafkaWatchRequest } from './kafka-watch.ts';
import {
  type Load,
  latencyLines,
  planRounds,
  type Round,
  readBeside,
  readRaw,
  startFeedReader,
  writeAndWatch,
  writeRows,
} from './latency.ts';
import {
  type Contender,
  type Line,
  runInTurn,
  type Sample,
  type Settings,
  type Started,
  startScript,
} from './measure.ts';
import { VarvePipeline } from './varve-pipeline.ts';

/** One row a transaction, then ten. */
const LOADS: readonly Load[] = [
  { perSecond: 1000, rowsPerTransaction: 1 },
  { perSecond: 5000, rowsPerTransaction: 10 },
];
/**
 * A broker that has just started compiles as it goes, and is three times as slow: people's brokers run for
 * months. It serves all contenders the same.
 */
const BROKER_WARM_UP_S = 25;
/** Enough for a topic to be there before somebody reads it. */
const FIRST_ROWS = 10;
/** Magic byte and id: Confluent's has four bytes, Apicurio's eight. */
const FRAME_BYTES = { confluent: 5, apicurio: 9 } as const;

type Foreign = Pick<KafkaWatchRequest, 'brokers' | 'topic' | 'frameBytes'>;
const startForeignReader = ({ firstId, rows }: Round, where: Foreign): Started => {
  const request: KafkaWatchRequest = { ...where, firstId, rows };
  return startScript('kafka-watch.ts', request);
};

/** `first` makes the topic, because a reader of one that is not there yet would miss its begin. */
const readDebezium = async (
  { first, round }: { first: Round; round: Round },
  debezium: Debezium,
  where: Foreign,
): Promise<Sample> => {
  await writeRows(first);
  await debezium.waitFor(first.rows);
  const reader = startForeignReader(round, where);
  return writeAndWatch(round, { reader, ready: reader.spoke, usage: () => debezium.usage() });
};

const latencyAt = async (settings: Settings, database: BenchDatabase, load: Load): Promise<Line[]> => {
  const name = `kafka-latency-${load.perSecond}`;
  await using kafka = await startKafka({ isLongRunning: true });
  await using registry = await startRegistry();
  const { brokers } = kafka;
  const services = { brokers, registry: registry.url };
  await database.reset();
  const topic = new KafkaTopic(services);
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'never', topic });
  await pipeline.run('socket');
  const next = planRounds(database, load, settings.rows(10_000, 60_000) / 1000);
  await writeRows(next(FIRST_ROWS));
  const varve = (round: Round): Promise<Sample> =>
    readBeside(round, pipeline, () => startFeedReader(round, pipeline, null));
  await varve(next(BROKER_WARM_UP_S * load.perSecond));
  const table = TOPIC.replace(PIPELINE, topic.place().prefix);
  const foreign = (round: Round): Promise<Sample> => {
    const where = { brokers, topic: table, frameBytes: FRAME_BYTES.confluent };
    return readBeside(round, pipeline, () => startForeignReader(round, where));
  };
  const debezium = async (): Promise<Sample> => {
    const rounds = { first: next(FIRST_ROWS), round: next() };
    await database.makeSlot(DEBEZIUM_SLOT);
    return withDebezium(database, { services, snapshot: 'no_data', tunedFor: 'latency' }, (one, itsTopic) =>
      readDebezium(rounds, one, { brokers, topic: itsTopic, frameBytes: FRAME_BYTES.apicurio }),
    );
  };
  const contenders: Contender[] = [
    { name: 'varve', run: () => varve(next()) },
    { name: 'raw-receipt', run: () => readRaw(next()) },
    { name: 'read-by-kafkajs', run: () => foreign(next()) },
    { name: 'debezium-read-by-kafkajs', run: debezium, isPeer: true },
  ];
  const results = await runInTurn(name, contenders, settings);
  const targets = { p50: '<= 10 ms', p99: '<= 30 ms' };
  return latencyLines({ name, contenders, results, rows: next().rows, targets });
};

export const kafkaLatency = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const lines: Line[] = [];
  for (const load of LOADS) lines.push(...(await latencyAt(settings, database, load)));
  return lines;
};
