// Owns one flow over Kafka from end to end: a database of its own with its audit, load on it, a pipeline, and the
// comparison of topics and table with what was committed. Knows no fault.
import assert from 'node:assert/strict';
import pg from 'pg';
import { KAFKA_PARTITIONS, kafkaTopic } from './kafka-stage.ts';
import { readLedger } from './ledger-table.ts';
import { askOracle, compareWithOracle } from './oracle.ts';
import type { TestPostgres } from './postgres.ts';
import { type Stage, setStage, UNTIL } from './stage.ts';
import { checkTopics, type TopicRules } from './topic-check.ts';
import { AUDITED, installTopicOracle, readSource, runMixed, sourceMoment } from './topic-oracle.ts';
import { readTopics } from './topic-reader.ts';
import { runWorkload } from './workload.ts';

type FlowOptions = {
  readonly brokers: readonly string[];
  readonly registry: string;
  /** YAML of the `topic:` block, a line each. */
  readonly more?: readonly string[];
  readonly seed?: number;
};

export type Flow = Stage & {
  /** Changes all three tables, or the ledger alone, until it is stopped. */
  startLoad(tables?: 'all' | 'ledger'): { stop(): Promise<void> };
  /** What comes later is streamed, by no snapshot. */
  noteSeam(): Promise<void>;
  /** Runs until caught up; then topics and table are what the source's audit says. */
  assertWhole(rules?: Partial<TopicRules>): Promise<void>;
};

/** Tables with some rows; nothing was started. */
export const setFlow = async (server: TestPostgres, options: FlowOptions): Promise<Flow> => {
  const { brokers, registry, more = [], seed = 1 } = options;
  const stage = await setStage(server, {
    schema: 'select 1',
    topic: kafkaTopic({ brokers, registry }, more),
  });
  const { url, name, pipeline, tables } = stage;
  const clients: pg.Client[] = [];
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url });
    // Ends with the server, whenever that is.
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  const admin = await connect();
  await installTopicOracle(admin);
  const sessions = await Promise.all([connect(), connect()]);
  const mixing = await connect();
  let round = seed * 1000;
  const workload = () => ({ seed: round++, keys: 40, truncates: true, keyChanges: true, pauseMs: 10 });
  await runWorkload(sessions, workload(), 20);
  const running: { stop: AbortController; load: Promise<unknown> }[] = [];
  let since = 0n;
  return {
    ...stage,
    startLoad: (of = 'all') => {
      const stop = new AbortController();
      const load = Promise.all([
        runWorkload(sessions, workload(), stop.signal),
        of === 'all' ? runMixed(mixing, round++, stop.signal) : undefined,
      ]);
      // Whoever stops it is told.
      load.catch(() => undefined);
      running.push({ stop, load });
      return {
        stop: async () => {
          stop.abort();
          await load;
        },
      };
    },
    noteSeam: async () => {
      since = await sourceMoment(admin);
    },
    assertWhole: async (rules = {}) => {
      await pipeline.run(UNTIL);
      const read = await readTopics({ brokers, registry, prefix: name });
      // Tables that a test makes have no audit.
      const records = read.filter(({ table }) => AUDITED.includes(table));
      assert.ok(records.length > 0);
      checkTopics(await readSource(admin), records, { since, partitions: KAFKA_PARTITIONS, ...rules });
      compareWithOracle(await askOracle(admin), await readLedger(tables), { since });
    },
    [Symbol.asyncDispose]: async () => {
      await stage[Symbol.asyncDispose]();
      for (const { stop, load } of running) {
        stop.abort();
        await load.catch(() => undefined);
      }
      for (const client of clients) await client.end();
    },
  };
};
