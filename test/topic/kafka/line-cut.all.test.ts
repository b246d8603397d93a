// That a line which is cut at any request of a transaction costs nothing: before it was sent, while it was under
// way, or with its answer lost. The checkpoint is the old one or the new one, and the topics say the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedKafka } from '../../support/kafka.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { API, type Cut, cutLine } from '../../support/kafka-cut.ts';
import { Ledger } from '../../support/kafka-ledger.ts';
import { readByKafkajs } from '../../support/kafka-reader.ts';
import { atLevel } from '../../support/level.ts';
import { seededRandom } from '../../support/seeded.ts';

const CUTS = atLevel({ test: 60, all: 90, deep: 3000 });
const KINDS: readonly Cut[] = ['unsent', 'under_way', 'answered'];

test('the line is cut again and again: nothing is lost, doubled or out of order', {
  timeout: atLevel({ test: 120_000, all: 180_000, deep: 3_600_000 }),
}, async (context) => {
  const random = seededRandom((text) => context.diagnostic(text));
  await using bench = await kafkaBench();
  const ledger = await Ledger.open(bench);
  const told = new Map<string, number>();
  const cutter = cutLine(bench.client);
  cutter.plan = (key) => {
    const name = Object.entries(API).find(([, value]) => value === key)?.[0];
    if (name === undefined || random() > (key === API.endTransaction ? 0.5 : 0.15)) return null;
    const kind = KINDS[Math.floor(random() * KINDS.length)] ?? 'unsent';
    told.set(`${name} ${kind}`, (told.get(`${name} ${kind}`) ?? 0) + 1);
    return kind;
  };
  await ledger.writeUntil(() => cutter.cuts >= CUTS);
  cutter.plan = () => null;
  let more = 3;
  await ledger.writeUntil(() => more-- <= 0);
  await ledger.check();
  const expected = ledger.expected();
  const counts = expected.map(({ length }) => length);
  const { brokers } = await sharedKafka();
  assert.deepEqual(await readByKafkajs(brokers, ledger.topics, counts), expected);
  await ledger.close();
  context.diagnostic(JSON.stringify({ cuts: Object.fromEntries(told), ...ledger.report }));
  assert.ok(ledger.report.published > 0 && ledger.report.lost > 0, 'both outcomes were met');
  assert.equal(ledger.report.repaired, 0);
});
