// Owns cuts of the line under a ledger that goes on writing: where each one falls, by chance, and what is
// told of them. Knows no broker's failure.
import assert from 'node:assert/strict';
import { sharedKafka } from './kafka.ts';
import { kafkaBench } from './kafka-bench.ts';
import { API, type Cut, cutLine } from './kafka-cut.ts';
import { Ledger, type LedgerReport } from './kafka-ledger.ts';
import { readByKafkajs } from './kafka-reader.ts';

const KINDS: readonly Cut[] = ['unsent', 'under_way', 'answered'];
/** Of requests that are cut; an end more often, because it decides. */
const SHARE = { end: 0.5, other: 0.15 } as const;

type CutReport = LedgerReport & { cuts: Readonly<Record<string, number>> };

/** Throws when anything is lost, doubled or out of order, for the ledger's own reader or for another one. */
export const cutUnderLoad = async (cuts: number, random: () => number): Promise<CutReport> => {
  await using bench = await kafkaBench();
  const ledger = await Ledger.open(bench);
  const told: Record<string, number> = {};
  const cutter = cutLine(bench.client);
  cutter.plan = (key) => {
    const name = Object.entries(API).find(([, value]) => value === key)?.[0];
    if (name === undefined || random() > (key === API.endTransaction ? SHARE.end : SHARE.other)) return null;
    const kind = KINDS[Math.floor(random() * KINDS.length)] ?? 'unsent';
    told[`${name} ${kind}`] = (told[`${name} ${kind}`] ?? 0) + 1;
    return kind;
  };
  await ledger.writeUntil(() => cutter.cuts >= cuts);
  cutter.plan = () => null;
  const enough = ledger.report.writes + 3;
  await ledger.writeUntil(() => ledger.report.writes >= enough);
  await ledger.check();
  const expected = ledger.expected();
  const counts = expected.map(({ length }) => length);
  const { brokers } = await sharedKafka();
  assert.deepEqual(await readByKafkajs(brokers, ledger.topics, counts), expected);
  await ledger.close();
  assert.equal(ledger.report.repaired, 0, 'brokers that stay up lose no end');
  return { ...ledger.report, cuts: told };
};
