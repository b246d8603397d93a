// The same for tables in an object store: what `varve attach` prints is run as it is printed; it holds no
// credentials, the engines find theirs where they always look.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runAttached } from '../support/attached.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { pickPort } from '../support/postgres-process.ts';
import { S3_USER, startS3, type TestS3 } from '../support/s3.ts';
import { RUN, type Stage, setStage } from '../support/stage.ts';
import { endOf, type Running } from '../support/varve.ts';

let server: TestPostgres;
let s3: TestS3;
let stage: Stage;
let running: Running;

before(async () => {
  [server, s3] = await Promise.all([startPostgres({ major: 17 }), startS3()]);
  const port = await pickPort();
  stage = await setStage(server, {
    name: 'shop',
    schema: `create table public.items (id int primary key, v text);
      insert into public.items values (1, 'one'), (2, 'two')`,
    location: `s3://${s3.bucket}/shop\n  s3: {endpoint: "${s3.endpoint}", region: us-east-1}`,
    extra: `http:\n  listen: 127.0.0.1:${port}\n`,
  });
  running = stage.pipeline.start(RUN, s3.environment);
  await running.saw(/"msg":"streaming"/);
  for (let text = ''; !/"current-snapshot-id":\d/.test(text); )
    text = await (await fetch(`http://127.0.0.1:${port}/v1/namespaces/public/tables/items`)).text();
  Object.assign(process.env, s3.environment);
});
after(async () => {
  await endOf(running);
  await stage[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const printedFor = async (engine: string, by: string): Promise<string> => {
  const words = ['attach', 'pipeline.yaml', 'items', '--engine', engine, '--by', by];
  return (await stage.pipeline.run(words)).stdout;
};

const RUNS = [
  ['pyiceberg', 'rest'],
  ['pyiceberg', 'path'],
  ['duckdb', 'rest'],
  ['duckdb', 'path'],
  ['clickhouse', 'path'],
  ['spark', 'rest'],
] as const;

for (const [engine, by] of RUNS)
  test(`${engine} by ${by} reads the tables in the object store`, async () => {
    const text = await printedFor(engine, by);
    assert.ok(!text.includes(S3_USER.key) && !text.includes(S3_USER.secret), 'a secret is printed');
    const rows = (await runAttached[engine]?.(text)) ?? [];
    assert.deepEqual(
      rows.sort(([one], [two]) => one - two),
      [
        [1, 'one'],
        [2, 'two'],
      ],
    );
  });

test('the catalog tells clients where the store is, and nothing else', async () => {
  const [, address] = /uri":"([^"]+)"/.exec(await printedFor('pyiceberg', 'rest')) ?? [];
  const config = await (await fetch(`${address}/v1/config`)).json();
  assert.deepEqual((config as { defaults: object }).defaults, {
    's3.endpoint': s3.endpoint,
    's3.region': 'us-east-1',
    'client.region': 'us-east-1',
    's3.path-style-access': 'true',
  });
});
