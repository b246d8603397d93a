// Owns the laws of record batches: what was written is read again, damage is noticed, and the bytes are
// Kafka's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { COMPRESSIONS, codecById } from '../../src/topic/compression.ts';
import { crc32c } from '../../src/topic/crc32c.ts';
import { RecordBatchBuilder, readRecords, sealRecords } from '../../src/topic/record-batch.ts';
import { baseOffsetBytes, readBatchHeader } from '../../src/topic/record-batch-header.ts';

type Model = {
  timestamp: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers: (readonly [name: string, value: Uint8Array])[];
};

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const model = (maxLength: number): fc.Arbitrary<Model> =>
  fc.record({
    timestamp: fc.integer({ min: 0, max: 4_102_444_800_000 }),
    key: fc.option(bytes(20)),
    value: fc.option(bytes(maxLength)),
    headers: fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 20 }), bytes(40)), { maxLength: 4 }),
  });

const add = (builder: RecordBatchBuilder, record: Model): void => {
  builder.beginRecord(record.timestamp);
  const { writer } = builder;
  if (record.key === null) builder.nullKey();
  else {
    builder.beginKey();
    writer.raw(record.key);
    builder.endKey();
  }
  if (record.value === null) builder.nullValue();
  else {
    builder.beginValue();
    writer.raw(record.value);
    builder.endValue();
  }
  if (record.headers.length === 0) return;
  builder.beginHeaders(record.headers.length);
  for (const [name, value] of record.headers) builder.header(new TextEncoder().encode(name), value);
};

const build = (records: readonly Model[], builder = new RecordBatchBuilder(100)): RecordBatchBuilder => {
  for (const record of records) {
    add(builder, record);
    builder.endRecord();
  }
  return builder;
};

const plain = (array: Uint8Array | null): number[] | null => (array === null ? null : [...array]);
const part = (array: Uint8Array, start: number, end: number) =>
  start < 0 ? null : [...array.subarray(start, end)];

const read = (batch: Uint8Array) => {
  const found: unknown[] = [];
  readRecords(
    batch,
    (record) => {
      found.push({
        offset: record.offset,
        timestamp: record.timestamp,
        key: part(record.bytes, record.keyStart, record.keyEnd),
        value: part(record.bytes, record.valueStart, record.valueEnd),
        headers: record.headers().map(([name, value]) => [name, plain(value)]),
      });
    },
    { codec: codecById },
  );
  return found;
};

const expected = (records: readonly Model[], base: number) =>
  records.map(({ timestamp, key, value, headers }, at) => ({
    offset: base + at,
    timestamp,
    key: plain(key),
    value: plain(value),
    headers: headers.map(([name, bytes]) => [name, [...bytes]]),
  }));

test('what is written is read again, compressed or not, wherever the batch stands in a topic', async () => {
  const builder = new RecordBatchBuilder(64);
  await fc.assert(
    fc.asyncProperty(
      fc.array(model(300), { minLength: 1, maxLength: 20 }),
      fc.constantFrom(...Object.values(COMPRESSIONS)),
      fc.integer({ min: 0, max: 2 ** 50 }),
      async (records, codec, base) => {
        const taken = build(records, builder).take();
        const sealing = sealRecords(taken, codec);
        // The next batch is written while this one is packed.
        build(records, builder);
        const batch = await sealing;
        builder.recycle(taken);
        builder.reset();
        batch.set(baseOffsetBytes(base));
        assert.deepEqual(read(batch), expected(records, base));
        const header = readBatchHeader(batch);
        assert.equal(header.records, records.length);
        assert.equal(header.lastOffset, base + records.length - 1);
        assert.equal(header.maxTimestamp, Math.max(...records.map((record) => record.timestamp)));
      },
    ),
    { numRuns: 300 },
  );
});

test('values of 200 KB and timestamps far apart and backwards survive', () => {
  const big = new Uint8Array(200_000).map((_, at) => at * 31);
  const records = [2 ** 41, 5, 2 ** 41 + 1].map((timestamp) => ({
    timestamp,
    key: null,
    value: big,
    headers: [],
  }));
  assert.deepEqual(read(build(records).finish()), expected(records, 0));
});

test('a record taken back leaves no trace, the first one included', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(model(50), fc.boolean()), { minLength: 1, maxLength: 12 }), (steps) => {
      const builder = new RecordBatchBuilder(64);
      for (const [record, keep] of steps) {
        add(builder, record);
        if (keep) builder.endRecord();
        else builder.rollbackRecord();
      }
      const kept = steps.filter(([, keep]) => keep).map(([record]) => record);
      assert.equal(builder.records, kept.length);
      if (kept.length > 0) assert.deepEqual(builder.finish(), build(kept).finish());
    }),
  );
});

