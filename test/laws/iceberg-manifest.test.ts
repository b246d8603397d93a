// Manifests: what is encoded is decoded, damage is named, and any run of commits leaves exactly the files
// that a plain set would hold, in a bounded number of manifests, with nothing written in vain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { VarveError } from '../../src/errors.ts';
import { decodeAvroFile, encodeAvroFile } from '../../src/sinks/parquet/iceberg/avro-file.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import {
  decodeManifest,
  encodeManifest,
  type ManifestEntry,
} from '../../src/sinks/parquet/iceberg/manifest.ts';
import { describeManifest } from '../../src/sinks/parquet/iceberg/manifest-list.ts';
import {
  avroName,
  entrySchema,
  MANIFEST_LIST_SCHEMA,
} from '../../src/sinks/parquet/iceberg/manifest-schema.ts';
import { parseMetadata, printMetadata } from '../../src/sinks/parquet/iceberg/metadata.ts';
import { liveFiles, loadTable } from '../../src/sinks/parquet/iceberg/table-state.ts';
import type { ColumnStats, LiveFile, PartitionSpec } from '../../src/sinks/parquet/iceberg-type.ts';
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

const SPEC: PartitionSpec = {
  specId: 3,
  fields: [
    { fieldId: 1000, sourceId: 4, name: 'is_current', transform: 'identity' },
    { fieldId: 1001, sourceId: 1, name: 'pk-bucket', transform: 'bucket[16]' },
  ],
};
const SYNC = new Uint8Array(16).fill(7);
const CONTEXT = {
  schemaId: 0,
  schemaJson: '{"type":"struct"}',
  spec: SPEC,
  typeOf: (id: number) => (id === 4 ? ('boolean' as const) : ('long' as const)),
  sync: SYNC,
};

const count = fc.maxSafeNat();
const bound = fc.option(fc.uint8Array({ maxLength: 20 }), { nil: undefined });
const stats: fc.Arbitrary<ColumnStats> = fc
  .tuple(count, count, count, bound, bound)
  .map(([bytes, values, nulls, lower, upper]) => ({
    bytes,
    values,
    nulls,
    ...(lower && { lower }),
    ...(upper && { upper }),
  }));
const file = fc.record({
  content: fc.constantFrom('data' as const, 'position_deletes' as const),
  path: fc.string({ unit: 'grapheme' }),
  specId: fc.constant(3),
  partition: fc.tuple(fc.option(fc.boolean()), fc.option(fc.nat({ max: 15 }))),
  records: count,
  bytes: count,
  stats: fc.array(fc.tuple(fc.nat({ max: 5000 }), stats)).map((pairs) => new Map(pairs)),
  referencedDataFile: fc.option(fc.webUrl()),
  sequence: fc.nat(),
  fileSequence: fc.nat(),
  snapshotId: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
}) as fc.Arbitrary<LiveFile>;
const entry = fc.record({
  status: fc.constantFrom('existing' as const, 'added' as const, 'deleted' as const),
  file,
});

const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, one) => {
      if (one instanceof Uint8Array) return [...one];
      if (one instanceof Map) return [...one].sort();
      return typeof one === 'bigint' ? `${one}n` : one;
    }),
  );

/** Encodes with the snapshot's number, and reads back as of a list that says it. */
const roundTrip = (entries: readonly ManifestEntry[], sequence: number): readonly ManifestEntry[] => {
  const bytes = encodeManifest(entries, 'data', { ...CONTEXT, sequence });
  const identity = {
    path: 'm',
    bytes: bytes.length,
    content: 'data' as const,
    spec: SPEC,
    sequence,
    snapshotId: 5n,
  };
  return decodeManifest(bytes, describeManifest(entries, identity), SPEC);
};

test('entries survive the file', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), fc.nat(), (made, sequence) => {
      // An added file is written by this snapshot.
      const entries = made.map((one): ManifestEntry => {
        const added = one.status === 'added' ? { fileSequence: sequence } : {};
        const referencedDataFile = one.file.content === 'data' ? null : one.file.referencedDataFile;
        return { ...one, file: { ...one.file, ...added, referencedDataFile } };
      });
      assert.deepEqual(plain(roundTrip(entries, sequence)), plain(entries));
    }),
  );
});

test('many entries go into several blocks', () => {
  const entries = Array.from({ length: 2500 }, (): ManifestEntry => {
    const made = { ...dataFile({ specId: 3 }), sequence: 4, fileSequence: 4, snapshotId: 5n };
    return { status: 'added', file: made };
  });
  assert.equal(roundTrip(entries, 4).length, 2500);
});

const sample = (): Uint8Array => {
  const made = { ...dataFile({ specId: 3 }), sequence: 4, fileSequence: 4, snapshotId: 5n };
  return encodeManifest([{ status: 'added', file: made }], 'data', { ...CONTEXT, sequence: 4 });
};

const isTold = (run: () => unknown): void => {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof VarveError) || !/^table_/.test(thrown.kind)) throw thrown;
  }
};

