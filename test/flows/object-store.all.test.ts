// The whole line with its tables in an object store: killed at every effect on it, before and after the
// store has done the work; read back by readers that know nothing of Varve; asked, checked, swept.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { sweepOrphans } from '../../src/sinks/parquet/iceberg/sweep.ts';
import { auditMoment } from '../support/oracle.ts';
import { until } from '../support/polling.ts';
import { S3_ENVIRONMENT } from '../support/s3.ts';
import type { S3Call } from '../support/s3-proxy.ts';
import { setS3Stage } from '../support/s3-stage.ts';
import { endOf, type Running } from '../support/varve.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];
const DAY_MS = 24 * 3_600_000;

let stage: Awaited<ReturnType<typeof setS3Stage>>;
before(async () => {
  stage = await setS3Stage();
});
after(() => stage[Symbol.asyncDispose]());

const checkOf = async (): Promise<string> => {
  const { stdout, stderr } = await stage.pipeline.start(['check', 'pipeline.yaml']).finished;
  return stdout + stderr;
};

test('check says that the store will do, or why it will not, and prints no secret', async () => {
  assert.match(await checkOf(), /ok +s3:\/\/lake\/shop\/tables\/?: files are written/);
  stage.proxy.plan = () => ({ kind: 'answer', status: 403, code: 'SignatureDoesNotMatch', done: false });
  const denied = await checkOf();
  assert.match(denied, /FAIL .*the secret key is not the one/);
  assert.ok(!denied.includes(S3_ENVIRONMENT.AWS_SECRET_ACCESS_KEY ?? ''));
  stage.proxy.plan = ({ method, headers }) =>
    method === 'PUT' && headers['if-none-match']
      ? { kind: 'answer', status: 200, code: '', done: false, body: '' }
      : null;
  assert.match(await checkOf(), /FAIL .*ignores "If-None-Match: \*"/);
  const refused = await stage.pipeline.start(UNTIL).finished;
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /If-None-Match/);
  stage.proxy.plan = () => null;
});

const isOf = (name: RegExp) => (call: S3Call) =>
  call.method === 'PUT' && name.test(call.url.split('?')[0] ?? '');

/** Where the process is killed: at this write, before the store sees it or before the answer comes back. */
const WRITES: readonly (readonly [string, RegExp])[] = [
  ['a data file', /public\/ledger\/data\/.*\.parquet$/],
  ['a manifest', /public\/ledger\/metadata\/.*-m0\.avro$/],
  ['a manifest list', /public\/ledger\/metadata\/snap-.*\.avro$/],
  ['the version', /public\/ledger\/metadata\/v\d+\.metadata\.json$/],
  ['the hint', /public\/ledger\/metadata\/version-hint\.text$/],
];

for (const [name, pattern] of WRITES) {
  for (const done of [false, true]) {
    test(`killed while it writes ${name}, ${done ? 'after' : 'before'} the store did it`, async () => {
      await stage.work(20);
      const killed: { running: Running | null; hits: number } = { running: null, hits: 0 };
      stage.proxy.plan = (call) => {
        if (!isOf(pattern)(call)) return null;
        killed.hits++;
        killed.running?.kill('SIGKILL');
        return { kind: 'silent', done };
      };
      killed.running = stage.pipeline.start(UNTIL);
      const { signal, stderr } = await killed.running.finished;
      assert.equal(signal, 'SIGKILL', stderr);
      assert.ok(killed.hits > 0);
      stage.proxy.plan = () => null;
      await stage.pipeline.run(UNTIL);
    });
  }
}

for (const point of ['table.merge:after', 'table.commit:before', 'table.commit:after'])
  test(`killed at ${point}`, async () => {
    await stage.work(20);
    const { signal, stderr } = await stage.pipeline.start(UNTIL, { VARVE_CRASH_AT: point }).finished;
    assert.equal(signal, 'SIGKILL', stderr);
    await stage.pipeline.run(UNTIL);
  });

test('after all of that the table is what the source was, for every reader', async () => {
  await stage.work(10);
  await stage.pipeline.run(UNTIL);
  await stage.assertRight(0n);
});

test('three calls in ten fail, and the table is right all the same', async () => {
  const since = await auditMoment(stage.admin);
  let calls = 0;
  stage.proxy.plan = () => {
    const kind = calls++ % 10;
    if (kind === 3) return { kind: 'answer', status: 500, code: 'InternalError', done: true };
    if (kind === 6) return { kind: 'cut', done: calls % 2 === 0 };
    return kind === 9 ? { kind: 'answer', status: 503, code: 'SlowDown', done: false } : null;
  };
  await stage.work(30);
  await stage.pipeline.run(UNTIL);
  stage.proxy.plan = () => null;
  assert.ok(calls > 20);
  await stage.assertRight(since);
});

test('a store that is down for a while holds the table up, and then it goes on by itself', async () => {
  const running = stage.pipeline.start(['run', 'pipeline.yaml']);
  await running.saw(/streaming/);
  stage.proxy.plan = () => ({ kind: 'cut', done: false });
  await stage.work(10);
  await running.saw(/store_unreachable/);
  const { version } = await stage.loadLedger();
  stage.proxy.plan = () => null;
  await until(async () => (await stage.loadLedger()).version > version);
  await endOf(running);
  await stage.pipeline.run(UNTIL);
  await stage.assertRight(0n);
});

test('status, asof and history answer from the store', async () => {
  const status = JSON.parse((await stage.pipeline.run(['status', 'pipeline.yaml', '--json'])).stdout) as {
    tables: { summary: { location: string; rows: number } }[];
  };
  assert.equal(status.tables[0]?.summary.location, `${stage.location}/public/ledger`);
  assert.ok((status.tables[0]?.summary.rows ?? 0) > 0);
  const [row] = (await stage.admin.query('select id from ledger limit 1')).rows as { id: string }[];
  const id = String(row?.id);
  const current = await stage.pipeline.run([
    'asof',
    'pipeline.yaml',
    'public.ledger',
    '--where',
    `id = ${id}`,
    '--json',
  ]);
  assert.match(current.stdout, new RegExp(`"id":"?${id}"?[,}]`));
  const history = await stage.pipeline.run(['history', 'pipeline.yaml', 'public.ledger', id, '--json']);
  assert.match(history.stdout, new RegExp(`"id":"?${id}"?[,}]`));
});

test('what killed processes left is swept after its days of grace, and nothing that is read', async () => {
  const io = stage.ioAt(4 * DAY_MS);
  const doomed = await sweepOrphans(io, await stage.loadLedger(), { minAgeMs: 3 * DAY_MS, dryRun: false });
  assert.ok(doomed.length > 0, 'the kills have left nothing');
  for (const { uri } of doomed) assert.equal(await io.store.exists(uri), false);
  assert.deepEqual(
    await sweepOrphans(io, await stage.loadLedger(), { minAgeMs: 3 * DAY_MS, dryRun: true }),
    [],
  );
  await stage.assertRight(0n);
  const left = (await readdir(stage.pipeline.directory)).filter((name) => name.startsWith('.varve-scratch'));
  assert.deepEqual(left, [], 'files of killed processes were left behind');
});
