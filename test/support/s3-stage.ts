// A whole line with its tables in an object store, behind a proxy that may do wrong: the source with its
// audit, the pipeline, and what independent readers find in the store itself.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { loadTable, type TableIo, type TableState } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { metadataFile } from '../../src/sinks/parquet/layout.ts';
import { askOracle, compareWithOracle, installOracle } from './oracle.ts';
import { startPostgres, type TestPostgres } from './postgres.ts';
import { versionsOf } from './reader-versions.ts';
import { openTableReader } from './readers.ts';
import { openTestStore, S3_ENVIRONMENT, startS3 } from './s3.ts';
import { startS3Proxy } from './s3-proxy.ts';
import { makePipeline, type TestPipeline } from './varve.ts';
import { runWorkload } from './workload.ts';

type S3Stage = {
  readonly proxy: Awaited<ReturnType<typeof startS3Proxy>>;
  readonly admin: Awaited<ReturnType<TestPostgres['connect']>>;
  readonly pipeline: TestPipeline;
  /** Of the tables. */
  readonly location: string;
  /** Changes the source. */
  work(rounds: number): Promise<unknown>;
  /** Past the proxy, with a clock that is off by so much. */
  ioAt(shiftMs: number): TableIo;
  loadLedger(): Promise<TableState>;
  /** Asserts that every reader finds what the source's audit says. */
  assertRight(since: bigint): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const READERS = ['pyiceberg', 'duckdb'] as const;

/** The environment of this process becomes that of somebody who may use the store. */
export const setS3Stage = async (): Promise<S3Stage> => {
  await using stack = new AsyncDisposableStack();
  Object.assign(process.env, S3_ENVIRONMENT);
  const s3 = stack.use(await startS3());
  process.env.AWS_ENDPOINT_URL = s3.endpoint;
  const proxy = stack.use(await startS3Proxy(s3));
  const server = stack.use(await startPostgres({ major: 17 }));
  const admin = await server.connect();
  await installOracle(admin);
  const session = await server.connect();
  const location = `s3://${s3.bucket}/shop/tables`;
  const extra = `  s3: {endpoint: "${proxy.endpoint}", region: us-east-1, path_style: true}\n`;
  const pipeline = stack.use(await makePipeline({ url: server.url, location: `${location}/`, extra }));
  const store = openTestStore(location, { s3: { endpoint: s3.endpoint }, copies: null });
  stack.defer(() => store.close());
  const ioAt = (shiftMs: number): TableIo => ({
    store,
    now: () => Date.now() + shiftMs,
    uuid: randomUUID,
    onHintFailure: () => undefined,
  });
  const loadLedger = async (): Promise<TableState> => {
    const state = await loadTable(ioAt(0), `${location}/public/ledger`);
    assert.ok(state !== null, 'there is no table');
    assert.equal(state.location, `${location}/public/ledger`);
    return state;
  };
  const assertRight = async (since: bigint): Promise<void> => {
    const { location: at, version } = await loadLedger();
    const answer = await askOracle(admin);
    const readings: string[][] = [];
    for (const engine of READERS) {
      await using reader = await openTableReader(engine);
      const lines = await reader.read({ metadata: metadataFile(at, version) });
      compareWithOracle(answer, versionsOf(lines), { since });
      readings.push(lines);
    }
    assert.deepEqual(readings[0], readings[1]);
  };
  let seed = 1;
  const work = (rounds: number): Promise<unknown> =>
    runWorkload([session], { keys: 40, truncates: true, keyChanges: true, seed: seed++ }, rounds);
  const all = stack.move();
  return {
    proxy,
    admin,
    pipeline,
    location,
    work,
    ioAt,
    loadLedger,
    assertRight,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
};