test('a damaged file is named as such: it never crashes, hangs or asks for much memory', () => {
  const good = sample();
  const manifest = describeManifest([], {
    path: 'm',
    bytes: 1,
    content: 'data',
    spec: SPEC,
    sequence: 4,
    snapshotId: 5n,
  });
  for (let length = 0; length < good.length; length++)
    assert.throws(
      () => decodeManifest(good.slice(0, length), manifest, SPEC).concat([]).length || never(),
      VarveError,
    );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), {
        minLength: 1,
        maxLength: 4,
      }),
      (edits) => {
        const bad = good.slice();
        for (const [at, byte] of edits) bad[at] = byte;
        isTold(() => decodeManifest(bad, manifest, SPEC));
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => isTold(() => decodeAvroFile(bytes, new Map()))),
  );
});

/** A file that was cut exactly behind its header is whole, and holds nothing. */
const never = (): never => {
  throw new VarveError('table_corrupt', 'no rows');
};

test('packed blocks, negative block counts and other field names are read as other writers make them', () => {
  const schema = {
    type: 'record' as const,
    name: 'r',
    fields: [{ name: 'renamed_by_java', type: 'long', 'field-id': 500 }],
  };
  const names = new Map([[500, 'ours']]);
  const bytes = encodeAvroFile([{ ours: 3 }, { ours: 2n ** 62n }], { schema, names, header: {}, sync: SYNC });
  assert.deepEqual(plain(decodeAvroFile(bytes, names)), [{ ours: '3n' }, { ours: `${2n ** 62n}n` }]);
  const at = Buffer.from(bytes).indexOf(Buffer.from(SYNC));
  const [header, block] = [bytes.slice(0, at + 16), bytes.slice(at + 18, -16)];
  const text = Buffer.from(header)
    .toString('latin1')
    .replace('avro.codec\u0008null', 'avro.codec\u000edeflate');
  const packed = deflateRawSync(block);
  const deflated = Buffer.concat([
    Buffer.from(text, 'latin1'),
    Buffer.of(4, packed.length * 2),
    packed,
    SYNC,
  ]);
  assert.deepEqual(plain(decodeAvroFile(deflated, names)), [{ ours: '3n' }, { ours: `${2n ** 62n}n` }]);
  const snappy = Buffer.from(text.replace('\u000edeflate', '\u000csnappy'), 'latin1');
  assert.throws(
    () => decodeAvroFile(snappy, names),
    (thrown) => (thrown as VarveError).kind === 'table_foreign',
  );
});

test('every Avro field has its id, int-keyed maps their logical type, and names are what Avro allows', () => {
  const schemas = [entrySchema(SPEC, CONTEXT.typeOf), MANIFEST_LIST_SCHEMA];
  const seen = new Set<number>();
  const walk = (type: unknown): void => {
    if (Array.isArray(type)) for (const branch of type) walk(branch);
    if (Array.isArray(type) || typeof type !== 'object' || type === null) return;
    const { name, fields, items, logicalType, 'element-id': element } = type as Record<string, unknown>;
    if (name !== undefined) assert.match(String(name), /^[A-Za-z_][A-Za-z0-9_]*$/);
    for (const field of (fields ?? []) as {
      name: string;
      type: unknown;
      'field-id'?: number;
      default?: null;
    }[]) {
      assert.match(field.name, /^[A-Za-z_][A-Za-z0-9_]*$/);
      const id = field['field-id'];
      assert.ok(id !== undefined && !seen.has(id), `${field.name} has no id of its own`);
      seen.add(id);
      if (Array.isArray(field.type)) assert.deepEqual([field.type[0], field.default], ['null', null]);
      walk(field.type);
    }
    if (items === undefined) return;
    const isMap = (items as { name?: string }).name?.startsWith('k') === true;
    assert.ok(isMap ? logicalType === 'map' : element !== undefined, 'a list without element id');
    walk(items);
  };
  for (const schema of schemas) walk(schema);
  assert.ok(seen.size > 40);
  assert.equal(avroName('pk-bucket'), 'pk_x2Dbucket');
  assert.equal(avroName('9lives'), '_9lives');
});

test('the header says what readers ask of it', () => {
  const text = Buffer.from(sample()).toString('latin1');
  for (const part of [
    '"field-id":102',
    'partition-spec',
    '[{"name":"is_current","transform":"identity","source-id":4,"field-id":1000},{"name":"pk-bucket"',
    'partition-spec-id\u00023',
    'format-version\u00022',
    'content\u0008data',
    'schema-id\u00020',
  ])
    assert.ok(text.includes(part), part);
});

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
      );
      for (const row of rows) known.add((row as Record<string, string>)['500'] ?? '');
    }
  }
  const found: string[] = [];
  for await (const { uri } of world.store.list(`${LOCATION}/metadata/`))
    if (uri.endsWith('.avro') && !known.has(uri)) found.push(uri);
  return found;
};
