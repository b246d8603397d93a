// The differential run again, its table read by engines that know nothing of Varve: PyIceberg, DuckDB's
// Iceberg extension and Spark each find exactly the source's versions, all the same rows, now and as of an
// older snapshot. The table has no `time` column, because Spark refuses to read a table that has one.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  askOracle,
  auditMoment,
  compareWithOracle,
  installOracle,
  type OracleAnswer,
} from '../support/oracle.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { versionsOf } from '../support/reader-versions.ts';
import { openTableReader, type ReaderEngine } from '../support/readers.ts';
import { readTable } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';
import { runWorkload } from '../support/workload.ts';

const SEED = Number(process.env.VARVE_SEED ?? Math.floor(Math.random() * 1e6));
const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];
const ENGINES = ['pyiceberg', 'duckdb', 'spark'] as const satisfies readonly ReaderEngine[];

/** What was known of the source when the table had this snapshot. */
type Moment = { answer: OracleAnswer; since: bigint; snapshotId: bigint };

let server: TestPostgres;
let pipeline: TestPipeline;
const moments: Moment[] = [];
let metadata = '';
/** By engine: what it read, the newest moment last. */
const readings = new Map<ReaderEngine, string[][]>();

before(async () => {
  server = await startPostgres({ major: 17 });
  const admin = await server.connect();
  await installOracle(admin);
  const sessions = await Promise.all([1, 2, 3].map(() => server.connect()));
  const options = { seed: SEED, keys: 60, truncates: true, keyChanges: true };
  pipeline = await makePipeline({ url: server.url, commitMs: 100 });
  await runWorkload(sessions, options, 40);
  await pipeline.run(UNTIL);
  const since = await auditMoment(admin);
  for (let round = 1; round <= 4; round++) {
    await runWorkload(sessions, { ...options, seed: SEED + round }, 20);
    await pipeline.run(UNTIL);
    const table = await readTable(join(pipeline.directory, 'tables'), 'ledger');
    metadata = table.metadata;
    const snapshotId = BigInt(table.state.snapshot?.['snapshot-id'] ?? -1);
    moments.push({ answer: await askOracle(admin), since, snapshotId });
  }
});
after(async () => {
  await pipeline[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

for (const engine of ENGINES) {
  test(`${engine} finds exactly the source's versions, now and before (seed ${SEED})`, async () => {
    await using reader = await openTableReader(engine);
    const lines: string[][] = [];
    for (const { answer, since, snapshotId } of moments) {
      const read = await reader.read({ metadata, snapshotId });
      compareWithOracle(answer, versionsOf(read), { since });
      lines.push(read);
    }
    assert.deepEqual(await reader.read({ metadata }), lines.at(-1), 'the newest snapshot is the current one');
    readings.set(engine, lines);
  });
}

test('all of them read the same rows, every column of every snapshot', () => {
  const [first, ...others] = ENGINES.map((engine) => readings.get(engine));
  assert.equal(first?.length, moments.length);
  assert.ok(first.every((lines) => lines.length > 100));
  assert.notDeepEqual(first[0], first.at(-1));
  for (const other of others) assert.deepEqual(other, first);
});
