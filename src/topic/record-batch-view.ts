// Owns one record as it lies in its batch, with no object a record and nothing copied. Knows no checksum, no
// codec.
import { type BatchHeader, LOG_APPEND_TIME } from './record-batch-header.ts';

/**
 * A flyweight: valid inside the visit only. Key and value are byte ranges of `bytes`; a start of -1 is null.
 */
export class RecordView {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  /** Milliseconds since 1970-01-01 UTC. */
  timestamp = 0;
  keyStart = -1;
  keyEnd = -1;
  valueStart = -1;
  valueEnd = -1;
  /** Next byte to read, and the first one behind the record. */
  #at = 0;
  #end = 0;
  #headersAt = 0;
  #headers = 0;

  /** Value of the first header of this ASCII name; null when there is none, or its value is null. */
  header(name: string): Uint8Array | null {
    this.#at = this.#headersAt;
    for (let left = this.#headers; left > 0; left--) {
      const found = this.#isNext(name);
      const size = this.#long();
      if (found) return size < 0 ? null : this.bytes.subarray(this.#at, this.#at + size);
      if (size > 0) this.#at += size;
    }
    return null;
  }

  /** All headers, copied, in their order: for people and tests. */
  headers(): (readonly [name: string, value: Uint8Array | null])[] {
    this.#at = this.#headersAt;
    return Array.from({ length: this.#headers }, () => {
      const name = new TextDecoder().decode(this.#part() ?? undefined);
      return [name, this.#part()?.slice() ?? null] as const;
    });
  }

  /** Reads the record at `at` and returns where the next one starts. For `readRecords`. */
  load(bytes: Uint8Array, at: number, { header }: { header: BatchHeader }): number {
    this.bytes = bytes;
    this.#at = at;
    this.#end = bytes.length;
    const length = this.#long();
    if (length < 0 || this.#at + length > bytes.length) throw new RangeError('a record runs past its end');
    this.#end = this.#at + length;
    this.#at++;
    const timestamp = header.baseTimestamp + this.#long();
    this.timestamp = header.attributes & LOG_APPEND_TIME ? header.maxTimestamp : timestamp;
    this.offset = header.baseOffset + this.#long();
    const key = this.#long();
    this.keyStart = key < 0 ? -1 : this.#at;
    this.keyEnd = key < 0 ? -1 : this.#skip(key);
    const value = this.#long();
    this.valueStart = value < 0 ? -1 : this.#at;
    this.valueEnd = value < 0 ? -1 : this.#skip(value);
    this.#headers = this.#long();
    this.#headersAt = this.#at;
    for (let left = this.#headers * 2; left > 0; left--) this.#skip(Math.max(0, this.#long()));
    if (this.#at !== this.#end) throw new RangeError('a record does not fill its length');
    return this.#end;
  }

  #isNext(name: string): boolean {
    const size = this.#long();
    const start = this.#at;
    this.#at += size;
    if (size !== name.length) return false;
    for (let at = 0; at < size; at++) if (this.bytes[start + at] !== name.charCodeAt(at)) return false;
    return true;
  }

  #part(): Uint8Array | null {
    const size = this.#long();
    if (size < 0) return null;
    this.#at += size;
    return this.bytes.subarray(this.#at - size, this.#at);
  }

  #skip(count: number): number {
    this.#at += count;
    if (this.#at > this.#end) throw new RangeError('a field runs past its record');
    return this.#at;
  }

  #long(): number {
    const { bytes } = this;
    let byte = bytes[this.#at++]!;
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let sum = byte & 0x7f;
    for (let scale = 0x80; byte >= 0x80; scale *= 0x80) {
      if (this.#at >= this.#end || scale > 2 ** 63) throw new RangeError('a number runs past its record');
      byte = bytes[this.#at++]!;
      sum += (byte & 0x7f) * scale;
    }
    return sum % 2 === 0 ? sum / 2 : -(sum + 1) / 2;
  }
}
