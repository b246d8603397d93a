// Owns the step from one record to an event: its key, its image, what its headers say. Knows no batch and no
// stored row.
import type { Order } from '../../../change/order.ts';
import { type AvroValue, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { EngineValue } from '../columns-value.ts';
import type { Barrier } from '../scd2-version.ts';
import { commitTime, type EventReader, type RowPlan, transactionId } from './envelope-plan.ts';
import { readKey, readOtherKey, readOversized, readTexts, readUnchanged } from './event-headers.ts';
import type { EventStage, StagedEvent } from './event-stage.ts';
import { keyTextOf } from './key-text.ts';
import type { OrderReader } from './order-reader.ts';
import type { SchemaBook } from './schema-book.ts';
import type { TableFields } from './table-fields.ts';

/** What few events have: see Change. */
type EventDetails = {
  unchanged: readonly number[];
  moved: boolean;
  origin: string | null;
  previousKey: string | null;
};

/** nothing: the record says what another one says. */
type Taken = { ts: bigint } | 'no_key' | 'no_image' | 'nothing';

type EventParts = {
  record: RecordView;
  partition: number;
  order: OrderReader;
  event: readonly AvroValue[];
  op: string;
  ts: bigint;
};
type Reading = { reader: EventReader; plan: RowPlan };
type CollectorParts = { fields: TableFields; stage: EventStage; book: SchemaBook };

const NO_IDS: readonly number[] = [];

export class EventCollector {
  readonly barriers = new Map<Order, Barrier>();
  /** By event number: where an event was read. */
  readonly partitions: number[] = [];
  readonly offsets: number[] = [];
  readonly details = new Map<number, EventDetails>();
  readonly #parts: CollectorParts;
  readonly #isAppend: boolean;
  /** Places of the key's columns among the user's. */
  readonly #keyAt: readonly number[];
  /** The row under way. */
  readonly #values: EngineValue[];

  constructor(parts: CollectorParts) {
    const { key, user } = parts.fields;
    this.#parts = parts;
    this.#isAppend = key.length === 0;
    this.#keyAt = key.map((field) => user.indexOf(field));
    this.#values = new Array<EngineValue>(user.length).fill(null);
  }

  /** Throws MissingSchema before anything was taken, `schema_unknown`, `record_corrupt`. */
  take(record: RecordView, order: OrderReader, partition: number): Taken {
    const { bytes, valueStart, valueEnd } = record;
    const { book } = this.#parts;
    const valueId = readSchemaId(bytes, valueStart, valueEnd);
    const schema = book.schemaOf(valueId, order);
    const reader = book.eventReader(valueId);
    const event = reader.read(bytes, valueStart + FRAME_LENGTH, valueEnd) as readonly AvroValue[];
    const op = event[reader.places.op] as string;
    const ts = commitTime(event, reader);
    const parts = { record, partition, order, event, op, ts };
    const reading = { reader, plan: book.planOf(schema, reader) };
    if (this.#isAppend) return this.#append(parts, reading);
    if (op !== 't') return this.#change(parts, reading);
    this.barriers.set(order.order, { order: order.order, ts, kind: 't' });
    return { ts };
  }

  #change(parts: EventParts, reading: Reading): Taken {
    const { record, event, op, ts } = parts;
    const { reader, plan } = reading;
    const key = readKey(record, plan, this.#parts.book);
    if (key === null) return 'no_key';
    const isDelete = op === 'd';
    const other = readOtherKey(record, op, plan);
    // A key that is written differently and is the same: one row went on.
    const isSameKey = other !== null && other.key === keyTextOf(key);
    if (isDelete && isSameKey) return 'nothing';
    const after = event[reader.places.after] as readonly AvroValue[] | null;
    if (!isDelete && after === null) return 'no_image';
    const unchanged = isDelete ? NO_IDS : readUnchanged(record, plan);
    const isWhole = other === null && unchanged.length === 0;
    if (!isWhole) {
      const previous = isDelete || isSameKey ? null : other;
      this.details.set(this.offsets.length, {
        unchanged,
        moved: isDelete && other !== null,
        origin: unchanged.length > 0 ? (previous?.key ?? null) : null,
        previousKey: previous?.text ?? null,
      });
    }
    const incomplete = this.#readImage(record, plan, isDelete ? null : after);
    for (const [at, value] of key.entries()) this.#values[this.#keyAt[at] ?? -1] = value;
    this.#add(parts, reader, { op: isSameKey ? 'u' : op, key, isWhole, incomplete });
    return { ts };
  }

  #append(parts: EventParts, { reader, plan }: Reading): Taken {
    const { record, event, op, ts } = parts;
    const { after, before } = reader.places;
    const row = (event[after] ?? event[before] ?? null) as readonly AvroValue[] | null;
    const incomplete = this.#readImage(record, plan, row);
    this.#add(parts, reader, { op, key: [], isWhole: true, incomplete });
    return { ts };
  }

  /** Fills the row under way; returns the columns that it cannot hold. */
  #readImage(record: RecordView, plan: RowPlan, row: readonly AvroValue[] | null): readonly string[] | null {
    this.#values.fill(null);
    if (row === null) return null;
    return plan.convert(row, { texts: readTexts(record), oversized: readOversized(record) }, this.#values);
  }

  #add(
    { record, partition, order, event, ts }: EventParts,
    reader: EventReader,
    said: Omit<StagedEvent, 'ordinal'>,
  ): void {
    const { transaction, ordinal } = order;
    const { stage } = this.#parts;
    stage.groups.enter({ transaction, ts, tx: transactionId(event, reader), partition });
    stage.add({ ordinal, ...said }, this.#values);
    this.partitions.push(partition);
    this.offsets.push(record.offset);
  }
}
