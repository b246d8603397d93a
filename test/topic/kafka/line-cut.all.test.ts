// That a line which is cut at any request of a transaction costs nothing: before it was sent, while it was
// under way, or with its answer lost. The checkpoint is the old one or the new one, and the topics say the
// same. And that the ledger which says so can say otherwise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AtomicWrite } from '../../../src/topic/publisher.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';
import { Ledger } from '../../support/kafka-ledger.ts';
import { cutUnderLoad } from '../../support/line-cuts.ts';
import { seededRandom } from '../../support/seeded.ts';

const CUTS = 60;
const SPOILED = 5;

test('the line is cut again and again: nothing is lost, doubled or out of order', {
  timeout: 180_000,
}, async (context) => {
  const report = await cutUnderLoad(
    CUTS,
    seededRandom((text) => context.diagnostic(text)),
  );
  context.diagnostic(JSON.stringify(report));
  assert.ok(report.published > 0 && report.lost > 0, 'both outcomes were met');
});

/** What a broken publisher would do to a write, at its last one. */
const faults: Readonly<Record<string, (write: AtomicWrite) => AtomicWrite>> = {
  'leaves a batch out': ({ slices, state }) => ({ slices: slices.slice(1), state }),
  'writes a batch twice': ({ slices, state }) => ({ slices: [...slices, ...slices.slice(0, 1)], state }),
  'writes to the wrong topic': ({ slices: [first, second], state }) =>
    first && second
      ? {
          slices: [
            { ...first, topic: second.topic },
            { ...second, topic: first.topic },
          ],
          state,
        }
      : { slices: [], state },
  'loses the state': ({ slices }) => ({ slices, state: [] }),
  'is ahead with the state': ({ state }) => ({ slices: [], state }),
};

for (const [name, spoil] of Object.entries(faults)) {
  test(`the ledger notices a publisher that ${name}`, { timeout: 60_000 }, async () => {
    await using bench = await kafkaBench();
    const ledger = await Ledger.open(bench, (write, n) => (n === SPOILED ? spoil(write) : write));
    await ledger.writeUntil(() => ledger.report.writes >= SPOILED);
    await assert.rejects(ledger.check(), { name: 'AssertionError' });
    await ledger.close();
  });
}
