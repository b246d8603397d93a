// A table whose columns changed, read by engines that know nothing of Varve: by field id, so that a renamed
// column keeps its old values and a dropped one's successor does not get them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import { openTableReader, type ReaderEngine } from '../support/readers.ts';
import { readTable } from '../support/table-rows.ts';
import { makePipeline } from '../support/varve.ts';
import { COMPARED, ROWS, SETUP, takeSteps } from './evolution-script.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

test('every engine reads changed columns by their ids', async () => {
  await using server = await startPostgres();
  await server.query(SETUP);
  await using pipeline = await makePipeline({ url: server.url });
  await pipeline.run(UNTIL);
  await takeSteps(server, { after: () => pipeline.run(UNTIL) });
  const { metadata } = await readTable(join(pipeline.directory, 'tables'), 'shape');
  for (const engine of ['pyiceberg', 'duckdb', 'spark'] satisfies ReaderEngine[]) {
    await using reader = await openTableReader(engine);
    const lines = await reader.read({ metadata, columns: [...COMPARED, '_order'] });
    const rows = lines.map((line) => JSON.parse(line) as Record<string, string | number | null>);
    rows.sort((a, b) => (String(a._order) < String(b._order) ? -1 : 1));
    const texts = rows.map((row) => COMPARED.map((name) => row[name] ?? null).join(' '));
    assert.deepEqual(
      texts,
      ROWS.map((text) => text.replaceAll('null', '')),
      engine,
    );
  }
});
