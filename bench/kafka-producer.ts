// Owns the bench of the transactional producer alone: one partition and a state record, by Varve's
// publisher, two npm clients and Kafka's own tool.

import { createTopic } from '../src/topic/kafka/admin.ts';
import { KafkaClient } from '../src/topic/kafka/client.ts';
import { startKafka } from '../test/support/kafka.ts';
import { runPerfTool } from './kafka-perf-tool.ts';
import type { ProduceCost, ProduceRequest } from './kafka-produce-loop.ts';
import { dropTopics } from './kafka-topic.ts';
import {
  type Contender,
  type Line,
  makeLine,
  runInTurn,
  runScript,
  type Sample,
  type Settings,
} from './measure.ts';

type Size = { recordsPerTransaction: number; records: number; transactionMs: number; target: string };

let runs = 0;

const produceAlone = async (request: ProduceRequest): Promise<Sample> => {
  const { answer, peakMb } = await runScript<ProduceCost>('kafka-produce-loop.ts', request);
  const { seconds, cpuSeconds } = answer;
  return { value: (request.transactions * request.recordsPerTransaction) / seconds, cpuSeconds, peakMb };
};

/** Every run has topics of its own. */
const onFreshPrefix = async (
  brokers: readonly string[],
  run: (prefix: string) => Promise<Sample>,
): Promise<Sample> => {
  const prefix = `producer-${++runs}`;
  try {
    return await run(prefix);
  } finally {
    await dropTopics(brokers, prefix);
  }
};

const byTool = async (
  brokers: readonly string[],
  prefix: string,
  { records, transactionMs }: Size,
): Promise<Sample> => {
  const topic = `${prefix}.records`;
  await using client = await KafkaClient.open({ brokers, clientId: 'bench' });
  await createTopic(client, topic, { partitions: 1, replication: null, config: {} });
  return runPerfTool({ brokers, topic, records, transactionMs });
};

const measureSize = async (settings: Settings, brokers: readonly string[], size: Size): Promise<Line[]> => {
  const { recordsPerTransaction, target } = size;
  const name = `kafka-producer-${recordsPerTransaction}`;
  const transactions = Math.ceil(size.records / recordsPerTransaction);
  const records = transactions * recordsPerTransaction;
  const by = (library: ProduceRequest['library']) => (): Promise<Sample> =>
    onFreshPrefix(brokers, (prefix) =>
      produceAlone({ library, brokers, prefix, transactions, recordsPerTransaction }),
    );
  const contenders: Contender[] = [
    { name: 'varve', run: by('varve') },
    { name: 'kafkajs', run: by('kafkajs'), isPeer: true },
    { name: 'platformatic', run: by('platformatic'), isPeer: true },
    {
      name: `java-perf-${size.transactionMs}ms`,
      run: () => onFreshPrefix(brokers, (prefix) => byTool(brokers, prefix, { ...size, records })),
      isPeer: true,
    },
  ];
  const results = await runInTurn(name, contenders, settings);
  return contenders.map((contender) => {
    const line = { unit: 'records/s', sample: results.get(contender.name), rows: records };
    if (contender.name !== 'varve') return makeLine({ ...line, name: `${name}/${contender.name}` });
    return makeLine({ ...line, name, target });
  });
};

export const kafkaProducer = async (settings: Settings): Promise<Line[]> => {
  await using kafka = await startKafka({ isLongRunning: true });
  const small = {
    recordsPerTransaction: 1000,
    records: settings.rows(1_000_000, 5_000_000),
    // About as long as such a transaction takes; the tool knows no other measure.
    transactionMs: 5,
    target: '>= 180000, <= 2 CPU-s',
  };
  const large = {
    recordsPerTransaction: 20_000,
    records: settings.rows(2_000_000, 10_000_000),
    transactionMs: 50,
    target: '>= 800000',
  };
  const lines: Line[] = [];
  for (const size of [small, large]) lines.push(...(await measureSize(settings, kafka.brokers, size)));
  return lines;
};
