// Owns lz4 and zstd for kafkajs, which brings only gzip. Knows no topic.
import kafkajs from 'kafkajs';
import { codecById } from '../src/topic/compression.ts';

/** So that no contender pays for another codec than ours does. */
export const addCodecs = (): void => {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  for (const id of [CompressionTypes.LZ4, CompressionTypes.ZSTD] as const) {
    const { compress, decompress } = codecById(id);
    CompressionCodecs[id] = () => ({
      compress: async ({ buffer }: { buffer: Buffer }) => Buffer.from(await compress(buffer)),
      decompress: async (buffer: Buffer) => Buffer.from(decompress(buffer)),
    });
  }
};
