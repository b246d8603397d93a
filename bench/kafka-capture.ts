// Owns the bench of the log into Kafka: the same backlog drained by Varve, once and at least once, by
// Debezium, and by readers that publish nothing.
import { startKafka } from '../test/support/kafka.ts';
import { startRegistry } from '../test/support/schema-registry.ts';
import { drainAgain, makeBacklog } from './capture.ts';
import type { BenchDatabase } from './database.ts';
import { captureFloors } from './floors.ts';
import { DEBEZIUM_SLOT, untilPublished, withDebezium } from './kafka-debezium.ts';
import { KafkaTopic } from './kafka-topic.ts';
import {
  type Contender,
  type Line,
  makeLine,
  makeRatioLine,
  runInTurn,
  type Sample,
  type Settings,
} from './measure.ts';
import { type Counts, expectRows, VarvePipeline } from './varve-pipeline.ts';

const NAME = 'kafka-capture';

/** Transactions of 1000 rows, six partitions, zstd. */
export const kafkaCapture = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const rows = settings.rows(1_000_000, 1_000_000);
  await using kafka = await startKafka({ isLongRunning: true });
  await using registry = await startRegistry();
  const services = { brokers: kafka.brokers, registry: registry.url };
  const topic = new KafkaTopic(services);
  await using exact = await VarvePipeline.make(database, { snapshot: 'never', topic });
  const made = await makeBacklog(database, exact, { shape: 'thousand', rows });
  const other = topic.alike('at_least_once');
  await using loose = await VarvePipeline.make(database, { snapshot: 'never', topic: other });
  const changes = ({ changes: seen }: Counts): number => expectRows('varve', seen, rows);
  const floors = captureFloors(made.backlog);
  const debezium = async (): Promise<Sample> => {
    await database.remakeSlot(DEBEZIUM_SLOT);
    return withDebezium(database, { services, snapshot: 'no_data' }, (one) => untilPublished(one, rows));
  };
  const contenders: Contender[] = [
    { name: 'varve', run: () => drainAgain(made, 'tcp', changes) },
    { name: 'at-least-once', run: () => drainAgain({ ...made, pipeline: loose }, 'tcp', changes) },
    ...floors,
    { name: 'debezium', run: debezium, isPeer: true },
  ];
  const results = await runInTurn(NAME, contenders, settings);
  return [...contenderLines(contenders, results, rows), ...ratioLines(results)];
};

const contenderLines = (
  contenders: readonly Contender[],
  results: ReadonlyMap<string, Sample>,
  rows: number,
): Line[] => {
  const isFloor = ({ name }: Contender): boolean => /^(count|pg_recvlogical)-/.test(name);
  const floor = Math.max(...contenders.filter(isFloor).map(({ name }) => results.get(name)?.value ?? 0));
  const target = '>= 120000, <= 2 CPU-s, <= 300 MB';
  return contenders.map(({ name }) => {
    const line = { name: `${NAME}/${name}`, unit: 'events/s', sample: results.get(name), rows };
    return makeLine(name === 'varve' ? { ...line, name: NAME, floor, target } : line);
  });
};

const ratioLines = (results: ReadonlyMap<string, Sample>): Line[] => {
  const [varve, loose, debezium] = ['varve', 'at-least-once', 'debezium'].map((name) => results.get(name));
  return [
    makeRatioLine(`${NAME}/rate-by-debezium`, [varve?.value, debezium?.value], '>= 5.5'),
    makeRatioLine(`${NAME}/cpu-by-debezium`, [varve?.cpuSeconds, debezium?.cpuSeconds], '<= 0.05'),
    makeRatioLine(`${NAME}/rate-by-at-least-once`, [varve?.value, loose?.value], '>= 0.85'),
  ];
};
