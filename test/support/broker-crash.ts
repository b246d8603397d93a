// Owns the crashes of a broker under a ledger that goes on writing: when each one comes, and how it ends.
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafka } from './kafka.ts';
import { kafkaBench } from './kafka-bench.ts';
import { API } from './kafka-cut.ts';
import { Ledger, type LedgerReport } from './kafka-ledger.ts';
import { readByKafkajs } from './kafka-reader.ts';

/** `kill_at_commit`: as soon as the broker has acknowledged a commit, whose markers may not be there yet. */
export type Crash = 'kill' | 'kill_at_commit' | 'stop';

type CrashReport = LedgerReport & { crashes: number; seconds: number };

/** Resolves once the broker has answered the next commit of the ledger's client, with the broker killed. */
const killAtCommit = async (
  bench: Awaited<ReturnType<typeof kafkaBench>>,
  kill: () => Promise<void>,
): Promise<void> => {
  const { client } = bench;
  const pass = client.request;
  const { promise, resolve } = Promise.withResolvers<Promise<void>>();
  client.request = async (node, api, write) => {
    const answer = await pass.call(client, node, api, write);
    if (api.key === API.endTransaction) {
      client.request = pass;
      resolve(kill());
    }
    return answer;
  };
  await promise;
};

/**
 * Each crash in turn on a broker of its own, with load before, at and after it. Throws when anything is lost,
 * doubled or out of order, for the ledger's own reader or for another one.
 */
export const crashUnderLoad = async (
  crashes: readonly Crash[],
  random: () => number,
): Promise<CrashReport> => {
  const began = performance.now();
  await using broker = await startKafka();
  await using bench = await kafkaBench(broker.brokers);
  const ledger = await Ledger.open(bench);
  let isOver = false;
  const crashing = async (): Promise<void> => {
    for (const crash of crashes) {
      await sleep(300 + random() * 700);
      if (crash === 'kill_at_commit') await killAtCommit(bench, () => broker.kill());
      else await broker[crash]();
      await sleep(random() * 500);
      await broker.restart();
    }
    await sleep(1000);
  };
  await Promise.all([
    crashing().finally(() => {
      isOver = true;
    }),
    ledger.writeUntil(() => isOver),
  ]);
  await ledger.check();
  const expected = ledger.expected();
  const counts = expected.map(({ length }) => length);
  const found = await readByKafkajs(broker.brokers, ledger.topics, counts);
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error('kafkajs reads something else.');
  await ledger.close();
  const seconds = Math.round((performance.now() - began) / 1000);
  return { ...ledger.report, crashes: crashes.length, seconds };
};
