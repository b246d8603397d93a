// Owns a growing byte buffer and the integer and text forms of Avro and Kafka. Knows no schema and no record.

const utf8 = new TextEncoder();

/** Below this many bytes a loop is faster than making a view of the source. */
const SHORT = 128;

/**
 * Numbers are little-endian. `pos` is the next free byte; `bytes` may be another array once it had to grow.
 */
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

  /** Zigzag varint of a signed 64-bit integer; in two halves of numbers, because bigints are slow. */
  bigLong(value: bigint): void {
    this.ensure(10);
    const zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
    let low = Number(zigzag & 0xffffffffn);
    let high = Number(zigzag >> 32n);
    const { bytes } = this;
    let { pos } = this;
    while (high > 0 || low > 0x7f) {
      bytes[pos++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    bytes[pos++] = low;
    this.pos = pos;
  }

  raw(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.ensure(count);
    const { bytes, pos } = this;
    if (count < SHORT) for (let at = 0; at < count; at++) bytes[pos + at] = source[start + at]!;
    else bytes.set(source.subarray(start, end), pos);
    this.pos = pos + count;
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
