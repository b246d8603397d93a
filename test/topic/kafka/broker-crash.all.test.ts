// That a broker which is killed or restarted under load costs nothing. A broker alone can lose the end of a
// commit that it acknowledged; then the guard stops the publisher, the repair runs, and it is told how often.
import { test } from 'node:test';
import { crashUnderLoad } from '../../support/broker-crash.ts';
import { seededRandom } from '../../support/seeded.ts';

for (const crash of ['kill', 'kill_at_commit', 'stop'] as const) {
  test(`three times in a row: ${crash}`, { timeout: 240_000 }, async (context) => {
    const random = seededRandom((text) => context.diagnostic(text));
    const report = await crashUnderLoad([crash, crash, crash], random);
    context.diagnostic(JSON.stringify(report));
  });
}
