// Owns buffers that wait to be written again: a large one is not made for each batch. Knows no record.
import { ByteWriter } from './byte-writer.ts';

const MIN_BYTES = 1 << 16;
/** A larger buffer was made for a large transaction, and goes with it. */
const KEPT_BYTES = 16 << 20;
/** All that wait here, together. */
const TOTAL_BYTES = 32 << 20;

export class SpareBuffers {
  readonly #spares: ByteWriter[] = [];
  #bytes = 0;

  /** One that came back, whatever its size; else a new one of at least `capacity` bytes. */
  take(capacity: number): ByteWriter {
    const spare = this.#spares.pop();
    if (spare === undefined) return new ByteWriter(Math.max(capacity, MIN_BYTES));
    this.#bytes -= spare.bytes.length;
    return spare;
  }

  give(writer: ByteWriter): void {
    const { length } = writer.bytes;
    if (length > KEPT_BYTES || this.#bytes + length > TOTAL_BYTES) return;
    this.#spares.push(writer);
    this.#bytes += length;
  }
}
