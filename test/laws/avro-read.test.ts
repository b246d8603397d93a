// The reader against an independent writer of Avro, over random schemas and values; and against damage.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VarveError } from '../../src/errors.ts';
import { type AvroValue, compileReader, readSchemaId } from '../../src/topic/avro-read.ts';
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import { avroType } from '../support/avsc.ts';

/** A schema, a value in our form, and the same in the form that avsc takes (unions name their branch). */
type Sample = { schema: unknown; branch: string; ours: AvroValue; theirs: unknown };

const sample = (schema: unknown, branch: string, values: Pick<Sample, 'ours' | 'theirs'>): Sample => ({
  schema,
  branch,
  ...values,
});

const plain = <Value extends AvroValue>(name: string, values: fc.Arbitrary<Value>): fc.Arbitrary<Sample> =>
  values.map((value) => sample(name, name, { ours: value, theirs: value }));

const leaf = fc.oneof(
  plain('null', fc.constant(null)),
  plain('boolean', fc.boolean()),
  plain('int', fc.integer()),
  plain('long', fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(-70n, 70n))),
  plain('long', fc.bigInt(-(2n ** 57n), 2n ** 57n)),
  plain('float', fc.float()),
  plain('double', fc.double()),
  plain('string', fc.string({ unit: 'binary', maxLength: 40 })),
  fc
    .uint8Array({ maxLength: 40 })
    .map((value) => sample('bytes', 'bytes', { ours: value, theirs: Buffer.from(value) })),
);

let names = 0;
const fresh = (): string => `N${names++}`;

const named: fc.Arbitrary<Sample> = fc.oneof(
  fc.nat(2).map((at) => {
    const name = fresh();
    const symbol = 'ABC'.charAt(at);
    return sample({ type: 'enum', name, symbols: ['A', 'B', 'C'] }, name, { ours: symbol, theirs: symbol });
  }),
  fc.uint8Array({ minLength: 1, maxLength: 9 }).map((value) => {
    const name = fresh();
    const values = { ours: value, theirs: Buffer.from(value) };
    return sample({ type: 'fixed', name, size: value.length }, name, values);
  }),
);

/** An object without a prototype, as the reader makes them. */
const bare = (entries: Iterable<readonly [string, AvroValue]>): { [key: string]: AvroValue } =>
  Object.assign(Object.create(null), Object.fromEntries(entries));

const fieldNames = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'toString', '_1'), { maxLength: 4 });

/** Values that take no bytes cannot be items of an array. */
const isEmpty = (schema: unknown): boolean => {
  if (schema === 'null') return true;
  const { fields } = schema as { fields?: { type: unknown }[] };
  return fields?.every(({ type }) => isEmpty(type)) ?? false;
};

const arrayOf = (item: Sample, count: number): Sample => {
  if (isEmpty(item.schema)) return item;
  const ours = Array.from({ length: count }, () => item.ours);
  const theirs = ours.map(() => item.theirs);
  return sample({ type: 'array', items: item.schema }, 'array', { ours, theirs });
};

const mapOf = (item: Sample, keys: string[]): Sample => {
  const ours = bare(keys.map((key) => [key, item.ours] as const));
  const theirs = Object.fromEntries(keys.map((key) => [key, item.theirs]));
  return sample({ type: 'map', values: item.schema }, 'map', { ours, theirs });
};

const unionOf = (item: Sample, form: number): Sample => {
  const { schema, branch } = item;
  if (Array.isArray(schema) || branch === 'null') return item;
  if (form === 0) return sample(['null', schema], 'union', { ours: null, theirs: null });
  const other = { type: 'fixed', name: fresh(), size: 3 };
  const union = [
    ['null', schema],
    [schema, 'null'],
    ['null', schema, other],
    [other, schema],
  ][form - 1];
  return sample(union, 'union', { ours: item.ours, theirs: { [branch]: item.theirs } });
};

const recordOf = (fields: string[], parts: Sample[]): Sample => {
  const name = fresh();
  const pairs = fields.map((field, at) => [field, parts[at] as Sample] as const);
  const schema = pairs.map(([field, part]) => ({ name: field, type: part.schema }));
  return sample({ type: 'record', name, fields: schema }, name, {
    ours: bare(pairs.map(([field, { ours }]) => [field, ours] as const)),
    theirs: Object.fromEntries(pairs.map(([field, { theirs }]) => [field, theirs])),
  });
};

const { any } = fc.letrec<{ any: Sample }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    leaf,
    named,
    fc.tuple(tie('any'), fc.nat(3)).map(([item, count]) => arrayOf(item, count)),
    fc
      .tuple(tie('any'), fc.uniqueArray(fc.string(), { maxLength: 3 }))
      .map(([item, keys]) => mapOf(item, keys)),
    fc.tuple(tie('any'), fc.nat(4)).map(([item, form]) => unionOf(item, form)),
    fc
      .tuple(fieldNames, fc.array(tie('any'), { minLength: 4, maxLength: 4 }))
      .map(([f, p]) => recordOf(f, p)),
  ),
}));

