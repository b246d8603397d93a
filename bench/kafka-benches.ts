// Owns the names of the benches that need Kafka. Each starts its own broker, so that none pays for what
// another left behind.
import type { BenchDatabase } from './database.ts';
import { kafkaCapture } from './kafka-capture.ts';
import { kafkaFetch } from './kafka-fetch.ts';
import { kafkaLatency } from './kafka-latency.ts';
import { kafkaProducer } from './kafka-producer.ts';
import { kafkaSnapshot } from './kafka-snapshot.ts';
import type { Line, Settings } from './measure.ts';

export type Bench = (settings: Settings, database: BenchDatabase) => Promise<Line[]>;

export const KAFKA_BENCHES: readonly (readonly [name: string, bench: Bench])[] = [
  ['kafka-capture', kafkaCapture],
  ['kafka-snapshot', kafkaSnapshot],
  ['kafka-latency', kafkaLatency],
  ['kafka-producer', kafkaProducer],
  ['kafka-fetch', kafkaFetch],
];
