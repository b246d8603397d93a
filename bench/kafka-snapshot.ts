// Owns the bench of the first read into Kafka: a whole table by Varve, by Debezium, and by a COPY that is
// thrown away.
import { startKafka } from '../test/support/kafka.ts';
import { startRegistry } from '../test/support/schema-registry.ts';
import type { BenchDatabase } from './database.ts';
import { copyFloor } from './floors.ts';
import { publish, untilPublished, withDebezium } from './kafka-debezium.ts';
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
import { drain, expectRows, VarvePipeline } from './varve-pipeline.ts';

const NAME = 'kafka-snapshot';

export const kafkaSnapshot = async (settings: Settings, database: BenchDatabase): Promise<Line[]> => {
  const rows = settings.rows(2_000_000, 2_000_000);
  await using kafka = await startKafka({ isLongRunning: true });
  await using registry = await startRegistry();
  const services = { brokers: kafka.brokers, registry: registry.url };
  await database.reset();
  await database.load('thousand', rows);
  const topic = new KafkaTopic(services);
  await using pipeline = await VarvePipeline.make(database, { snapshot: 'initial', topic });
  const varve = async (): Promise<Sample> => {
    await database.dropLog();
    await pipeline.putBack();
    return drain(pipeline, 'tcp', ({ rows: read }) => expectRows('varve', read, rows));
  };
  const debezium = async (): Promise<Sample> => {
    await database.dropLog();
    await publish(database);
    return withDebezium(database, { services, snapshot: 'initial' }, (one) => untilPublished(one, rows));
  };
  const contenders: Contender[] = [
    { name: 'varve', run: varve },
    ...copyFloor(database, rows),
    { name: 'debezium', run: debezium, isPeer: true },
  ];
  const results = await runInTurn(NAME, contenders, settings);
  const floor = results.get('psql-copy-binary')?.value;
  const lines = contenders.map(({ name }) => {
    const line = { name: `${NAME}/${name}`, unit: 'rows/s', sample: results.get(name), rows };
    return makeLine(name === 'varve' ? { ...line, name: NAME, floor, target: '>= 250000' } : line);
  });
  const [ours, theirs] = ['varve', 'debezium'].map((name) => results.get(name)?.value);
  return [...lines, makeRatioLine(`${NAME}/rate-by-debezium`, [ours, theirs], '>= 5.5')];
};
