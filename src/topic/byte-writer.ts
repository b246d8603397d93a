// Owns a growing byte buffer and the integer and text forms of Avro and Kafka. Knows no schema and no record.

const utf8 = new TextEncoder();

/** Below this many bytes a loop is faster than a call, which for a part of an array would need a view. */
const SHORT = { whole: 16, part: 64, text: 64 } as const;

/** One bigint and its halves, low one first as on all platforms of Node: cutting would make more. */
const WHOLE = new BigInt64Array(1);
const HALVES = new Int32Array(WHOLE.buffer);

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
    this.#halves(Math.floor(value / 0x1_0000_0000), value | 0);
  }

  /** Zigzag varint of a signed 64-bit integer. */
  bigLong(value: bigint): void {
    this.ensure(10);
    WHOLE[0] = value;
    this.#halves(HALVES[1]!, HALVES[0]!);
  }

  /** Zigzag varint of a two's complement in halves, because bigints are slow. */
  #halves(high: number, low: number): void {
    const sign = high >> 31;
    let upper = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
    let rest = ((low << 1) ^ sign) >>> 0;
    const { bytes } = this;
    let { pos } = this;
    while (upper > 0 || rest > 0x7f) {
      bytes[pos++] = (rest & 0x7f) | 0x80;
      rest = ((rest >>> 7) | (upper << 25)) >>> 0;
      upper >>>= 7;
    }
    bytes[pos++] = rest;
    this.pos = pos;
  }

  raw(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.ensure(count);
    const { bytes, pos } = this;
    const isWhole = count === source.length;
    if (count < (isWhole ? SHORT.whole : SHORT.part)) {
      for (let at = 0; at < count; at++) bytes[pos + at] = source[start + at]!;
    } else bytes.set(isWhole ? source : source.subarray(start, end), pos);
    this.pos = pos + count;
  }

  /** All that the other one holds. By eight bytes: the compiler makes no bigint of what is only moved. */
  append(other: ByteWriter): void {
    const count = other.pos;
    this.ensure(count);
    const { bytes, pos } = this;
    const [from, to] = [other.view, this.#view];
    let at = 0;
    for (; at + 8 <= count; at += 8) to.setBigInt64(pos + at, from.getBigInt64(at));
    for (; at < count; at++) bytes[pos + at] = other.bytes[at]!;
    this.pos = pos + count;
  }

  /** Length-prefixed bytes, as Avro writes strings and bytes. */
  prefixed(source: Uint8Array, start = 0, end = source.length): void {
    this.long(end - start);
    this.raw(source, start, end);
  }

  /** Length-prefixed UTF-8; short ASCII, which most is, without an array in between. */
  text(value: string): void {
    const { pos } = this;
    if (value.length <= SHORT.text && this.#ascii(value)) return;
    this.pos = pos;
    this.prefixed(utf8.encode(value));
  }

  /** False: something else than ASCII was met, and a part is written. */
  #ascii(value: string): boolean {
    this.long(value.length);
    this.ensure(value.length);
    for (let at = 0; at < value.length; at++) {
      const code = value.charCodeAt(at);
      if (code > 0x7f) return false;
      this.bytes[this.pos++] = code;
    }
    return true;
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
