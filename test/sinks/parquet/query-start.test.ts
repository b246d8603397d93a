// The engine that is started before anybody asks: it is the one that is asked then, and where nobody asks, it
// neither keeps its process alive nor outlives it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startEarly, takeEngine } from '../../../src/sinks/parquet/query-start.ts';
import { until } from '../../support/polling.ts';

const MODULE = new URL('../../../src/sinks/parquet/query-start.ts', import.meta.url).href;

test('what was started early is taken once, and ends although nothing was asked', async () => {
  startEarly();
  startEarly();
  await using first = takeEngine().engine;
  await using second = takeEngine().engine;
  const { pid } = first;
  assert.notEqual(pid, null);
  assert.equal(second.pid, null);
  await first[Symbol.asyncDispose]();
  assert.equal(first.pid, null);
  assert.equal(existsSync(`/proc/${pid}`), false);
});

test('a process that asks nothing ends by itself, and its engine with it', async () => {
  const program = `import { startEarly, takeEngine } from '${MODULE}';
    startEarly();
    console.log(takeEngine().engine.pid);`;
  const args = ['--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  assert.match(stdout, /^[0-9]+\n$/);
  await until(async () => !existsSync(`/proc/${stdout.trim()}`));
});
