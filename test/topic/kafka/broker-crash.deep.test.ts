// The crashes of a broker under load, many times over, and killed at its answer to a commit until an
// acknowledged one hangs: that does happen, and the repair takes it back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Crash, crashUnderLoad } from '../../support/broker-crash.ts';
import { seededRandom } from '../../support/seeded.ts';

const ROUNDS = 10;
const CRASHES: readonly Crash[] = ['kill', 'stop', 'kill_at_commit', 'kill'];

test('killed and restarted many times', { timeout: 3_600_000 }, async (context) => {
  const random = seededRandom((text) => context.diagnostic(text));
  for (let round = 0; round < ROUNDS; round++)
    context.diagnostic(JSON.stringify(await crashUnderLoad(CRASHES, random)));
});

test('an acknowledged commit is left hanging, and repaired', { timeout: 3_600_000 }, async (context) => {
  const random = seededRandom((text) => context.diagnostic(text));
  let repaired = 0;
  let crashes = 0;
  while (repaired === 0 && crashes < 40) {
    const report = await crashUnderLoad(['kill_at_commit', 'kill_at_commit'], random);
    repaired += report.repaired;
    crashes += report.crashes;
  }
  context.diagnostic(`hanging after ${crashes} kills`);
  assert.ok(repaired > 0);
});
