// The HTTP listener beside a running pipeline: what a probe, a scraper and a person at night read there, and
// that nothing they ask can hurt the pipeline.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres } from '../support/postgres.ts';
import { pickPort } from '../support/postgres-process.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, UNTIL } from '../support/stage.ts';
import type { Running } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

type Answer = { code: number; type: string; text: string; headers: Headers };

const ask = async (port: number, path: string, method = 'GET'): Promise<Answer> => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  const { status: code, headers } = response;
  return { code, headers, type: headers.get('content-type') ?? '', text: await response.text() };
};

const start = async (): Promise<{ stage: Stage; port: number; running: Running }> => {
  const port = await pickPort();
  const stage = await setStage(server, { extra: `http:\n  listen: 127.0.0.1:${port}\n` });
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  return { stage, port, running };
};

type Sample = { name: string; labels: Record<string, string>; value: number };

/** Prometheus' text format, strictly: every sample after the HELP and TYPE of its metric. */
const parseMetrics = (text: string): Sample[] => {
  assert.ok(text.endsWith('\n'));
  const helped = new Set<string>();
  const typed = new Set<string>();
  return text
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const help = /^# HELP ([a-z_:][a-z0-9_:]*) \S.*$/.exec(line)?.[1];
      const type = /^# TYPE ([a-z_:][a-z0-9_:]*) (?:counter|gauge)$/.exec(line)?.[1];
      if (help !== undefined) helped.add(help);
      if (type !== undefined) typed.add(type);
      if (help !== undefined || type !== undefined) return [];
      const found = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(line);
      assert.ok(found, `not a sample: ${line}`);
      const [, name = '', inner = '', value] = found;
      assert.ok(helped.has(name) && typed.has(name), `${name} has no HELP or TYPE before it`);
      const labels = [...inner.matchAll(/([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/g)];
      assert.equal(labels.map(([all]) => all).join(''), inner, `not labels: ${inner}`);
      return [
        {
          name,
          labels: Object.fromEntries(labels.map(([, key, text]) => [key, text])),
          value: Number(value),
        },
      ];
    });
};

const until = async (what: () => Promise<boolean>): Promise<void> => {
  while (!(await what())) await sleep(50);
};

test('health, readiness, status, and what is not there', async () => {
  const { stage, port, running } = await start();
  await using _ = stage;
  for (const path of ['/healthz', '/readyz', '/healthz?verbose=1']) {
    const { code, text, type } = await ask(port, path);
    assert.deepEqual(
      [code, type, JSON.parse(text)],
      [200, 'application/json', { state: 'streaming', reason: null }],
    );
  }
  const { code, text } = await ask(port, '/status');
  const status = JSON.parse(text) as Record<string, unknown> & { tables: { table: string; end: number }[] };
  assert.deepEqual(
    [code, status.name, status.state, status.pid],
    [200, stage.name, 'streaming', running.child.pid],
  );
  assert.deepEqual(
    status.tables.map(({ table, end }) => [table, end]),
    [['public.items', 20]],
  );
  for (const path of ['/', '/nothing', '/../etc/passwd', '/metrics/', '/%00', '//status'])
    assert.equal((await ask(port, path)).code, 404, path);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const refused = await ask(port, '/status', method);
    assert.deepEqual([refused.code, refused.headers.get('allow')], [405, 'GET'], method);
  }
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0, 'it did not survive being asked');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('metrics: what wakes somebody at night', async () => {
  const { stage, port, running } = await start();
  await using _ = stage;
  const metric = async (name: string, labels: Record<string, string> = {}): Promise<number | undefined> => {
    const { code, text, type } = await ask(port, '/metrics');
    assert.deepEqual([code, type], [200, 'text/plain; version=0.0.4; charset=utf-8']);
    return parseMetrics(text).find(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )?.value;
  };
  const topic = `${stage.name}.public.items`;
  await stage.sql("update items set v = 'changed'");
  await until(async () => ((await metric('varve_folded_events_total', { topic })) ?? 0) >= 40);
  await until(async () => (await metric('varve_source_behind_bytes')) !== undefined);
  const { text } = await ask(port, '/metrics');
  const samples = parseMetrics(text);
  const value = (name: string, key = '', label = ''): number | undefined =>
    samples.find((sample) => sample.name === name && (key === '' || sample.labels[key] === label))?.value;
  assert.deepEqual(
    samples
      .filter(({ name, value: found }) => name === 'varve_state' && found === 1)
      .map(({ labels }) => labels.state),
    ['streaming'],
  );
  assert.equal(value('varve_info', 'pipeline', stage.name), 1);
  assert.equal(value('varve_captured_events_total'), 20);
  assert.equal(value('varve_table_waiting_records', 'topic', topic), 0);
  const now = Date.now() / 1000;
  for (const name of [
    'varve_last_checkpoint_timestamp_seconds',
    'varve_table_last_commit_timestamp_seconds',
  ]) {
    const at = value(name) ?? 0;
    assert.ok(at > now - 3600 && at <= now, `${name} ${at}`);
  }
  assert.ok((value('varve_topic_bytes') ?? 0) > 0);
  assert.ok((value('varve_capture_lag_seconds') ?? -1) >= 0);
  assert.ok((value('process_resident_memory_bytes') ?? 0) > 1e7);
  running.kill('SIGTERM');
  await running.finished;
});

test('a source that is away: alive, not ready, and why', async () => {
  await using own = await startPostgres({ major: 17 });
  const port = await pickPort();
  await using stage = await setStage(own, { extra: `http:\n  listen: 127.0.0.1:${port}\n` });
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await own.stop('fast');
  await running.saw(/"kind":"source_unreachable"/);
  const health = await ask(port, '/healthz');
  const ready = await ask(port, '/readyz');
  assert.deepEqual([health.code, ready.code], [200, 503]);
  assert.deepEqual(JSON.parse(ready.text), { state: 'retrying', reason: 'source_unreachable' });
  const samples = parseMetrics((await ask(port, '/metrics')).text);
  const retries = samples.find(
    ({ name, labels }) => name === 'varve_retries_total' && labels.kind === 'source_unreachable',
  );
  assert.ok((retries?.value ?? 0) >= 1);
  const status = JSON.parse((await ask(port, '/status')).text) as { state: string; sentence: string };
  assert.equal(status.state, 'retrying');
  assert.match(status.sentence, /Varve tries again by itself/);
  await own.start();
  await until(async () => (await ask(port, '/readyz')).code === 200);
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
});

test('a taken port and an open address are refused before anything is done', async () => {
  await using stage = await setStage(server);
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await amend(stage.pipeline, 'table:', `http:\n  listen: 127.0.0.1:${port}\ntable:`);
  const { stderr } = await stage.pipeline.run(RUN, 2);
  assert.match(
    stderr,
    new RegExp(`http\\.listen 127\\.0\\.0\\.1:${port}: .*EADDRINUSE.* Choose another port`),
  );
  await new Promise((resolve) => taken.close(resolve));
  let before = `127.0.0.1:${port}`;
  for (const listen of [
    '0.0.0.0:7077',
    '"[::]:7077"',
    'example.org:80',
    '127.0.0.1:70000',
    '10.0.0.1:7077',
    ':7077',
  ]) {
    await amend(stage.pipeline, `listen: ${before}`, `listen: ${listen}`);
    before = listen;
    assert.match((await stage.pipeline.run(RUN, 2)).stderr, /http\.listen: /, listen);
  }
  await amend(stage.pipeline, `listen: ${before}`, `listen: "[::1]:${port}"`);
  await stage.pipeline.run(UNTIL);
});
