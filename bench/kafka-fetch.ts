// Owns the bench of reading from Kafka alone: one partition of committed zstd batches, by Varve's feed and
// two npm clients.
import { startKafka } from '../test/support/kafka.ts';
import type { FetchCost, FetchRequest } from './kafka-fetch-loop.ts';
import type { ProduceCost, ProduceRequest } from './kafka-produce-loop.ts';
import {
  type Contender,
  type Line,
  makeLine,
  runInTurn,
  runScript,
  type Sample,
  type Settings,
} from './measure.ts';

const NAME = 'kafka-fetch';
const RECORDS_PER_TRANSACTION = 20_000;

export const kafkaFetch = async (settings: Settings): Promise<Line[]> => {
  const transactions = Math.ceil(settings.rows(4_000_000, 10_000_000) / RECORDS_PER_TRANSACTION);
  await using kafka = await startKafka({ isLongRunning: true });
  const { brokers } = kafka;
  const where = { brokers, prefix: 'fetch' };
  const filling: ProduceRequest = {
    ...where,
    library: 'varve',
    transactions,
    recordsPerTransaction: RECORDS_PER_TRANSACTION,
  };
  const { written: rows } = (await runScript<ProduceCost>('kafka-produce-loop.ts', filling)).answer;
  const by = (library: FetchRequest['library']) => async (): Promise<Sample> => {
    const request: FetchRequest = { ...where, library, topic: 'fetch.records', records: rows };
    const { answer, peakMb } = await runScript<FetchCost>('kafka-fetch-loop.ts', request);
    const { records, seconds, cpuSeconds } = answer;
    return { value: records / seconds, cpuSeconds: (cpuSeconds / records) * rows, peakMb };
  };
  const contenders: Contender[] = [
    { name: 'varve', run: by('varve') },
    { name: 'kafkajs', run: by('kafkajs'), isPeer: true },
    { name: 'platformatic', run: by('platformatic'), isPeer: true },
  ];
  const results = await runInTurn(NAME, contenders, settings);
  return contenders.map(({ name }) => {
    const line = { unit: 'records/s', sample: results.get(name), rows };
    if (name !== 'varve') return makeLine({ ...line, name: `${NAME}/${name}` });
    return makeLine({ ...line, name: NAME, target: '>= 2000000' });
  });
};
