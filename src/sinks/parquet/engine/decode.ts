// Owns reading record batches: which records count, how far a partition was read, what is turned away. What a
// record says is the collector's.
import { isOrder, type Order } from '../../../change/order.ts';
import { VarveError } from '../../../errors.ts';
import { codecById } from '../../../topic/compression.ts';
import { readRecords } from '../../../topic/record-batch.ts';
import { readBatchHeader } from '../../../topic/record-batch-header.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { DeadReason } from '../scd2-version.ts';
import { ChangeCollector } from './changes.ts';
import type { High, MergeRequest } from './protocol.ts';
import type { RowStore } from './row-store.ts';
import { MissingSchema, SchemaBook } from './schema-book.ts';

/** An event that cannot be folded. */
export type Reject = {
  partition: number;
  offset: bigint;
  reason: DeadReason | 'no_order' | 'no_key' | 'no_image' | 'corrupt';
};

const latin1 = new TextDecoder('latin1');

export class Decoder {
  readonly changes: ChangeCollector;
  readonly rejects: Reject[] = [];
  /** Next offset to read, by partition. */
  readonly offsets = new Map<number, bigint>();
  readonly highs: Map<number, High>;
  events = 0;
  readonly #book: SchemaBook;
  readonly #cut: Order | null;
  #partition = 0;
  /** Next offset of this partition; what lies below was read before. */
  #next = 0;
  #isCut = false;

  constructor(request: MergeRequest, store: RowStore, askSchema: (id: number) => Promise<string>) {
    const { layout, schemas, cut, highs } = request;
    this.#book = new SchemaBook(layout, schemas, askSchema);
    this.changes = new ChangeCollector(this.#book, store, layout.mode === 'append');
    this.#cut = cut;
    this.highs = new Map([...highs].map(([partition, high]) => [partition, { ...high }]));
  }

  /** Throws `schema_unknown` when no schema record fits, `record_corrupt` for a damaged batch. */
  async readAll(batches: MergeRequest['batches']): Promise<void> {
    for (const { partition, from, batches: list } of batches) {
      this.#partition = partition;
      this.#next = Number(from);
      this.#isCut = false;
      for (const batch of list) if (!this.#isCut) await this.#readBatch(batch);
      this.offsets.set(partition, BigInt(this.#next));
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
    const order = latin1.decode(record.header('varve.order') ?? undefined);
    // A tombstone says nothing that its delete has not said.
    if (!isOrder(order)) {
      if (record.valueStart >= 0) this.#reject(record, 'no_order');
      return true;
    }
    if (this.#cut !== null && order > this.#cut) return false;
    if (record.valueStart < 0) return true;
    try {
      const taken = this.changes.take(record, order, this.#partition);
      if (taken === 'no_key' || taken === 'no_image') this.#reject(record, taken);
      else if (taken !== 'nothing') this.#count(order, taken.ts);
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'record_corrupt') throw thrown;
      this.#reject(record, 'corrupt');
    }
    return true;
  }

  #count(order: Order, ts: bigint): void {
    this.events++;
    const high = this.highs.get(this.#partition);
    if (high === undefined) {
      this.highs.set(this.#partition, { order, ts });
      return;
    }
    if (order > high.order) high.order = order;
    if (ts > high.ts) high.ts = ts;
  }

  #reject(record: RecordView, reason: Reject['reason']): void {
    this.rejects.push({ partition: this.#partition, offset: BigInt(record.offset), reason });
  }
}
