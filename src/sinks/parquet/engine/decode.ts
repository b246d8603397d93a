// Owns reading record batches: which records count, how far a partition was read, what is turned away. What a
// record says is the collector's.
import { type Order, transactionOf } from '../../../change/order.ts';
import { VarveError } from '../../../errors.ts';
import { codecById } from '../../../topic/compression.ts';
import { readRecords } from '../../../topic/record-batch.ts';
import { readBatchHeader } from '../../../topic/record-batch-header.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { DeadReason } from '../scd2-version.ts';
import type { EventCollector } from './changes.ts';
import { OrderReader, orderOf, ordinalOf } from './order-reader.ts';
import type { High, MergeRequest } from './protocol.ts';
import { MissingSchema, type SchemaBook, UnknownSchema } from './schema-book.ts';

/** Why a record says nothing that can be folded, whatever came before it. */
type Unreadable = 'no_order' | 'no_key' | 'no_image' | 'no_op' | 'no_schema' | 'corrupt';

/** An event that cannot be folded. */
export type Reject = {
  partition: number;
  offset: bigint;
  reason: DeadReason | Unreadable;
};

/** A partition's newest event so far, its order in two parts. */
type Newest = { transaction: string; ordinal: number; ts: bigint };

/** What a record's bytes have made the readers throw; null: the record is not to blame. */
const unreadable = (thrown: unknown): Unreadable | null => {
  if (thrown instanceof UnknownSchema) return 'no_schema';
  return thrown instanceof VarveError && thrown.kind === 'record_corrupt' ? 'corrupt' : null;
};

const partsOf = (order: Order) => ({ transaction: transactionOf(order), ordinal: ordinalOf(order) });
const isAbove = (
  one: Pick<Newest, 'transaction' | 'ordinal'>,
  other: Pick<Newest, 'transaction' | 'ordinal'>,
): boolean =>
  one.transaction === other.transaction ? one.ordinal > other.ordinal : one.transaction > other.transaction;

export class Decoder {
  readonly collector: EventCollector;
  readonly rejects: Reject[] = [];
  /** Next offset to read, by partition. */
  readonly offsets = new Map<number, bigint>();
  events = 0;
  readonly #book: SchemaBook;
  readonly #cut: Pick<Newest, 'transaction' | 'ordinal'> | null;
  readonly #newest: Map<number, Newest>;
  readonly #order = new OrderReader();
  #partition = 0;
  /** Next offset of this partition; what lies below was read before. */
  #next = 0;
  #isCut = false;

  constructor({ cut, highs }: MergeRequest, collector: EventCollector, book: SchemaBook) {
    this.collector = collector;
    this.#book = book;
    this.#cut = cut === null ? null : partsOf(cut);
    this.#newest = new Map(
      [...highs].map(([partition, { order, ts }]) => [partition, { ...partsOf(order), ts }]),
    );
  }

  /** The newest event in the table and here, by partition. */
  get highs(): Map<number, High> {
    const highs = [...this.#newest].map(([partition, { transaction, ordinal, ts }]) => {
      return [partition, { order: orderOf(transaction, ordinal), ts }] as const;
    });
    return new Map(highs);
  }

  /** Throws `schema_unknown` when no schema record fits, `record_corrupt` for a damaged batch. */
  async readAll(batches: MergeRequest['batches']): Promise<void> {
    for (const { partition, from, batches: list } of batches) {
      this.#partition = partition;
      this.#next = Number(from);
      this.#isCut = false;
      for (const batch of list) if (!this.#isCut) await this.#readBatch(batch);
      if (BigInt(this.#next) > from) this.offsets.set(partition, BigInt(this.#next));
    }
  }

  async #readBatch(batch: Uint8Array): Promise<void> {
    // Once for each schema: what was read before it stays, the rest of the batch is read again.
    for (;;) {
      let missing = -1;
      const visit = (record: RecordView): void => {
        if (this.#isCut || missing >= 0 || record.offset < this.#next) return;
        try {
          if (this.#visit(record)) this.#next = record.offset + 1;
          else this.#isCut = true;
        } catch (thrown) {
          if (!(thrown instanceof MissingSchema)) throw thrown;
          missing = thrown.id;
        }
      };
      readRecords(batch, visit, { codec: codecById });
      if (missing < 0) break;
      await this.#book.learn(missing);
    }
    // Offsets may have holes, and end behind the last record.
    const { lastOffset } = readBatchHeader(batch);
    if (!this.#isCut && lastOffset >= this.#next) this.#next = lastOffset + 1;
  }

  /** False: the cut was reached. */
  #visit(record: RecordView): boolean {
    const order = this.#order;
    // A tombstone says nothing that its delete has not said.
    if (!order.read(record.header('varve.order'))) {
      if (record.valueStart >= 0) this.#reject(record, 'no_order');
      return true;
    }
    if (this.#cut !== null && isAbove(order, this.#cut)) return false;
    if (record.valueStart < 0) return true;
    try {
      const taken = this.collector.take(record, order, this.#partition);
      if (taken === 'nothing') return true;
      if (typeof taken === 'string') this.#reject(record, taken);
      else this.#count(taken.ts);
    } catch (thrown) {
      const reason = unreadable(thrown);
      if (reason === null) throw thrown;
      this.#reject(record, reason);
    }
    return true;
  }

  #count(ts: bigint): void {
    this.events++;
    const { transaction, ordinal } = this.#order;
    const newest = this.#newest.get(this.#partition);
    if (newest === undefined) {
      this.#newest.set(this.#partition, { transaction, ordinal, ts });
      return;
    }
    if (isAbove(this.#order, newest)) {
      newest.transaction = transaction;
      newest.ordinal = ordinal;
    }
    if (ts > newest.ts) newest.ts = ts;
  }

  #reject(record: RecordView, reason: Reject['reason']): void {
    this.rejects.push({ partition: this.#partition, offset: BigInt(record.offset), reason });
  }
}
