// What a run tells of itself: metrics in Prometheus' form, where it stands, retries that end, and no secret
// in any of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../src/errors.ts';
import { CAPTURE, Progress, type Standing } from '../../src/progress.ts';
import { retrying, TRIES_TO_END } from '../../src/retry.ts';
import { makeScrub, secretsIn } from '../../src/secrets.ts';
import { makeTelemetry } from '../../src/telemetry.ts';

const silent = { level: 'info', stream: { write: () => undefined } };
const away = new VarveError('source_unreachable', 'Nobody answers.');
const lost = new VarveError('engine_failed', 'The engine is gone.');

test('labels are escaped, each metric is explained once', () => {
  const telemetry = makeTelemetry(silent);
  telemetry.count('varve_retries_total', 1, { kind: 'a "quoted" \\ and\nbroken' });
  telemetry.count('varve_retries_total', 2, { kind: 'a "quoted" \\ and\nbroken' });
  telemetry.count('varve_retries_total', 1, { kind: 'other' });
  telemetry.gauge('varve_topic_bytes', 5);
  telemetry.gauge('varve_topic_bytes', 7);
  assert.equal(
    telemetry.render(),
    `# HELP varve_retries_total Failures that were tried again, by kind.
# TYPE varve_retries_total counter
varve_retries_total{kind="a \\"quoted\\" \\\\ and\\nbroken"} 3
varve_retries_total{kind="other"} 1
# HELP varve_topic_bytes Size of the topic on disk.
# TYPE varve_topic_bytes gauge
varve_topic_bytes 7
`,
  );
});

test('it stands at retrying as long as one half does', () => {
  const told: Standing[] = [];
  const progress = new Progress(makeTelemetry(silent), Date.now, {
    onStanding: (standing) => told.push(standing),
  });
  progress.step('streaming');
  progress.retrying(CAPTURE, away, 1);
  progress.retrying('shop.public.items', lost, 1);
  progress.recovered(CAPTURE);
  assert.deepEqual(progress.standing, { state: 'retrying', reason: 'engine_failed', sentence: lost.message });
  progress.recovered('shop.public.items');
  progress.recovered('shop.public.items');
  assert.deepEqual(progress.standing, { state: 'streaming', reason: null, sentence: null });
  assert.deepEqual(
    told.map(({ state, reason }) => [state, reason]),
    [
      ['retrying', 'source_unreachable'],
      ['retrying', 'source_unreachable'],
      ['streaming', null],
    ],
  );
  progress.retrying(CAPTURE, away, 1);
  progress.ended(null);
  assert.deepEqual(progress.standing, { state: 'stopped', reason: null, sentence: null });
  progress.ended(lost);
  const { reason } = progress.standing;
  assert.equal(reason, 'engine_failed');
});

test('a run that must end gives up after bounded tries, and progress begins the count anew', async () => {
  // Far below what a random number can be, so that a pause is this part of a full one.
  const part = 1 / 1024;
  let runs = 0;
  let done = 0;
  const pauses: number[] = [];
  const run = async (): Promise<void> => {
    runs++;
    if (runs === 3) done++;
    throw away;
  };
  const options = {
    tries: TRIES_TO_END,
    progress: () => done,
    onRetry: (_: VarveError, pauseMs: number) => pauses.push(pauseMs / part),
    random: () => 2 * part - 1,
  };
  await assert.rejects(retrying(run, options, new AbortController().signal), away);
  assert.equal(runs, 2 + TRIES_TO_END);
  assert.deepEqual(pauses, [500, 1000, 500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
});

test('what no waiting mends is thrown at once', async () => {
  const gone = new VarveError('log_missing', 'Gone.');
  let runs = 0;
  const run = async (): Promise<void> => {
    runs++;
    throw gone;
  };
  const options = {
    tries: 8,
    progress: () => 0,
    onRetry: () => assert.fail('it was tried again'),
    random: () => 1,
  };
  await assert.rejects(retrying(run, options, new AbortController().signal), gone);
  assert.equal(runs, 1);
});

test('secrets are found in urls and under their keys, and taken out in every form', () => {
  const source = {
    url: 'postgres://u:p%40ss@h/d',
    password: 'a"b',
    tls: { key: 'PEM', ca: 'public' },
    tables: ['x'],
  };
  const secrets = secretsIn({ source, name: 'shop' });
  assert.deepEqual(secrets.sort(), ['PEM', 'a"b', 'p%40ss', 'p@ss']);
  const scrub = makeScrub([...secrets, source.url]);
  assert.equal(
    scrub(`${source.url} p@ss p%40ss ${JSON.stringify({ text: 'a"b' })}`),
    '*** *** *** {"text":"***"}',
  );
  assert.equal(makeScrub(['abc', 'abcdef'])('abcdef'), '***');
});
