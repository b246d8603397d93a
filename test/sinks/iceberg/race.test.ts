// Writers that race for the same version: exactly one wins each, the losers lose nothing but time, nobody's
// rows vanish.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { loadTable } from '../../../src/sinks/parquet/iceberg/table-state.ts';
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
