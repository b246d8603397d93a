// Owns the compression codecs of record batches: those that Node has built in, and the two that are formats
// of this room. Everything else about batches is pure.
import { promisify } from 'node:util';
import { constants, gunzipSync, gzip as gzipBytes, zstdCompress, zstdDecompressSync } from 'node:zlib';
import { VarveError } from '../errors.ts';
import { compressLz4, decompressLz4 } from './lz4.ts';
import type { Codec } from './record-batch.ts';
import { compressSnappy, decompressSnappy } from './snappy.ts';

/** A batch that claims to hold more than this is taken for damage, not for data. */
const MAX_DECOMPRESSED_BYTES = 1 << 30;

/** Node makes its output in pieces that cost a call each: as large as what goes in, within reason. */
const chunkSize = ({ length }: Uint8Array): number => Math.min(Math.max(length, 1 << 12), 1 << 18);

const gzip: Codec = {
  id: 1,
  compress: (bytes) => promisify(gzipBytes)(bytes, { level: 1 }),
  decompress: (bytes) =>
    gunzipSync(bytes, { chunkSize: chunkSize(bytes), maxOutputLength: MAX_DECOMPRESSED_BYTES }),
};

// Level 1: twice the speed of the default for a tenth more bytes, and the topic is not where data rests. A
// window of 128 kB stays in the processor's cache, and changes are like those just before them: faster, and
// smaller too.
const ZSTD_PARAMS = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_windowLog]: 17 };

const zstd: Codec = {
  id: 4,
  compress: (bytes) =>
    promisify(zstdCompress)(bytes, {
      params: ZSTD_PARAMS,
      // What is not filled is garbage that counts: changes shrink to less than a quarter.
      chunkSize: chunkSize(bytes.subarray(0, bytes.length >> 2)),
      pledgedSrcSize: bytes.length,
    }),
  decompress: (bytes) =>
    zstdDecompressSync(bytes, { chunkSize: chunkSize(bytes), maxOutputLength: MAX_DECOMPRESSED_BYTES }),
};

/** On the event loop, at some 200 MB a second: zstd is beside it, and smaller. For those who demand it. */
const snappy: Codec = {
  id: 2,
  compress: async (bytes) => compressSnappy(bytes),
  decompress: (bytes) => decompressSnappy(bytes, MAX_DECOMPRESSED_BYTES),
};

/** On the event loop, as snappy is. */
const lz4: Codec = {
  id: 3,
  compress: async (bytes) => compressLz4(bytes),
  decompress: (bytes) => decompressLz4(bytes, MAX_DECOMPRESSED_BYTES),
};

export const COMPRESSIONS = { none: null, gzip, snappy, lz4, zstd } as const satisfies Record<
  string,
  Codec | null
>;

const BY_ID: ReadonlyMap<number, Codec> = new Map(
  [gzip, snappy, lz4, zstd].map((codec) => [codec.id, codec]),
);

/** By the id that a batch's attributes carry. Throws `record_corrupt` for one that nobody has defined. */
export const codecById = (id: number): Codec => {
  const codec = BY_ID.get(id);
  if (codec !== undefined) return codec;
  throw new VarveError(
    'record_corrupt',
    `A record batch is compressed with codec ${id}; there are gzip (1), snappy (2), lz4 (3) and zstd (4).`,
    { facts: { codec: id } },
  );
};
