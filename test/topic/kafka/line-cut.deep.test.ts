// The line cut thousands of times, at any request of a transaction: nothing is lost, doubled or out of order.
import { test } from 'node:test';
import { cutUnderLoad } from '../../support/line-cuts.ts';
import { seededRandom } from '../../support/seeded.ts';

const ROUNDS = 20;
const CUTS = 200;

test('cut at any request, thousands of times', { timeout: 3_600_000 }, async (context) => {
  const random = seededRandom((text) => context.diagnostic(text));
  for (let round = 0; round < ROUNDS; round++)
    context.diagnostic(JSON.stringify(await cutUnderLoad(CUTS, random)));
});
