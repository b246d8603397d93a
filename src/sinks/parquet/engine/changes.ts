// Owns the step from one record to an event: its key, its image, what its headers say. Knows no batch and no
// stored row.
import type { Order } from '../../../change/order.ts';
import { type AvroValue, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import { readKeyJson } from '../columns-key.ts';
import { type EngineValue, UNHELD } from '../columns-value.ts';
import type { Barrier } from '../scd2-version.ts';
import { keyBucket } from './buckets.ts';
import { commitTime, type EventReader, type RowPlan, transactionId } from './envelope-plan.ts';
import type { EventStage, StagedEvent } from './event-stage.ts';
import { keyTextOf } from './key-text.ts';
import type { OrderReader } from './order-reader.ts';
import { Past } from './past.ts';
import type { MergeRequest } from './protocol.ts';
import type { SchemaBook } from './schema-book.ts';
import type { TableFields } from './table-fields.ts';

/** Stands for an old key that its header does not tell: no row has it. */
export const UNKNOWN_KEY = '\u0000';

/** What few events have: see Change. */
export type EventDetails = {
  unchanged: readonly number[];
  moved: boolean;
  origin: string | null;
  previousKey: string | null;
};

/** nothing: the record says what another one says. */
type Taken = { ts: bigint } | 'no_key' | 'no_image' | 'nothing';

type EventParts = {
  record: RecordView;
  order: OrderReader;
  event: readonly AvroValue[];
  op: string;
  ts: bigint;
};
type Reading = { reader: EventReader; plan: RowPlan };
type CollectorParts = { request: MergeRequest; fields: TableFields; stage: EventStage; book: SchemaBook };

const utf8 = new TextDecoder();
const NO_IDS: readonly number[] = [];

export class EventCollector {
  readonly barriers = new Map<Order, Barrier>();
  /** By event number: where an event was read. */
  readonly partitions: number[] = [];
  readonly offsets: number[] = [];
  readonly details = new Map<number, EventDetails>();
  readonly #parts: CollectorParts;
  readonly #isAppend: boolean;
  readonly #past: Past;
  readonly #bucketOf: ReturnType<typeof keyBucket>;
  /** Places of the key's columns among the user's. */
  readonly #keyAt: readonly number[];
  readonly #values: EngineValue[];
  readonly #staged: StagedEvent = { ordinal: 0, op: '', bucket: null, isRuled: false };
  #partition = -1;
  /** Of the group under way. */
  #transaction = '';
  #ts = -1n;
  #tx = '';
  #isRuled = false;

  constructor(parts: CollectorParts) {
    const { request, fields } = parts;
    this.#parts = parts;
    this.#isAppend = request.layout.mode === 'append';
    this.#past = new Past(request);
    this.#bucketOf = keyBucket(fields.key, request);
    this.#keyAt = fields.key.map((field) => fields.user.indexOf(field));
    this.#values = new Array<EngineValue>(fields.user.length).fill(null);
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
    const parts = { record, order, event, op, ts };
    const reading = { reader, plan: book.planOf(schema, reader) };
    if (!this.#isAppend && op === 't') {
      this.barriers.set(order.order, { order: order.order, ts, kind: 't' });
      return { ts };
    }
    return this.#isAppend ? this.#append(parts, reading, partition) : this.#change(parts, reading, partition);
  }

  #key(record: RecordView, plan: RowPlan): EngineValue[] | null {
    const { bytes, keyStart, keyEnd } = record;
    if (keyStart < 0) return null;
    const reader = this.#parts.book.keyReader(readSchemaId(bytes, keyStart, keyEnd));
    const row = reader.read(bytes, keyStart + FRAME_LENGTH, keyEnd) as readonly AvroValue[];
    const values: EngineValue[] = [];
    for (const { field, convert } of plan.keyColumns) {
      const value = row[reader.fields.indexOf(field)];
      const converted = value === null || value === undefined ? UNHELD : convert(value);
      if (converted === UNHELD) return null;
      values.push(converted);
    }
    return values;
  }

  /**
   * The other half's key, where this is half of a changed key: as text for people, and as the engine has
   * it.
   */
  #otherKey(record: RecordView, op: string, plan: RowPlan): { text: string; key: string } | null {
    const header = record.header(op === 'd' ? '__debezium.newkey' : '__debezium.oldkey');
    if (header === null) return null;
    const text = utf8.decode(header);
    const values = readKeyJson(text, plan.keyColumns);
    return { text, key: values === null ? UNKNOWN_KEY : keyTextOf(values) };
  }

  #unchanged(record: RecordView, plan: RowPlan): readonly number[] {
    const header = record.header('varve.unchanged');
    return header === null ? NO_IDS : plan.fieldIds(JSON.parse(utf8.decode(header)) as string[]);
  }

  /** Fills the row under way; returns the columns that it cannot hold. */
  #readImage(record: RecordView, plan: RowPlan, row: readonly AvroValue[]): readonly string[] | null {
    const header = record.header('varve.text');
    const texts = header === null ? null : (JSON.parse(utf8.decode(header)) as Record<string, string>);
    return plan.convert(row, texts, this.#values);
  }

  #change(parts: EventParts, { reader, plan }: Reading, partition: number): Taken {
    const { record, event, op, ts } = parts;
    const key = this.#key(record, plan);
    if (key === null) return 'no_key';
    const isDelete = op === 'd';
    const other = this.#otherKey(record, op, plan);
    // A key that is written differently and is the same: one row went on.
    const isSameKey = other !== null && other.key === keyTextOf(key);
    const isMove = other !== null && !isSameKey;
    if (isDelete && isSameKey) return 'nothing';
    const after = event[reader.places.after] as readonly AvroValue[] | null;
    if (!isDelete && after === null) return 'no_image';
    const unchanged = isDelete ? NO_IDS : this.#unchanged(record, plan);
    this.#values.fill(null);
    const incomplete = isDelete || after === null ? null : this.#readImage(record, plan, after);
    for (let at = 0; at < key.length; at++) this.#values[this.#keyAt[at]!] = key[at]!;
    const isPlain = other === null && unchanged.length === 0;
    if (!isPlain)
      this.details.set(this.offsets.length, {
        unchanged,
        moved: isDelete && isMove,
        origin: !isDelete && isMove && unchanged.length > 0 ? other.key : null,
        previousKey: !isDelete && isMove ? other.text : null,
      });
    this.#group(parts, reader, partition);
    this.#staged.op = isSameKey ? 'u' : op;
    this.#staged.bucket = this.#bucketOf({ values: key });
    this.#staged.isRuled = this.#isRuled || !isPlain;
    this.#add(parts, partition, incomplete);
    return { ts };
  }

  #append(parts: EventParts, { reader, plan }: Reading, partition: number): Taken {
    const { after, before } = reader.places;
    const row = (parts.event[after] ?? parts.event[before] ?? null) as readonly AvroValue[] | null;
    this.#values.fill(null);
    const incomplete = row === null ? null : this.#readImage(parts.record, plan, row);
    this.#group(parts, reader, partition);
    this.#staged.op = parts.op;
    this.#add(parts, partition, incomplete);
    return { ts: parts.ts };
  }

  /** Begins a group where the event does not belong to the last one. */
  #group({ order, event, ts }: EventParts, reader: EventReader, partition: number): void {
    const tx = transactionId(event, reader);
    const { transaction } = order;
    const isSame =
      transaction === this.#transaction &&
      ts === this.#ts &&
      tx === this.#tx &&
      partition === this.#partition;
    if (isSame) return;
    this.#transaction = transaction;
    this.#ts = ts;
    this.#tx = tx;
    this.#partition = partition;
    const group = { transaction, ts, tx, partition };
    this.#parts.stage.begin(group);
    this.#isRuled = !this.#past.isOver(group);
  }

  #add({ record, order }: EventParts, partition: number, incomplete: readonly string[] | null): void {
    this.#staged.ordinal = order.ordinal;
    this.#parts.stage.add(this.#staged, this.#values, incomplete);
    this.partitions.push(partition);
    this.offsets.push(record.offset);
  }
}
