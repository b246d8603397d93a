// Owns one change as the envelope writer takes it: a flyweight in which everything that the events of a
// transaction share is made ready. Knows no table and no schema.
import type { RowChange } from '../change/event.ts';
import { type OrderParts, orderPrefix } from '../change/order.ts';
import type { Cells } from '../change/row.ts';
import { ByteWriter } from './byte-writer.ts';
import type { SnapshotMark } from './prepared-table.ts';

const ORDER_LENGTH = 48;
const ORDINAL_AT = 36;
const ORDER_HEADER = 'varve.order';
const HEX = new TextEncoder().encode('0123456789abcdef');
/** An ordinal's low half: six hexadecimal digits. */
const HALF = 2 ** 24;
const VALUE_BRANCH = 2;

type TransactionFacts = {
  /** Microseconds since 1970-01-01 UTC: the source's commit, and Varve's clock now. */
  commitTs: bigint;
  nowUs: bigint;
  snapshot: SnapshotMark;
};

/** Filled again for every event: `begin` once a transaction, then `setRow` or `setTruncate`. */
export class Change {
  op: RowChange<unknown>['op'] | 't' = 'c';
  before: Cells | null = null;
  beforeIsKey = false;
  after: Cells | null = null;
  keyChanged = false;
  commitTs = 0n;
  snapshot: SnapshotMark = 'false';
  /** Varve's clock, whole milliseconds. */
  nowMs = 0;
  /** A record's header with the order: name and value, each behind its length. */
  readonly orderHeader: Uint8Array;
  /** The order's 48 ASCII characters, in that header. */
  readonly #order: Uint8Array;
  /** Envelope fields ts_ms, ts_us, ts_ns in Avro: the first `clock.pos` bytes. */
  readonly clock = new ByteWriter(40);
  #nowUs: bigint | null = null;

  constructor() {
    const header = new ByteWriter(64);
    header.text(ORDER_HEADER);
    header.prefixed(new Uint8Array(ORDER_LENGTH));
    this.orderHeader = header.bytes.slice(0, header.pos);
    this.#order = this.orderHeader.subarray(-ORDER_LENGTH);
  }

  begin(transaction: Omit<OrderParts, 'ordinal'>, { commitTs, nowUs, snapshot }: TransactionFacts): void {
    const prefix = orderPrefix(transaction);
    for (let at = 0; at < ORDINAL_AT; at++) this.#order[at] = prefix.charCodeAt(at);
    this.commitTs = commitTs;
    this.snapshot = snapshot;
    if (nowUs !== this.#nowUs) this.#setClock(nowUs);
  }

  #setClock(nowUs: bigint): void {
    const { clock } = this;
    this.#nowUs = nowUs;
    this.nowMs = Number(nowUs / 1000n);
    clock.pos = 0;
    clock.byte(VALUE_BRANCH);
    clock.long(this.nowMs);
    clock.byte(VALUE_BRANCH);
    clock.bigLong(nowUs);
    clock.byte(VALUE_BRANCH);
    clock.bigLong(nowUs * 1000n);
  }

  setRow(row: RowChange<unknown>): this {
    this.op = row.op;
    this.before = row.before;
    this.beforeIsKey = row.beforeIsKey;
    this.after = row.after;
    this.keyChanged = row.keyChanged;
    this.#setOrdinal(row.ordinal);
    return this;
  }

  setTruncate(ordinal: number): this {
    this.op = 't';
    this.before = null;
    this.beforeIsKey = false;
    this.after = null;
    this.keyChanged = false;
    this.#setOrdinal(ordinal);
    return this;
  }

  #setOrdinal(ordinal: number): void {
    const order = this.#order;
    let high = Math.floor(ordinal / HALF);
    let low = ordinal - high * HALF;
    for (let at = ORDER_LENGTH - 1; at >= ORDER_LENGTH - 6; at--) {
      order[at] = HEX[low & 15]!;
      order[at - 6] = HEX[high & 15]!;
      low >>>= 4;
      high >>>= 4;
    }
  }
}
