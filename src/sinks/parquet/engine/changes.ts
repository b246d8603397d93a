// Owns the step from one record to an event: its key, its image, what its headers say. Knows no batch and no
// stored row.
import { type AvroValue, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { TableLayout } from '../columns-layout.ts';
import type { EngineValue } from '../columns-value.ts';
import { commitTime, type EventReader, type RowPlan, transactionId } from './envelope-plan.ts';
import { readKey, readOtherKey, readOversized, readTexts, readUnchanged } from './event-headers.ts';
import type { EventStage, StagedEvent } from './event-stage.ts';
import { keyTextOf } from './key-text.ts';
import type { OrderReader } from './order-reader.ts';
import type { SchemaBook } from './schema-book.ts';
import type { TableFields } from './table-fields.ts';
import { type TruncatePolicy, Truncates } from './truncates.ts';

/** What few events have: see Change. */
type EventDetails = {
  unchanged: readonly number[];
  moved: boolean;
  origin: string | null;
  previousKey: string | null;
};

/** nothing: the record says what another one says. */
type Taken = { ts: bigint } | 'no_key' | 'no_image' | 'no_op' | 'nothing';

type EventParts = {
  record: RecordView;
  partition: number;
  order: OrderReader;
  event: readonly AvroValue[];
  op: string;
  ts: bigint;
};
type Reading = { reader: EventReader; plan: RowPlan };
type CollectorParts = {
  fields: TableFields;
  stage: EventStage;
  book: SchemaBook;
  layout: Pick<TableLayout, 'mode'>;
  truncates: TruncatePolicy;
};

const NO_IDS: readonly number[] = [];
const OPS: ReadonlySet<unknown> = new Set(['c', 'u', 'd', 'r', 't']);

export class EventCollector {
  readonly #truncates: Truncates;
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
    this.#truncates = new Truncates(parts.truncates);
    this.#isAppend = parts.layout.mode === 'append';
    this.#keyAt = key.map((field) => user.indexOf(field));
    this.#values = new Array<EngineValue>(user.length).fill(null);
  }

  /** Truncates that end rows, by order. */
  get barriers(): Truncates['barriers'] {
    return this.#truncates.barriers;
  }

  /** Throws MissingSchema before anything was taken, UnknownSchema, `record_corrupt`, `truncate_refused`. */
  take(record: RecordView, order: OrderReader, partition: number): Taken {
    const { bytes, valueStart, valueEnd } = record;
    const { book } = this.#parts;
    const valueId = readSchemaId(bytes, valueStart, valueEnd);
    const schema = book.schemaOf(valueId, order);
    const reader = book.eventReader(valueId);
    const event = reader.read(bytes, valueStart + FRAME_LENGTH, valueEnd) as readonly AvroValue[];
    const op = event[reader.places.op] as string;
    if (!OPS.has(op)) return 'no_op';
    const ts = commitTime(event, reader);
    const parts = { record, partition, order, event, op, ts };
    const reading = { reader, plan: book.planOf(schema, reader) };
    if (op === 't' && !this.#truncates.take(order.order, ts)) return { ts };
    if (this.#isAppend) return this.#append(parts, reading);
    return op === 't' ? { ts } : this.#change(parts, reading);
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
    const incomplete = this.#readImage(record, plan, isDelete ? null : after);
    if (!isWhole) {
      const previous = isDelete || isSameKey ? null : other;
      this.details.set(this.offsets.length, {
        unchanged,
        moved: isDelete && other !== null,
        origin: unchanged.length > 0 ? (previous?.key ?? null) : null,
        previousKey: previous?.text ?? null,
      });
    }
    for (const [at, value] of key.entries()) this.#values[this.#keyAt[at] ?? -1] = value;
    this.#add(parts, reader, { op: isSameKey ? 'u' : op, key, isWhole, incomplete });
    return { ts };
  }

  /** What was before a delete is all that its source has sent: the key, or the whole row. */
  #append(parts: EventParts, { reader, plan }: Reading): Taken {
    const { record, event, op, ts } = parts;
    const { after, before } = reader.places;
    const key = readKey(record, plan, this.#parts.book);
    const isSameKey = key !== null && readOtherKey(record, op, plan)?.key === keyTextOf(key);
    if (isSameKey && op === 'd') return 'nothing';
    const row = (event[after] ?? event[before] ?? null) as readonly AvroValue[] | null;
    const unheld = this.#readImage(record, plan, row);
    for (const [at, value] of key?.entries() ?? []) this.#values[plan.keyPlaces[at] ?? -1] = value;
    const incomplete = row === null ? null : this.#leaveOut(readUnchanged(record, plan), unheld);
    this.#add(parts, reader, { op: isSameKey ? 'u' : op, key: [], isWhole: true, incomplete });
    return { ts };
  }

  /** NULL for what the source did not send; returns the names of all columns without their value. */
  #leaveOut(ids: readonly number[], unheld: readonly string[] | null): readonly string[] | null {
    if (ids.length === 0) return unheld;
    const names = new Set(unheld);
    for (const [at, { id, name }] of this.#parts.fields.user.entries()) {
      if (!ids.includes(id)) continue;
      this.#values[at] = null;
      names.add(name);
    }
    return [...names].sort();
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
