// That workers which share a place for their scratch folders leave each other alone, and clear away what
// nobody needs any more.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openScratch } from '../../../src/sinks/parquet/scratch.ts';

const DAY_MS = 24 * 3_600_000;

test('what living workers have stays, on this machine and on others; the rest goes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-workers-'));
  const folder = join(directory, '.varve-scratch-p');
  const make = async (name: string, ageMs = 0): Promise<void> => {
    await mkdir(join(folder, name), { recursive: true });
    const at = new Date(Date.now() - ageMs);
    await utimes(join(folder, name), at, at);
  };
  try {
    // No process has the second number: Linux gives none so large.
    await make(`${hostname()}-${process.ppid}-alive1`, 10 * DAY_MS);
    await make(`${hostname()}-1073741824-dead11`);
    await make(`${hostname()}-${process.pid}-before`);
    await make('another-host-7-young1', DAY_MS / 2);
    await make('another-host-8-silent', 2 * DAY_MS);
    await make('engine-of-old-times');
    const scratch = await openScratch(directory, 'p');
    const kept = [`${hostname()}-${process.ppid}-alive1`, 'another-host-7-young1'];
    const own = scratch.path.slice(folder.length + 1);
    assert.deepEqual((await readdir(folder)).sort(), [...kept, own].sort());
    await scratch.close();
    assert.deepEqual((await readdir(folder)).sort(), kept.sort());
  } finally {
    await rm(directory, { recursive: true });
  }
});
