// A thousand races on a real disk and in a real object store: of the writers that commit the same version,
// each by a store of its own, exactly one wins every time, and nobody's rows vanish.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { loadTable, type TableIo } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import type { Store } from '../../../src/sinks/parquet/store.ts';
import { openLocalStore, toFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { openTestStore, S3_ENVIRONMENT, startS3 } from '../../support/s3.ts';
import { append, dataFile, livePaths, newTable } from './table-world.ts';

const RACES = 1000;
const WRITERS = 2;

const isConflict = (thrown: unknown): boolean =>
  thrown instanceof VarveError && thrown.kind === 'commit_conflict';

const race = async (location: string, openStore: () => Store): Promise<void> => {
  const ios = Array.from({ length: WRITERS }, (): TableIo => {
    return { store: openStore(), now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  });
  const [first] = ios as [TableIo];
  const committed: string[] = [];
  let base = await newTable(first, location);
  for (let round = 0; round < RACES; round++) {
    const files = ios.map(() => dataFile({ path: `${location}/data/${randomUUID()}.parquet` }));
    const expire = { maxAgeMs: 0, minKeep: 2, maxKeep: 2 };
    const merge = { mergeAt: 20, maxBytes: 1 << 20 };
    const results = await Promise.allSettled(
      ios.map((io, at) => commit(io, base, { ...append([files[at] ?? dataFile()]), expire, merge })),
    );
    const winners = results.flatMap((result, at) => (result.status === 'fulfilled' ? [at] : []));
    assert.equal(winners.length, 1, `race ${round} has ${winners.length} winners`);
    for (const result of results)
      if (result.status === 'rejected') assert.ok(isConflict(result.reason), String(result.reason));
    committed.push(files[winners[0] ?? 0]?.path ?? '');
    // The loser of one race is first to read what the next one stands on.
    const reader = ios[1 - (winners[0] ?? 0)] ?? first;
    const loaded = await loadTable(reader, location, base);
    assert.ok(loaded);
    assert.equal(loaded.version, round + 2);
    base = loaded;
  }
  assert.deepEqual(await livePaths(first, base), committed.sort());
};

test(`${RACES} races on a disk: one winner each`, async () => {
  const directory = await mkdtemp(`${tmpdir()}/varve-races-`);
  try {
    const location = `${toFileUri(directory)}/public/orders`;
    await race(location, () => openLocalStore(directory, { uuid: randomUUID }));
  } finally {
    await rm(directory, { recursive: true });
  }
});

test(`${RACES} races in an object store: one winner each`, async () => {
  Object.assign(process.env, S3_ENVIRONMENT);
  await using s3 = await startS3();
  using stores = new DisposableStack();
  const root = `s3://${s3.bucket}/races`;
  await race(`${root}/public/orders`, () => {
    const store = openTestStore(root, { s3: { endpoint: s3.endpoint }, copies: null });
    stores.defer(() => store.close());
    return store;
  });
});
