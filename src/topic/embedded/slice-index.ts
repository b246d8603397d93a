// Owns where the record batches of one segment lie: topic and offset -> place in the file. Knows no file.
import type { FrameHead, SliceHead } from './frame.ts';
import type { Place } from './segment.ts';

export type IndexedSlice = { head: SliceHead; at: number };

/**
 * Plain numbers, five a slice (place, base, records, bytes, checksum): a segment may hold 200,000 of them.
 */
const STRIDE = 5;

export class SliceIndex {
  readonly #topics = new Map<string, number[]>();

  add(head: FrameHead, { bodyAt }: Place): void {
    if (head.kind !== 'write') return;
    let at = bodyAt;
    for (const [topic, ...numbers] of head.slices) {
      const known = this.#topics.get(topic);
      if (known) known.push(at, ...numbers);
      else this.#topics.set(topic, [at, ...numbers]);
      at += numbers[2];
    }
  }

  /** The batch that holds `offset` and those behind it, up to `maxBytes` but at least one; none: empty. */
  find(topic: string, offset: number, maxBytes: number): readonly IndexedSlice[] {
    const found: IndexedSlice[] = [];
    const numbers = this.#topics.get(topic) ?? [];
    let bytes = 0;
    for (let slice = this.#first(numbers, offset); slice < numbers.length / STRIDE; slice++) {
      const [at, ...rest] = numbers.slice(slice * STRIDE, (slice + 1) * STRIDE) as Numbers;
      bytes += rest[2];
      if (found.length > 0 && bytes > maxBytes) break;
      found.push({ at, head: [topic, ...rest] });
    }
    return found;
  }

  /** Number of the first slice that ends behind `offset`. */
  #first(numbers: readonly number[], offset: number): number {
    let low = 0;
    for (let high = numbers.length / STRIDE; low < high; ) {
      const middle = (low + high) >> 1;
      const end = (numbers[middle * STRIDE + 1] as number) + (numbers[middle * STRIDE + 2] as number);
      if (end <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

type Numbers = [at: number, base: number, records: number, bytes: number, crc: number];