test('any flipped bit behind the base offset is noticed before a record is seen', () => {
  fc.assert(
    fc.property(
      fc.array(model(60), { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.nat(7),
      (records, at, bit) => {
        const batch = build(records).finish();
        const unseen = (index: number) => index < 8 || (index >= 12 && index < 16);
        const spot = at % batch.length;
        // The base offset and the leader epoch belong to the broker; the format keeps them out of the
        // checksum.
        fc.pre(!unseen(spot));
        batch[spot] = (batch[spot] as number) ^ (1 << bit);
        let seen = 0;
        assert.throws(() => readRecords(batch, () => seen++), { kind: 'record_corrupt' });
        assert.equal(seen, 0);
      },
    ),
    { numRuns: 500 },
  );
});

test('a batch cut short or made longer is refused', () => {
  const batch = build([{ timestamp: 1, key: null, value: new Uint8Array(9), headers: [] }]).finish();
  for (let length = 0; length < batch.length; length++) {
    assert.throws(() => read(batch.subarray(0, length)), { kind: 'record_corrupt' });
  }
  assert.throws(() => read(new Uint8Array([...batch, 0])), { kind: 'record_corrupt' });
});

test('garbage under a right checksum throws and never hangs', () => {
  fc.assert(
    fc.property(bytes(80), fc.nat(5), (garbage, records) => {
      const batch = new Uint8Array(61 + garbage.length);
      const view = new DataView(batch.buffer);
      view.setInt32(8, batch.length - 12);
      view.setInt8(16, 2);
      view.setInt32(57, records);
      batch.set(garbage, 61);
      view.setUint32(17, crc32c(batch, 21));
      try {
        read(batch);
      } catch (error) {
        assert.equal((error as { kind: string }).kind, 'record_corrupt');
      }
    }),
    { numRuns: 2000 },
  );
});

test('a header is found by name, the first one of that name', () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const headers = [
    ['varve.text', text('{}')],
    ['varve.order', text('A')],
    ['varve.order', text('B')],
  ] as const;
  const batch = build([{ timestamp: 1, key: null, value: null, headers: [...headers] }]).finish();
  readRecords(batch, (record) => {
    assert.deepEqual(record.header('varve.order'), text('A'));
    assert.deepEqual(record.header('varve.text'), text('{}'));
    assert.equal(record.header('varve.orde'), null);
    assert.equal(record.header('varve.unchanged'), null);
  });
});

test('crc32c is the one of RFC 3720, in one piece and in two, at any alignment', () => {
  assert.equal(crc32c(new TextEncoder().encode('123456789')), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
  const slow = (input: Uint8Array): number => {
    let crc = 0xffffffff;
    for (const byte of input) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
    return (crc ^ 0xffffffff) >>> 0;
  };
  fc.assert(
    fc.property(bytes(200), fc.nat(), fc.nat(9), (input, cut, shift) => {
      const shifted = new Uint8Array(shift + input.length);
      shifted.set(input, shift);
      const middle = shift + (cut % (input.length + 1));
      const before = crc32c(shifted, shift, { end: middle });
      assert.equal(crc32c(input), slow(input));
      assert.equal(crc32c(shifted, middle, { before }), slow(input));
    }),
  );
});

// A batch as another implementation writes it: shortest varints, a leader epoch, LZ-free; taken apart by hand
// with https://kafka.apache.org/documentation/#recordbatch beside it. Its checksum was not made by this code.
const GOLDEN = [
  '0000000000000000 00000046 00000000 02 547961fd 0000 00000000',
  '000001588dcd5938 0000000000000000 0000000000000000 0000 00000000 00000001',
  '28 00 0a 00 08 01020304 06 050607 02 06 08090a 04 0b0c',
];

test('the golden batch reads as Kafka documents it', () => {
  const batch = new Uint8Array(Buffer.from(GOLDEN.join('').replaceAll(' ', ''), 'hex'));
  assert.deepEqual(read(batch), [
    {
      offset: 0,
      timestamp: 0x1588dcd5938 + 5,
      key: [1, 2, 3, 4],
      value: [5, 6, 7],
      headers: [['\b\t\n', [11, 12]]],
    },
  ]);
});

test('a batch of ours is byte for byte what the format asks for, but for padded lengths', () => {
  const builder = build([
    { timestamp: 0x1588dcd5938, key: new Uint8Array([1]), value: null, headers: [] },
    {
      timestamp: 0x1588dcd5938 - 3,
      key: null,
      value: new Uint8Array([9, 8]),
      headers: [['h', new Uint8Array([7])]],
    },
  ]);
  const batch = builder.finish();
  const hex = Buffer.from(batch).toString('hex');
  const crc = batch.subarray(17, 21);
  assert.equal(
    hex,
    [
      '0000000000000000 00000052 ffffffff 02',
      Buffer.from(crc).toString('hex'),
      '0000 00000001 000001588dcd5938 000001588dcd5938 ffffffffffffffff ffff ffffffff 00000002',
      '94808000 00 00 00 82808000 01 01 00',
      '9e808000 00 05 02 01 84808000 0908 02 02 68 02 07',
    ]
      .join('')
      .replaceAll(' ', ''),
  );
});

test('a value longer than a length can say is refused by name', () => {
  const builder = new RecordBatchBuilder(64);
  builder.beginRecord(1);
  builder.nullKey();
  builder.beginValue();
  builder.writer.ensure(2 ** 27);
  builder.writer.pos += 2 ** 27;
  assert.throws(() => builder.endValue(), { kind: 'record_too_large' });
  builder.rollbackRecord();
  assert.equal(builder.size, 61);
});
