// A small pipeline with its table in an object store behind a proxy that may do wrong; what independent
// readers and the store itself say of the table. Knows no command.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { loadTable, type TableState } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { metadataFile } from '../../src/sinks/parquet/layout.ts';
import { startPostgres } from './postgres.ts';
import { openTableReader } from './readers.ts';
import { openTestStore, S3_ENVIRONMENT, startS3 } from './s3.ts';
import { type S3Call, startS3Proxy } from './s3-proxy.ts';
import { type Stage, setStage, UNTIL } from './stage.ts';
import type { Running } from './varve.ts';

const SCHEMA = `create table people (id int primary key, name text, city text);
  insert into people select g, 'Secret Name ' || g, 'City ' || g from generate_series(1, 9) g`;

/** One kind of call, and the moment of it: before the store does the work, or after. */
export type S3Kill = { readonly method: string; readonly name: RegExp; readonly done: boolean };

export type S3Shop = {
  readonly stage: Stage;
  readonly bucket: string;
  /** Some commits, each with files of its own. */
  work(rounds: number): Promise<void>;
  /** Runs a command that is killed at its first such call. */
  kill(words: readonly string[], at: S3Kill): Promise<void>;
  load(): Promise<TableState>;
  /** All versions of all rows, as DuckDB reads them. */
  rows(): Promise<string[]>;
  /** One object, by its key. */
  read(key: string): Promise<Buffer>;
  remove(prefix: string): Promise<void>;
  /** URIs of all objects below the prefix, those that hold the text. */
  objects(prefix: string, holding?: string): Promise<string[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

const isAt = (call: S3Call, { method, name }: S3Kill): boolean =>
  call.method === method && name.test(call.url.split('?')[0] ?? '');

/** The environment of this process becomes that of somebody who may use the store. */
export const setS3Shop = async (): Promise<S3Shop> => {
  await using stack = new AsyncDisposableStack();
  Object.assign(process.env, S3_ENVIRONMENT);
  const s3 = stack.use(await startS3());
  process.env.AWS_ENDPOINT_URL = s3.endpoint;
  const proxy = stack.use(await startS3Proxy(s3));
  const server = stack.use(await startPostgres({ major: 17 }));
  const root = `s3://${s3.bucket}`;
  const location = `${root}/tables`;
  const extra = `  compression: none\n  s3: {endpoint: "${proxy.endpoint}", region: us-east-1}\n`;
  const stage = stack.use(await setStage(server, { schema: SCHEMA, location, extra }));
  const store = openTestStore(root, { s3: { endpoint: s3.endpoint }, copies: null });
  stack.defer(() => store.close());
  const reader = stack.use(await openTableReader('duckdb'));
  const table = `${location}/public/people`;
  const io = { store, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  const load = async (): Promise<TableState> => (await loadTable(io, table)) ?? assert.fail('no table');
  const kill = async (words: readonly string[], at: S3Kill): Promise<void> => {
    const killed: { running: Running | null } = { running: null };
    proxy.plan = (call) => {
      if (!isAt(call, at)) return null;
      killed.running?.kill('SIGKILL');
      return { kind: 'silent', done: at.done };
    };
    killed.running = stage.pipeline.start(words);
    const { signal, stderr, stdout } = await killed.running.finished;
    proxy.plan = () => null;
    assert.equal(signal, 'SIGKILL', `${at.method} ${at.name} was not reached: ${stdout}${stderr}`);
  };
  const objects = async (prefix: string, holding?: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const { uri } of store.list(`${root}/${prefix}`))
      if (holding === undefined || Buffer.from((await store.read(uri)) ?? '').includes(holding))
        found.push(uri);
    return found.sort();
  };
  const all = stack.move();
  return {
    stage,
    bucket: s3.bucket,
    work: async (rounds) => {
      for (let round = 0; round < rounds; round++) {
        await stage.sql(`update people set city = city || '.' where id % 3 = ${round % 3}`);
        await stage.pipeline.run(UNTIL);
      }
    },
    kill,
    load,
    rows: async () => reader.read({ metadata: metadataFile(table, (await load()).version) }),
    read: async (key) => Buffer.from((await store.read(`${root}/${key}`)) ?? assert.fail(`no ${key}`)),
    remove: async (prefix) => {
      for (const uri of await objects(prefix)) await store.remove(uri);
    },
    objects,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
};
