// Owns a growing byte buffer and the integer and text forms of Avro and Kafka. Knows no schema and no record.

const utf8 = new TextEncoder();

/** Numbers are little-endian unless the name says Be. `pos` is the next free byte; `bytes` may move when it grows. */
export class ByteWriter {
  bytes: Uint8Array;
  pos = 0;
  #view: DataView;

  constructor(capacity = 1 << 16) {
    this.bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.bytes.buffer);
  }

  get view(): DataView {
    return this.#view;
  }

  /** Room for `count` more bytes; call once before a run of writes that do not check by themselves. */
  ensure(count: number): void {
    const need = this.pos + count;
    if (need <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.pos));
    this.bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  byte(value: number): void {
    this.ensure(1);
    this.bytes[this.pos++] = value;
  }

  /** Zigzag varint of a safe integer. */
  long(value: number): void {
    this.ensure(10);
    if (value >= -0x40000000 && value < 0x40000000) {
      let rest = (value << 1) ^ (value >> 31);
      while (rest > 0x7f) {
        this.bytes[this.pos++] = (rest & 0x7f) | 0x80;
        rest >>>= 7;
      }
      this.bytes[this.pos++] = rest;
      return;
    }
    // Beyond 31 bits, by division: bit operations would cut.
    let rest = value < 0 ? -value * 2 - 1 : value * 2;
    if (rest > Number.MAX_SAFE_INTEGER) {
      this.bigLong(BigInt(value));
      return;
    }
    while (rest > 0x7f) {
      this.bytes[this.pos++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.pos++] = rest;
  }

  /** Zigzag varint of a signed 64-bit integer. */
  bigLong(value: bigint): void {
    this.ensure(10);
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
    while (rest > 0x7fn) {
      this.bytes[this.pos++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.pos++] = Number(rest);
  }

  raw(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.ensure(count);
    if (count < 24) {
      let at = this.pos;
      for (let from = start; from < end; from++) this.bytes[at++] = source[from] as number;
    } else this.bytes.set(source.subarray(start, end), this.pos);
    this.pos += count;
  }

  /** Length-prefixed bytes, as Avro writes strings and bytes. */
  prefixed(source: Uint8Array, start = 0, end = source.length): void {
    this.long(end - start);
    this.raw(source, start, end);
  }

  /** Length-prefixed UTF-8. */
  text(value: string): void {
    this.prefixed(utf8.encode(value));
  }

  float(value: number): void {
    this.ensure(4);
    this.#view.setFloat32(this.pos, value, true);
    this.pos += 4;
  }

  double(value: number): void {
    this.ensure(8);
    this.#view.setFloat64(this.pos, value, true);
    this.pos += 8;
  }
}
