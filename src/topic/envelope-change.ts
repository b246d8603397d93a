// Owns one change as the envelope writer takes it: a flyweight in which everything that the events of a
// transaction share is made ready. Knows no table and no schema.
import type { RowChange } from '../change/event.ts';
import { type Order, type OrderParts, orderPrefix } from '../change/order.ts';
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
  /** Whose changes are numbered; absent: nobody's are. */
  boundary?: Boundary;
};

/** Events published of each table, by the table's text. */
export type EventCounts = Readonly<Record<string, number>>;

/** `counts`: what of this transaction was published before, in another part of it. */
type Boundary = { id: string; counts: EventCounts };

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
  /** The transaction's id in Avro; null: its events are not numbered. */
  transactionId: Uint8Array | null = null;
  /** Number of the event that was counted last: in its transaction, and among those of its table. */
  totalOrder = 0;
  collectionOrder = 0;
  readonly #counts = new Map<string, number>();

  constructor() {
    const header = new ByteWriter(64);
    header.text(ORDER_HEADER);
    header.prefixed(new Uint8Array(ORDER_LENGTH));
    this.orderHeader = header.bytes.slice(0, header.pos);
    this.#order = this.orderHeader.subarray(-ORDER_LENGTH);
  }

  begin(transaction: Omit<OrderParts, 'ordinal'>, facts: TransactionFacts): void {
    const { commitTs, nowUs, snapshot, boundary } = facts;
    const prefix = orderPrefix(transaction);
    for (let at = 0; at < ORDINAL_AT; at++) this.#order[at] = prefix.charCodeAt(at);
    this.commitTs = commitTs;
    this.snapshot = snapshot;
    if (nowUs !== this.#nowUs) this.#setClock(nowUs);
    if (boundary !== undefined) this.#number(boundary);
    else this.transactionId = null;
  }

  #number({ id, counts }: Boundary): void {
    const out = new ByteWriter(64);
    out.text(id);
    this.transactionId = out.bytes.slice(0, out.pos);
    this.totalOrder = 0;
    this.#counts.clear();
    for (const [collection, count] of Object.entries(counts)) {
      this.#counts.set(collection, count);
      this.totalOrder += count;
    }
  }

  /** The transaction's events so far. */
  get counts(): EventCounts {
    return Object.fromEntries(this.#counts);
  }

  /** One more event of `collection`, or one less: what was counted last goes elsewhere. */
  count(collection: string, by: 1 | -1 = 1): void {
    this.totalOrder += by;
    this.collectionOrder = (this.#counts.get(collection) ?? 0) + by;
    this.#counts.set(collection, this.collectionOrder);
  }

  /** The order of the event that was set last. */
  get order(): Order {
    return String.fromCharCode(...this.#order);
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
