// Owns a place in a run of Avro bytes and the reading of its smallest parts. Knows no schema. Whatever does
// not fit into the run throws a RangeError, which the reader turns into an error of the house.

const EMPTY = new Uint8Array(0);

export class AvroCursor {
  bytes: Uint8Array = EMPTY;
  pos = 0;
  end = 0;
  #view: DataView = new DataView(EMPTY.buffer);
  /** The same bytes: the fastest reader of text, and one that keeps a leading U+FEFF. */
  #texts: Buffer = Buffer.from(EMPTY.buffer);

  load(bytes: Uint8Array, start: number, end: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      this.#texts = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    this.pos = start;
    this.end = end;
  }

  /** Takes the next `count` bytes and returns where they start. */
  take(count: number): number {
    const start = this.pos;
    if (count > this.end - start) throw new RangeError('a value runs past the end');
    this.pos = start + count;
    return start;
  }

  byte(): number {
    return this.bytes[this.take(1)]!;
  }

  /** Zigzag varint of at most 32 bits. */
  int(): number {
    let byte = this.byte();
    let sum = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      byte = this.byte();
      if (shift === 28 && byte > 0x0f) throw new RangeError('an int has more than 32 bits');
      sum |= (byte & 0x7f) << shift;
    }
    return (sum >>> 1) ^ -(sum & 1);
  }

  /** Zigzag varint of at most 64 bits. In thirds of 28, 28 and 8 bits, because bigints are slow to build. */
  long(): bigint {
    let byte = this.byte();
    let low = byte & 0x7f;
    for (let shift = 7; byte >= 0x80 && shift < 28; shift += 7) {
      byte = this.byte();
      low |= (byte & 0x7f) << shift;
    }
    if (byte < 0x80) return BigInt((low >>> 1) ^ -(low & 1));
    let middle = 0;
    for (let shift = 0; byte >= 0x80 && shift < 28; shift += 7) {
      byte = this.byte();
      middle |= (byte & 0x7f) << shift;
    }
    if (byte >= 0x80 || middle >= 2 ** 25) return this.#wideLong(low, middle, byte);
    const sum = middle * 2 ** 28 + low;
    return BigInt(sum % 2 === 0 ? sum / 2 : -(sum + 1) / 2);
  }

  #wideLong(low: number, middle: number, last: number): bigint {
    let high = 0;
    let byte = last;
    for (let shift = 0; byte >= 0x80; shift += 7) {
      byte = this.byte();
      if (shift === 7 && byte > 1) throw new RangeError('a long has more than 64 bits');
      high |= (byte & 0x7f) << shift;
    }
    const sum = (BigInt(high) << 56n) | (BigInt(middle) << 28n) | BigInt(low);
    return (sum >> 1n) ^ -(sum & 1n);
  }

  skipVarint(): void {
    for (let left = 10; this.byte() >= 0x80; left--) {
      if (left === 1) throw new RangeError('a long has more than 64 bits');
    }
  }

  float(): number {
    return this.#view.getFloat32(this.take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.take(8), true);
  }

  /** Length of what follows. */
  length(): number {
    const length = this.int();
    if (length < 0) throw new RangeError('a length is negative');
    return length;
  }

  view(count: number): Uint8Array {
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  text(count: number): string {
    const start = this.take(count);
    return this.#texts.toString('utf8', start, start + count);
  }
}
