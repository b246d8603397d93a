// Owns the step from one record to a change: its key, its image, what its headers say. Knows no batch and no
// stored row.
import type { Order } from '../../../change/order.ts';
import { type AvroValue, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import { readKeyJson } from '../columns-key.ts';
import { type EngineValue, UNHELD } from '../columns-value.ts';
import type { Barrier, Change } from '../scd2-version.ts';
import { commitTime, type EventReader, type RowPlan, transactionId } from './envelope-plan.ts';
import { keyTextOf } from './key-text.ts';
import type { RowStore } from './row-store.ts';
import type { SchemaBook } from './schema-book.ts';

/** Stands for an old key that its header does not tell: no row has it. */
export const UNKNOWN_KEY = '\u0000';

export type KeyChanges = { values: EngineValue[]; changes: Change<number>[]; partition: number };
export type AppendedEvent = { order: Order; op: string; ts: bigint; tx: string; image: number };

/** nothing: the record says what another one says. */
type Taken = { ts: bigint } | 'no_key' | 'no_image' | 'nothing';

type EventParts = { record: RecordView; order: Order; event: readonly AvroValue[]; op: string; ts: bigint };
type Reading = { reader: EventReader; plan: RowPlan };

const utf8 = new TextDecoder();
const NO_IDS: readonly number[] = [];

export class ChangeCollector {
  readonly keys = new Map<string, KeyChanges>();
  readonly appended: AppendedEvent[] = [];
  readonly barriers = new Map<Order, Barrier>();
  /** By rank: where a change was read. */
  readonly partitions: number[] = [];
  readonly offsets: number[] = [];
  readonly #book: SchemaBook;
  readonly #store: RowStore;
  readonly #isAppend: boolean;

  constructor(book: SchemaBook, store: RowStore, isAppend: boolean) {
    this.#book = book;
    this.#store = store;
    this.#isAppend = isAppend;
  }

  /** Throws MissingSchema before anything was taken, `schema_unknown`, `record_corrupt`. */
  take(record: RecordView, order: Order, partition: number): Taken {
    const { bytes, valueStart, valueEnd } = record;
    const valueId = readSchemaId(bytes, valueStart, valueEnd);
    const schema = this.#book.schemaOf(valueId, order);
    const reader = this.#book.eventReader(valueId);
    const event = reader.read(bytes, valueStart + FRAME_LENGTH, valueEnd) as readonly AvroValue[];
    const op = event[reader.places.op] as string;
    const ts = commitTime(event, reader);
    const parts = { record, order, event, op, ts };
    const reading = { reader, plan: this.#book.planOf(schema, reader) };
    if (this.#isAppend) return this.#append(parts, reading);
    if (op !== 't') return this.#change(parts, reading, partition);
    this.barriers.set(order, { order, ts, kind: 't' });
    return { ts };
  }

  #key(record: RecordView, plan: RowPlan): EngineValue[] | null {
    const { bytes, keyStart, keyEnd } = record;
    if (keyStart < 0) return null;
    const reader = this.#book.keyReader(readSchemaId(bytes, keyStart, keyEnd));
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

  #image(record: RecordView, plan: RowPlan, row: readonly AvroValue[]): number {
    const header = record.header('varve.text');
    const texts = header === null ? null : (JSON.parse(utf8.decode(header)) as Record<string, string>);
    const { values, incomplete } = plan.convert(row, texts);
    return this.#store.add(values, incomplete);
  }

  #change(parts: EventParts, { reader, plan }: Reading, partition: number): Taken {
    const { record, order, event, op, ts } = parts;
    const values = this.#key(record, plan);
    if (values === null) return 'no_key';
    const key = keyTextOf(values);
    const other = this.#otherKey(record, op, plan);
    // A key that is written differently and is the same: one row went on.
    const isSameKey = other?.key === key;
    const isMove = other !== null && !isSameKey;
    const isDelete = op === 'd';
    if (isDelete && isSameKey) return 'nothing';
    const after = event[reader.places.after] as readonly AvroValue[] | null;
    if (!isDelete && after === null) return 'no_image';
    const unchanged = isDelete ? NO_IDS : this.#unchanged(record, plan);
    const change: Change<number> = {
      order,
      op: (isSameKey ? 'u' : op) as Change<number>['op'],
      ts,
      tx: transactionId(event, reader),
      image: isDelete || after === null ? null : this.#image(record, plan, after),
      unchanged,
      moved: isDelete && isMove,
      origin: !isDelete && isMove && unchanged.length > 0 ? other.key : null,
      previousKey: !isDelete && isMove ? other.text : null,
      rank: this.partitions.push(partition) - 1,
    };
    this.offsets.push(record.offset);
    const known = this.keys.get(key);
    if (known === undefined) this.keys.set(key, { values, changes: [change], partition });
    else known.changes.push(change);
    return { ts };
  }

  #append({ record, order, event, op, ts }: EventParts, { reader, plan }: Reading): Taken {
    const { after, before } = reader.places;
    const row = (event[after] ?? event[before] ?? null) as readonly AvroValue[] | null;
    const image = row === null ? this.#store.add([], null) : this.#image(record, plan, row);
    this.appended.push({ order, op, ts, tx: transactionId(event, reader), image });
    return { ts };
  }
}
