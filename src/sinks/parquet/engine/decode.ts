// Owns the step from record batches to changes: reads records, headers, keys and images, sorts out what cannot be folded.
// Knows no stored row and no rule.
import { isOrder, type Order } from '../../../change/order.ts';
import { VarveError } from '../../../errors.ts';
import { type AvroValue, compileReader, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import { codecById } from '../../../topic/compression.ts';
import { readRecords } from '../../../topic/record-batch.ts';
import { readBatchHeader } from '../../../topic/record-batch-header.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import type { SchemaRecord } from '../../../topic/state.ts';
import { readKeyJson } from '../columns-key.ts';
import type { TableLayout } from '../columns-layout.ts';
import { type EngineValue, UNHELD } from '../columns-value.ts';
import type { Barrier, Change, DeadReason } from '../scd2-version.ts';
import { commitTime, type EventReader, planEvent, RowPlan, transactionId } from './envelope-plan.ts';
import { keyTextOf } from './key-text.ts';
import type { High, MergeRequest } from './protocol.ts';
import type { RowStore } from './row-store.ts';

/** Stands for an old key that its header does not tell: no row has it. */
export const UNKNOWN_KEY = '\u0000';

export type KeyChanges = { values: EngineValue[]; changes: Change<number>[]; partition: number };
export type AppendedEvent = { order: Order; op: string; ts: bigint; tx: string; image: number };

/** An event that cannot be folded. */
export type Reject = {
  partition: number;
  offset: bigint;
  reason: DeadReason | 'no_order' | 'no_key' | 'no_image' | 'corrupt';
};

class MissingSchema extends Error {
  readonly id: number;

  constructor(id: number) {
    super(`schema ${id}`);
    this.id = id;
  }
}

type KeyReader = { read: ReturnType<typeof compileReader>; fields: readonly string[] };
type Headers = { order: Order; unchanged: readonly string[]; texts: Record<string, string> | null };

const latin1 = new TextDecoder('latin1');
const utf8 = new TextDecoder();
const NO_NAMES: readonly string[] = [];
const NO_IDS: readonly number[] = [];

export class Decoder {
  readonly keys = new Map<string, KeyChanges>();
  readonly appended: AppendedEvent[] = [];
  readonly barriers = new Map<Order, Barrier>();
  readonly rejects: Reject[] = [];
  readonly offsets = new Map<number, bigint>();
  readonly highs: Map<number, High>;
  /** By rank: where a change was read. */
  readonly partitions: number[] = [];
  readonly recordOffsets: number[] = [];
  events = 0;
  readonly #layout: TableLayout;
  readonly #schemas: readonly SchemaRecord[];
  readonly #store: RowStore;
  readonly #askSchema: (id: number) => Promise<string>;
  readonly #cut: Order | null;
  readonly #eventReaders = new Map<number, EventReader>();
  readonly #keyReaders = new Map<number, KeyReader>();
  readonly #plans = new Map<SchemaRecord, RowPlan>();
  #partition = 0;
  /** Next offset of this partition; what lies below was read before. */
  #next = 0;
  #isCut = false;
  #lastId = -1;
  #lastRecords: readonly SchemaRecord[] = [];

  constructor(request: MergeRequest, store: RowStore, askSchema: (id: number) => Promise<string>) {
    this.#layout = request.layout;
    this.#schemas = request.schemas;
    this.#cut = request.cut;
    this.#store = store;
    this.#askSchema = askSchema;
    this.highs = new Map([...request.highs].map(([partition, high]) => [partition, { ...high }]));
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
      await this.#learn(missing);
    }
    // Offsets may have holes, and end behind the last record.
    const { lastOffset } = readBatchHeader(batch);
    if (!this.#isCut && lastOffset >= this.#next) this.#next = lastOffset + 1;
  }

  async #learn(id: number): Promise<void> {
    const text = await this.#askSchema(id);
    const isValue = this.#schemas.some(({ valueId }) => valueId === id);
    if (isValue) this.#eventReaders.set(id, planEvent(text, { before: this.#layout.mode === 'append' }));
    const { fields = [] } = JSON.parse(text) as { fields?: { name: string }[] };
    const read = compileReader(text, { records: 'arrays' });
    this.#keyReaders.set(id, { read, fields: fields.map(({ name }) => name) });
  }

  #visit(record: RecordView): boolean {
    const order = latin1.decode(record.header('varve.order') ?? undefined);
    if (!isOrder(order)) {
      if (record.valueStart >= 0) this.#reject(record, 'no_order');
      return true;
    }
    if (this.#cut !== null && order > this.#cut) return false;
    // A tombstone says nothing that its delete has not said.
    if (record.valueStart < 0) return true;
    try {
      this.#event(record, order);
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'record_corrupt') throw thrown;
      this.#reject(record, 'corrupt');
    }
    return true;
  }

  #reject(record: RecordView, reason: Reject['reason']): void {
    this.rejects.push({ partition: this.#partition, offset: BigInt(record.offset), reason });
  }

  #event(record: RecordView, order: Order): void {
    const { bytes, valueStart, valueEnd } = record;
    const valueId = readSchemaId(bytes, valueStart, valueEnd);
    const schema = this.#schemaOf(valueId, order);
    const reader = this.#eventReaders.get(valueId);
    if (reader === undefined) throw new MissingSchema(valueId);
    const event = reader.read(bytes, valueStart + FRAME_LENGTH, valueEnd) as readonly AvroValue[];
    const op = event[reader.places.op] as string;
    const ts = commitTime(event, reader);
    if (this.#layout.mode === 'append') this.#append({ record, order, event, op, ts }, reader, schema);
    else if (op === 't') this.barriers.set(order, { order, ts, kind: 't' });
    else if (!this.#change({ record, order, event, op, ts }, reader, schema)) return;
    this.events++;
    const high = this.highs.get(this.#partition);
    if (high === undefined) this.highs.set(this.#partition, { order, ts });
    else {
      if (order > high.order) high.order = order;
      if (ts > high.ts) high.ts = ts;
    }
  }

  /** The newest schema that was in force at this order; records of one value id are few. */
  #schemaOf(valueId: number, order: Order): SchemaRecord {
    if (valueId !== this.#lastId) {
      this.#lastRecords = this.#schemas.filter((schema) => schema.valueId === valueId);
      this.#lastId = valueId;
    }
    const schema = this.#lastRecords.findLast(({ first }) => first <= order) ?? this.#lastRecords[0];
    if (schema !== undefined) return schema;
    throw new VarveError(
      'schema_unknown',
      `No schema record of the topic has the value schema ${valueId}, which an event at ${order} was written with. The state ` +
        'topic has lost it, or another program writes to this topic; find out which, and snapshot the table again.',
      { facts: { schema: valueId, order, partition: this.#partition } },
    );
  }

  #planOf(schema: SchemaRecord, reader: EventReader): RowPlan {
    const known = this.#plans.get(schema);
    if (known !== undefined) return known;
    const plan = new RowPlan(schema, this.#layout, reader.row);
    this.#plans.set(schema, plan);
    return plan;
  }

  #headers(record: RecordView, order: Order): Headers {
    const unchanged = record.header('varve.unchanged');
    const texts = record.header('varve.text');
    return {
      order,
      unchanged: unchanged === null ? NO_NAMES : (JSON.parse(utf8.decode(unchanged)) as string[]),
      texts: texts === null ? null : (JSON.parse(utf8.decode(texts)) as Record<string, string>),
    };
  }

  #key(record: RecordView, plan: RowPlan): EngineValue[] | null {
    const { bytes, keyStart, keyEnd } = record;
    const keyId = readSchemaId(bytes, keyStart, keyEnd);
    const reader = this.#keyReaders.get(keyId);
    if (reader === undefined) throw new MissingSchema(keyId);
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

  /** False: it was rejected, or says nothing. */
  #change({ record, order, event, op, ts }: EventParts, reader: EventReader, schema: SchemaRecord): boolean {
    const plan = this.#planOf(schema, reader);
    const values = record.keyStart < 0 ? null : this.#key(record, plan);
    if (values === null) {
      this.#reject(record, 'no_key');
      return false;
    }
    const key = keyTextOf(values);
    const other = record.header(op === 'd' ? '__debezium.newkey' : '__debezium.oldkey');
    const otherText = other === null ? null : utf8.decode(other);
    const otherValues = otherText === null ? null : readKeyJson(otherText, plan.keyColumns);
    const otherKey = otherValues === null ? UNKNOWN_KEY : keyTextOf(otherValues);
    // A key that is written differently and is the same: one row went on.
    const isSameKey = otherText !== null && otherKey === key;
    if (op === 'd' && isSameKey) return false;
    const { unchanged, texts } = this.#headers(record, order);
    const after = event[reader.places.after] as readonly AvroValue[] | null;
    if (op !== 'd' && after === null) {
      this.#reject(record, 'no_image');
      return false;
    }
    const row = after === null || op === 'd' ? null : plan.convert(after, texts);
    const ids = row === null || unchanged.length === 0 ? NO_IDS : plan.fieldIds(unchanged);
    const isMove = otherText !== null && !isSameKey;
    const change: Change<number> = {
      order,
      op: (isSameKey ? 'u' : op) as Change<number>['op'],
      ts,
      tx: transactionId(event, reader),
      image: row === null ? null : this.#store.add(row.values, row.incomplete),
      unchanged: ids,
      moved: op === 'd' && isMove,
      origin: op !== 'd' && isMove && ids.length > 0 ? otherKey : null,
      previousKey: op !== 'd' && isMove ? otherText : null,
      rank: this.partitions.push(this.#partition) - 1,
    };
    this.recordOffsets.push(record.offset);
    const known = this.keys.get(key);
    if (known === undefined) this.keys.set(key, { values, changes: [change], partition: this.#partition });
    else known.changes.push(change);
    return true;
  }

  #append({ record, order, event, op, ts }: EventParts, reader: EventReader, schema: SchemaRecord): void {
    const plan = this.#planOf(schema, reader);
    const { texts } = this.#headers(record, order);
    const { after, before } = reader.places;
    const row = (event[after] ?? event[before] ?? null) as readonly AvroValue[] | null;
    const image = row === null ? { values: [], incomplete: null } : plan.convert(row, texts);
    const { values, incomplete } = image;
    const handle = this.#store.add(values, incomplete);
    this.appended.push({ order, op, ts, tx: transactionId(event, reader), image: handle });
  }
}

type EventParts = { record: RecordView; order: Order; event: readonly AvroValue[]; op: string; ts: bigint };
