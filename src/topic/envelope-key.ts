// Owns the key of one table's records: its bytes, its text in headers, the partition it belongs to. Knows no
// envelope.
import type { Cells } from '../change/row.ts';
import type { ConnectType } from '../change/schema.ts';
import { ByteWriter } from './byte-writer.ts';
import { compileKeyText } from './envelope-key-text.ts';
import type { RowEncoder } from './envelope-row.ts';
import { partitionOf } from './murmur2.ts';
import type { RecordBatchBuilder } from './record-batch.ts';

/** Confluent wire format: a zero byte, the schema id big-endian, then Avro. */
export const frameOf = (id: number): Uint8Array => {
  const frame = new Uint8Array(5);
  new DataView(frame.buffer).setInt32(1, id);
  return frame;
};

const utf8 = new TextEncoder();
const NO_KEY = utf8.encode('null');

type KeyParts = { rows: RowEncoder; type: ConnectType | null; id: number | null };

export class EnvelopeKey {
  readonly #rows: RowEncoder;
  readonly #frame: Uint8Array | null;
  readonly #print: ((key: Uint8Array) => string) | null;
  readonly #text = new ByteWriter(256);
  /** The framed key that was routed last; empty where there was no choice. */
  readonly #routed = new ByteWriter(256);

  constructor({ rows, type, id }: KeyParts) {
    this.#rows = rows;
    this.#frame = id === null ? null : frameOf(id);
    this.#print = type === null ? null : compileKeyText(type);
  }

  /** The table has none. */
  get isNone(): boolean {
    return this.#frame === null;
  }

  /** `{"id":1}` in UTF-8; key columns that `cells` does not have are taken from `old`. */
  json(cells: Cells, old: Cells | null): Uint8Array {
    if (this.#print === null) return NO_KEY;
    const out = this.#text;
    out.pos = 0;
    this.#rows.writeKey(out, cells, old);
    return utf8.encode(this.#print(out.bytes.subarray(0, out.pos)));
  }

  /** The key's partition; 0 for a table without key, which has one order to keep. */
  route(partitions: number, cells: Cells, old: Cells | null): number {
    const out = this.#routed;
    out.pos = 0;
    if (partitions === 1 || this.#frame === null) return 0;
    out.raw(this.#frame);
    this.#rows.writeKey(out, cells, old);
    return partitionOf(out.bytes, out.pos, partitions);
  }

  /** Of the cells that were routed last. */
  write(out: RecordBatchBuilder, cells: Cells, old: Cells | null): void {
    if (this.#frame === null) {
      out.nullKey();
      return;
    }
    out.beginKey();
    if (this.#routed.pos > 0) out.writer.append(this.#routed);
    else {
      out.writer.raw(this.#frame);
      this.#rows.writeKey(out.writer, cells, old);
    }
    out.endKey();
  }
}
