// Owns where the record batches of one segment lie: topic and offset -> place in the file. Knows no file.
import type { FrameHead, SliceHead } from './frame.ts';
import type { Place } from './segment.ts';

export type IndexedSlice = { head: SliceHead; at: number };

export class SliceIndex {
  readonly #topics = new Map<string, IndexedSlice[]>();

  add(head: FrameHead, { bodyAt }: Place): void {
    if (head.kind !== 'write') return;
    let at = bodyAt;
    for (const slice of head.slices) {
      const known = this.#topics.get(slice[0]);
      if (known) known.push({ head: slice, at });
      else this.#topics.set(slice[0], [{ head: slice, at }]);
      at += slice[3];
    }
  }

  /**
   * The batch that holds `offset` and those behind it, up to `maxBytes` but at least one; empty when there is
   * none.
   */
  find(topic: string, offset: number, maxBytes: number): readonly IndexedSlice[] {
    const slices = this.#topics.get(topic) ?? [];
    let low = 0;
    for (let high = slices.length; low < high; ) {
      const middle = (low + high) >> 1;
      const [, base, records] = (slices[middle] as IndexedSlice).head;
      if (base + records <= offset) low = middle + 1;
      else high = middle;
    }
    let bytes = 0;
    let end = low;
    for (; end < slices.length; end++) {
      bytes += (slices[end] as IndexedSlice).head[3];
      if (end > low && bytes > maxBytes) break;
    }
    return slices.slice(low, end);
  }
}
