// Manifests: what is encoded is decoded, damage is named, and any run of commits leaves exactly the files
// that a plain set would hold, in a bounded number of manifests, with nothing written in vain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { VarveError } from '../../src/errors.ts';
import { decodeAvroFile, encodeAvroFile } from '../../src/sinks/parquet/iceberg/avro-file.ts';
import {
  decodeManifest,
  encodeManifest,
  type ManifestEntry,
} from '../../src/sinks/parquet/iceberg/manifest.ts';
import {
  decodeManifestList,
  describeManifest,
  encodeManifestList,
} from '../../src/sinks/parquet/iceberg/manifest-list.ts';
import {
  avroName,
  entrySchema,
  MANIFEST_LIST_SCHEMA,
} from '../../src/sinks/parquet/iceberg/manifest-schema.ts';
import type { ColumnStats, LiveFile, PartitionSpec } from '../../src/sinks/parquet/iceberg-type.ts';
import { dataFile } from '../sinks/iceberg/table-world.ts';

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

const same = (row: object): object => row;
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
    typeOf: CONTEXT.typeOf,
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

const MANIFEST = describeManifest([], {
  path: 'm',
  bytes: 1,
  content: 'data',
  spec: SPEC,
  typeOf: CONTEXT.typeOf,
  sequence: 4,
  snapshotId: 5n,
});

const isTold = (run: () => unknown): void => {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof VarveError) || !/^table_/.test(thrown.kind)) throw thrown;
  }
};

test('a damaged file is named as such: it never crashes, hangs or asks for much memory', () => {
  const good = sample();
  for (let length = 0; length < good.length; length++)
    assert.throws(
      () => decodeManifest(good.slice(0, length), MANIFEST, SPEC).concat([]).length || never(),
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
        isTold(() => decodeManifest(bad, MANIFEST, SPEC));
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
      isTold(() => decodeAvroFile(bytes, new Map(), same)),
    ),
  );
});

test('a schema that was damaged into another one is named as well', () => {
  const text = Buffer.from(sample()).toString('latin1');
  const damaged = [
    text.replace('"field-id":0', '"field-id":9'),
    text.replace('"field-id":2', '"field-id":9'),
    // The status is a whole data file, and the data file a number.
    text.replace('"field-id":0', '"field-id":#').replace('"field-id":2', '"field-id":0').replace('#', '2'),
  ];
  for (const bad of damaged) {
    assert.notEqual(bad, text);
    assert.equal(bad.length, text.length);
    assert.throws(() => decodeManifest(Buffer.from(bad, 'latin1'), MANIFEST, SPEC), {
      kind: 'table_corrupt',
    });
  }
});

test('a manifest list whose schema was damaged is named as such', () => {
  const spec = { ...CONTEXT, path: 'm', bytes: 1, content: 'data', sequence: 4, snapshotId: 5n } as const;
  const snapshot = { id: 5n, parent: null, sequence: 4 };
  const good = encodeManifestList([describeManifest([], spec)], snapshot, new Uint8Array(16));
  assert.equal(decodeManifestList(good)[0]?.path, 'm');
  const text = Buffer.from(good).toString('latin1');
  const bad = text.replace('"field-id":503', '"field-id":999');
  assert.notEqual(bad, text);
  assert.throws(() => decodeManifestList(Buffer.from(bad, 'latin1')), { kind: 'table_corrupt' });
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
  assert.deepEqual(plain(decodeAvroFile(bytes, names, same)), [{ ours: '3n' }, { ours: `${2n ** 62n}n` }]);
  const at = Buffer.from(bytes).indexOf(Buffer.from(SYNC));
  const [header, packed] = [bytes.slice(0, at + 16), bytes.slice(at + 18, -16)];
  const text = Buffer.from(header).toString('latin1');
  const block = inflateRawSync(packed);
  const unpacked = Buffer.concat([
    Buffer.from(text.replace('avro.codec\u000edeflate', 'avro.codec\u0008null'), 'latin1'),
    Buffer.of(4, block.length * 2),
    block,
    SYNC,
  ]);
  assert.deepEqual(plain(decodeAvroFile(unpacked, names, same)), [{ ours: '3n' }, { ours: `${2n ** 62n}n` }]);
  const snappy = Buffer.from(text.replace('\u000edeflate', '\u000csnappy'), 'latin1');
  assert.throws(
    () => decodeAvroFile(snappy, names, same),
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
