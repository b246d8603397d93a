// Processes that race for the versions of one table on one disk: every commit that was answered is in it,
// once.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadTable, type TableIo } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { openLocalStore, toFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { livePaths, newTable } from './table-world.ts';

const writer = fileURLToPath(new URL('./race-writer.ts', import.meta.url));

test('processes that race on one disk: every commit that was answered is in the table, once', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-race-'));
  try {
    const io: TableIo = {
      store: openLocalStore(directory, { uuid: randomUUID }),
      now: Date.now,
      uuid: randomUUID,
      onHintFailure: (thrown) => assert.fail(String(thrown)),
    };
    const location = `${toFileUri(directory)}/public/orders`;
    await newTable(io, location);
    const run = (name: string): Promise<string[]> =>
      new Promise((resolve, reject) => {
        const child = spawn(process.execPath, [writer, directory, location, name, '25'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let out = '';
        child.stdout.on('data', (part) => {
          out += part;
        });
        child.on('error', reject);
        child.on('exit', (code) =>
          code === 0 ? resolve(out.trim().split('\n')) : reject(new Error(`${name}: ${code}`)),
        );
      });
    const answered = (await Promise.all([run('a'), run('b'), run('c')])).flat();
    assert.equal(answered.length, 75);
    const state = await loadTable(io, location);
    assert.ok(state);
    assert.equal(state.version, 76);
    assert.deepEqual(await livePaths(io, state), answered.sort());
  } finally {
    await rm(directory, { recursive: true });
  }
});
