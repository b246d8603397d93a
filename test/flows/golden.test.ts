// tmp
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compareWithGolden, goldenCases } from '../support/golden.ts';
import { runGolden } from '../support/golden-run.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

describe('recorded cases', () => {
  let server: TestPostgres;
  before(async () => {
    server = await startPostgres({ major: 15 });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });
  for (const caseDir of goldenCases('postgres')) {
    it(basename(caseDir), async () => {
      const t = performance.now();
      const records = await runGolden(server, caseDir);
      console.log(basename(caseDir), Math.round(performance.now() - t));
      compareWithGolden(caseDir, records);
    });
  }
});
