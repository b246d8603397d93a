// lz4 and snappy: what is packed is unpacked again, here and by others; damage ends in an error, and a small
// batch never becomes a large one.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import fc from 'fast-check';
import { COMPRESSIONS, codecById } from '../../src/topic/compression.ts';
import { compressLz4, decompressLz4 } from '../../src/topic/lz4.ts';
import { compressSnappy, decompressSnappy } from '../../src/topic/snappy.ts';

/** Written in Rust, on the crates lz4_flex and snap; it comes with the Kafka client. */
const kafka = createRequire(createRequire(import.meta.url).resolve('@platformatic/kafka'));
const others = kafka('@platformatic/wasm-utils') as Record<
  'lz4Compress' | 'lz4Decompress' | 'snappyCompress' | 'snappyDecompress',
  (bytes: Buffer) => Buffer
>;

const MAX = 1 << 22;

type Format = {
  name: string;
  pack: (bytes: Uint8Array) => Uint8Array;
  unpack: (bytes: Uint8Array, maxBytes: number) => Uint8Array;
  packElsewhere: (bytes: Buffer) => Buffer;
  unpackElsewhere: (bytes: Buffer) => Buffer;
};

const FORMATS: readonly Format[] = [
  {
    name: 'lz4',
    pack: compressLz4,
    unpack: decompressLz4,
    packElsewhere: others.lz4Compress,
    unpackElsewhere: others.lz4Decompress,
  },
  {
    name: 'snappy',
    pack: compressSnappy,
    unpack: decompressSnappy,
    packElsewhere: others.snappyCompress,
    unpackElsewhere: others.snappyDecompress,
  },
];

/** What repeats near and far, runs of one byte, and what does not repeat at all. */
const content: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.tuple(fc.nat(255), fc.nat(90_000)).map(([byte, length]) => new Uint8Array(length).fill(byte)),
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 30 }), fc.nat(300)).map(([part, times]) => {
        return new Uint8Array(part.length * times).map((_, at) => part[at % part.length] as number);
      }),
      fc.nat(70_000).map((length) => new Uint8Array(length).map((_, at) => Math.imul(at, 0x9e3779b1) >>> 24)),
    ),
    { maxLength: 5 },
  )
  .map((parts) => new Uint8Array(Buffer.concat(parts)));

const same = (got: Uint8Array, wanted: Uint8Array, where: string): void =>
  assert.ok(Buffer.from(got).equals(wanted), where);

for (const { name, pack, unpack, packElsewhere, unpackElsewhere } of FORMATS) {
  test(`${name}: any bytes survive, between us and to and from another implementation`, () => {
    fc.assert(
      fc.property(content, (bytes) => {
        const packed = pack(bytes);
        assert.ok(packed.length <= bytes.length * 1.02 + 64, 'what does not shrink hardly grows');
        same(unpack(packed, MAX), bytes, 'ours');
        same(unpackElsewhere(Buffer.from(packed)), bytes, 'theirs reads ours');
        // Of nothing it makes nothing, but fails once its memory has grown.
        if (bytes.length > 0)
          same(unpack(packElsewhere(Buffer.from(bytes)), MAX), bytes, 'ours reads theirs');
      }),
      { numRuns: 150 },
    );
  });

  test(`${name}: text shrinks`, () => {
    const text = Buffer.from('{"id":1,"name":"customer of transaction"},'.repeat(2000));
    assert.ok(pack(text).length < text.length / 10);
  });

  test(`${name}: damage gives an error or other bytes, never a hang nor more than was allowed`, () => {
    const whole = pack(Buffer.from('abcdefgh-abcdefgh-0123456789-0123456789-'.repeat(20)));
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.nat(), (at, byte, cut) => {
        const broken = whole.slice(0, 1 + (cut % whole.length));
        broken[at % broken.length] = byte;
        try {
          assert.ok(unpack(broken, 5000).length <= 5000);
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (garbage) => {
        try {
          unpack(garbage, 5000);
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });

  test(`${name}: more than allowed is refused before it takes memory`, () => {
    const packed = pack(new Uint8Array(1 << 20));
    assert.throws(() => unpack(packed, (1 << 20) - 1), RangeError);
    same(unpack(packed, 1 << 20), new Uint8Array(1 << 20), 'exactly as much');
  });
}

test('snappy: the frame that Java programs write is read', () => {
  const blocks = ['first '.repeat(50), 'second'].map((text) => compressSnappy(Buffer.from(text)));
  const head = Buffer.from('82534e41505059000000000100000001', 'hex');
  const framed = Buffer.concat([
    head,
    ...blocks.flatMap((block) => {
      const size = Buffer.alloc(4);
      size.writeUInt32BE(block.length);
      return [size, block];
    }),
  ]);
  assert.equal(Buffer.from(decompressSnappy(framed, MAX)).toString(), `${'first '.repeat(50)}second`);
  assert.throws(() => decompressSnappy(framed.subarray(0, -1), MAX), RangeError);
});

test('lz4: a frame with content size, block checksums and a content checksum is read', () => {
  // As another writer may make it: our own block, with everything optional around it.
  const frame = compressLz4(Buffer.from('varve'.repeat(12)));
  const block = frame.subarray(7, -4);
  const flags = 0x60 | 0x10 | 0x08 | 0x04;
  const made = Buffer.concat([
    frame.subarray(0, 4),
    Buffer.of(flags, 0x40),
    Buffer.from('3c00000000000000', 'hex'),
    Buffer.of(0),
    block,
    Buffer.alloc(4),
    Buffer.alloc(4),
    Buffer.alloc(4),
  ]);
  const read = (checksum: number): string => {
    made[14] = checksum;
    return Buffer.from(decompressLz4(made, MAX)).toString();
  };
  const found = Array.from({ length: 256 }, (_, checksum) => {
    try {
      return read(checksum);
    } catch {
      return null;
    }
  }).filter((text) => text !== null);
  assert.deepEqual(found, ['varve'.repeat(12)], 'one checksum of the header fits, and no other');
});

test('every codec is found by the number that batches carry, and no other number is', () => {
  const ids = Object.values(COMPRESSIONS).map((codec) => codec?.id ?? 0);
  assert.deepEqual(ids, [0, 1, 2, 3, 4]);
  for (const codec of Object.values(COMPRESSIONS)) if (codec) assert.equal(codecById(codec.id), codec);
  assert.throws(() => codecById(5), { kind: 'record_corrupt' });
});
