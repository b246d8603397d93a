// Writers that race for the same version: exactly one wins each, the losers lose nothing but time, nobody's
// rows vanish.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { VarveError } from '../../../src/errors.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { loadTable, type TableIo } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { openLocalStore, toFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { append, dataFile, LOCATION, livePaths, makeWorld, newTable } from './table-world.ts';

const isConflict = (thrown: unknown): boolean =>
  thrown instanceof VarveError && thrown.kind === 'commit_conflict';

test('1000 races of three writers in one process: one winner per version', async () => {
  const world = makeWorld();
  await newTable(world);
  const rounds = 1000 / 2;
  const committed: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const base = await loadTable(world, LOCATION);
    assert.ok(base);
    const files = [dataFile(), dataFile(), dataFile()];
    const expire = { maxAgeMs: 0, minKeep: 2, maxKeep: 2 };
    const results = await Promise.allSettled(
      files.map((file) =>
        commit(world, base, { ...append([file]), expire, merge: { mergeAt: 20, maxBytes: 1 << 20 } }),
      ),
    );
    const winners = results.flatMap((result, at) => (result.status === 'fulfilled' ? [at] : []));
    assert.equal(winners.length, 1);
    for (const result of results) if (result.status === 'rejected') assert.ok(isConflict(result.reason));
    committed.push(files[winners[0] ?? 0]?.path ?? '');
  }
  const state = await loadTable(world, LOCATION);
  assert.ok(state);
  assert.equal(state.version, rounds + 1);
  assert.deepEqual(await livePaths(world, state), committed.sort());
});

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
