// Any run of commits leaves exactly the files that a plain set would hold, in a bounded number of manifests,
// with nothing written in vain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeAvroFile } from '../../src/sinks/parquet/iceberg/avro-file.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { parseMetadata, printMetadata } from '../../src/sinks/parquet/iceberg/metadata.ts';
import { liveFiles, loadTable } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { metadataFile } from '../../src/sinks/parquet/layout.ts';
import {
  dataFile,
  deletesOf,
  LOCATION,
  livePaths,
  makeWorld,
  newTable,
  nextSnapshotId,
} from '../sinks/iceberg/table-world.ts';

/** One step of a table's life: so many files more, some of the live ones less. */
const step = fc.record({
  add: fc.nat({ max: 3 }),
  deletes: fc.nat({ max: 2 }),
  remove: fc.array(fc.nat(), { maxLength: 2 }),
});

test('any run of commits: the files of a plain model, few manifests, nothing written in vain', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      fc.record({
        mergeAt: fc.integer({ min: 2, max: 5 }),
        maxBytes: fc.constantFrom(4000, 12_000, 8 << 20),
      }),
      async (steps, merge) => {
        const world = makeWorld();
        let state = await newTable(world);
        const model = new Map<string, { sequence: number; target: string | null }>();
        for (const { add, deletes, remove } of steps) {
          const live = await liveFiles(world.store, state);
          const data = [...live.values()].filter(({ content }) => content === 'data');
          const removed = new Set(
            remove.map((at) => data[at % data.length]).filter((one) => one !== undefined),
          );
          const targets = data.filter((one) => !removed.has(one)).slice(0, deletes);
          const its = [...live.values()].filter((one) =>
            [...removed].some(({ path }) => one.referencedDataFile === path),
          );
          const added = [
            ...Array.from({ length: add }, () => dataFile()),
            ...targets.map((one) => deletesOf(one)),
          ];
          const change = {
            id: nextSnapshotId(),
            operation: 'overwrite' as const,
            add: added,
            remove: [...removed, ...its],
            summary: {},
          };
          state = await commit(world, state, { snapshot: change, merge });
          for (const one of change.remove) model.delete(one.path);
          const sequence = state.metadata['last-sequence-number'];
          for (const one of added) model.set(one.path, { sequence, target: one.referencedDataFile });
        }
        const read = await loadTable(world, LOCATION);
        assert.ok(read);
        const found = await liveFiles(world.store, read);
        assert.deepEqual(
          new Map(
            [...found]
              .map(([path, one]) => [path, { sequence: one.sequence, target: one.referencedDataFile }])
              .sort() as never,
          ),
          new Map([...model].sort()),
        );
        if (merge.maxBytes > 1_000_000) assert.ok(read.manifests.length < 2 * merge.mergeAt);
        for (const manifest of read.manifests) assert.ok(manifest.minSequence <= manifest.sequence);
        assert.deepEqual(await unreferenced(world, read.version), []);
        assert.equal((await livePaths(world, read)).length, model.size);
      },
    ),
    { numRuns: 40 },
  );
});

/** Manifests and lists on the store that no version speaks of. */
const unreferenced = async (world: ReturnType<typeof makeWorld>, newest: number): Promise<string[]> => {
  const known = new Set<string>();
  for (let version = 1; version <= newest; version++) {
    const uri = metadataFile(LOCATION, version);
    const metadata = parseMetadata((await world.store.read(uri)) ?? new Uint8Array(), uri);
    for (const snapshot of metadata.snapshots) {
      known.add(snapshot['manifest-list']);
      const rows = decodeAvroFile(
        (await world.store.read(snapshot['manifest-list'])) ?? new Uint8Array(),
        new Map(),
        (row: Record<string, string>) => row['500'] ?? '',
      );
      for (const path of rows) known.add(path);
    }
  }
  const found: string[] = [];
  for await (const { uri } of world.store.list(`${LOCATION}/metadata/`))
    if (uri.endsWith('.avro') && !known.has(uri)) found.push(uri);
  return found;
};

test('metadata with 63-bit numbers reads and prints without losing a digit', () => {
  fc.assert(
    fc.asyncProperty(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), async (id) => {
      const world = makeWorld();
      await newTable(world);
      const text = Buffer.from((await world.store.read(metadataFile(LOCATION, 1))) ?? '').toString();
      const edited = text.replace('"current-snapshot-id":-1', `"current-snapshot-id":${id}`);
      const printed = Buffer.from(printMetadata(parseMetadata(Buffer.from(edited), 'x'))).toString();
      assert.ok(
        printed.includes(`"current-snapshot-id":${id},`) || printed.includes(`"current-snapshot-id":${id}}`),
      );
    }),
  );
});