const read = (schema: unknown, bytes: Uint8Array, options = {}): AvroValue =>
  compileReader(JSON.stringify(schema), options)(bytes, 0, bytes.length);

test('what another implementation writes is read back', () => {
  fc.assert(
    fc.property(any, ({ schema, ours, theirs }) => {
      const bytes = Uint8Array.from(avroType(schema).toBuffer(theirs));
      assert.deepEqual(read(schema, bytes), ours);
    }),
    { numRuns: 400 },
  );
});

test('a value is read from the middle of a buffer, and a skipped field moves nothing', () => {
  fc.assert(
    fc.property(any, any, ({ schema, ours, theirs }, skipped) => {
      const fields = [
        { name: 'skipped', type: skipped.schema },
        { name: 'kept', type: schema },
      ];
      const record = { type: 'record', name: fresh(), fields };
      const bytes = avroType(record).toBuffer({ skipped: skipped.theirs, kept: theirs });
      const padded = Uint8Array.from([9, 9, ...bytes, 9]);
      const skip = (path: string): boolean => path === 'skipped';
      const readRecord = compileReader(JSON.stringify(record), { skip });
      assert.deepEqual(
        readRecord(padded, 2, padded.length - 1),
        bare([
          ['skipped', null],
          ['kept', ours],
        ]),
      );
    }),
    { numRuns: 200 },
  );
});

test('damaged bytes are refused or read as something else, and never more than that', () => {
  fc.assert(
    fc.property(any, fc.nat(), fc.nat(255), ({ schema, theirs }, at, byte) => {
      const bytes = Uint8Array.from(avroType(schema).toBuffer(theirs));
      const cut = bytes.slice(0, bytes.length === 0 ? 0 : at % bytes.length);
      bytes[at % Math.max(1, bytes.length)] = byte;
      for (const damaged of [bytes, cut]) {
        try {
          read(schema, damaged);
        } catch (error) {
          assert.ok(error instanceof VarveError && error.kind === 'record_corrupt', String(error));
        }
      }
    }),
    { numRuns: 400 },
  );
});

test('every long is read back as it was written', () => {
  const out = new ByteWriter(16);
  fc.assert(
    fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.nat(63), (value, shift) => {
      const long = value >> BigInt(shift);
      out.pos = 0;
      out.bigLong(long);
      const bytes = out.bytes.slice(0, out.pos);
      assert.equal(read('long', bytes), long);
      if (Number.isSafeInteger(Number(long))) {
        out.pos = 0;
        out.long(Number(long));
        assert.deepEqual(out.bytes.slice(0, out.pos), bytes);
      }
      assert.deepEqual(Uint8Array.from(avroType('long').toBuffer(long)), bytes);
    }),
    { numRuns: 1000 },
  );
});

test('a text keeps its first character, be it a byte order mark', () => {
  for (const text of ['\ufeffshort', `\ufeff${'long'.repeat(20)}`]) {
    assert.equal(read('string', Uint8Array.from(avroType('string').toBuffer(text))), text);
  }
});

test('a type may name itself', () => {
  const fields = [{ name: 'next', type: ['null', 'List'] }];
  assert.deepEqual(
    read({ type: 'record', name: 'List', fields }, Uint8Array.of(2, 2, 0)),
    bare([['next', bare([['next', bare([['next', null]])]])]]),
  );
});

test('records become arrays in field order on request', () => {
  const schema = { type: 'record', name: 'R', fields: ['b', 'a'].map((name) => ({ name, type: 'int' })) };
  assert.deepEqual(read(schema, Uint8Array.of(2, 4), { records: 'arrays' }), [1, 2]);
});

test('what cannot have been written is refused', () => {
  const items = { type: 'array', items: 'int' };
  const hostile: [unknown, number[]][] = [
    [items, [0xfe, 0xff, 0xff, 0xff, 0x0f]],
    [{ type: 'array', items }, [4, 4, 4, 4, 4, 4, 4]],
    ['int', [0xff, 0xff, 0xff, 0xff, 0x7f]],
    ['long', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]],
    ['bytes', [0x01]],
    [
      ['null', 'int'],
      [4, 0],
    ],
    ['int', [0, 0]],
  ];
  for (const [schema, bytes] of hostile) {
    assert.throws(
      () => read(schema, Uint8Array.from(bytes)),
      { kind: 'record_corrupt' },
      JSON.stringify(schema),
    );
  }
});

test('a schema that is none is refused', () => {
  for (const schema of ['{', '"nope"', '{}', '[]', '{"type":"array","items":"null"}', '{"type":"enum"}']) {
    assert.throws(() => compileReader(schema), { kind: 'schema_incompatible' }, schema);
  }
});

test('the schema id stands in a frame of five bytes', () => {
  assert.equal(readSchemaId(Uint8Array.of(7, 0, 0, 0, 1, 2), 1, 6), 258);
  assert.throws(() => readSchemaId(Uint8Array.of(1, 0, 0, 0, 1), 0, 5), { kind: 'record_corrupt' });
  assert.throws(() => readSchemaId(Uint8Array.of(0, 0, 0, 1), 0, 4), { kind: 'record_corrupt' });
});
