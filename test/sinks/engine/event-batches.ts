// Owns record batches for engine tests: change events said in plain words, written record by record, so
// that halves of a changed key can come apart as they do in partitions.
import type { Column, TableSchema } from '../../../src/change/schema.ts';
import { avroSchema } from '../../../src/topic/avro-schema.ts';
import { envelopeType, keyType } from '../../../src/topic/envelope-schema.ts';
import { fieldNames } from '../../../src/topic/naming.ts';
import { RecordBatchBuilder } from '../../../src/topic/record-batch.ts';
import type { SchemaRecord } from '../../../src/topic/state.ts';
import { avroType } from '../../support/avsc.ts';
import { TYPE } from '../../support/plain-table.ts';

export type EventRecord = {
  op: 'c' | 'u' | 'd' | 'r' | 't';
  order: string;
  ts: bigint;
  tx?: string;
  /** Avro values of the key's fields; absent: no key. */
  key?: Record<string, unknown>;
  /** Avro values of the row's fields, unions as avsc wants them: `{ int: 1 }`. */
  row?: Record<string, unknown>;
  headers?: Record<string, string>;
};

const SOURCE = {
  type: 'struct',
  name: 'test.Source',
  fields: [
    { field: 'ts_ms', type: { type: 'int64' }, optional: false },
    { field: 'txId', type: { type: 'string' }, optional: true },
    { field: 'ts_us', type: { type: 'int64' }, optional: false },
  ],
} as const;

const RECORD = 'p.s.t';
const utf8 = new TextEncoder();

/** Columns by name; `id` defaults to the place, from 1. */
export const columnsOf = (columns: Record<string, Partial<Column> & Pick<Column, 'type'>>): Column[] =>
  Object.entries(columns).map(([name, column], at) => ({
    id: at + 1,
    name,
    sourceType: column.type.type,
    optional: true,
    ...column,
  }));

/** A table of a key and two numbers. */
export const NUMBERS: TableSchema = {
  name: ['s', 't'],
  columns: columnsOf({
    id: { type: TYPE.long, optional: false },
    a: { type: TYPE.int },
    b: { type: TYPE.int },
  }),
  key: [0],
};

/** One schema of one table's topic. */
export class EventWriter {
  readonly record: SchemaRecord;
  readonly texts = new Map<number, string>();
  readonly #key: ReturnType<typeof avroType> | null;
  readonly #value: ReturnType<typeof avroType>;

  constructor(schema: TableSchema, n = 1, first = '') {
    const names = { record: RECORD, fields: fieldNames(schema.name, schema.columns) };
    const key = keyType(schema, names);
    const keyId = key === null ? null : n * 2;
    const valueId = n * 2 + 1;
    const value = avroSchema(envelopeType(schema, names, SOURCE));
    this.texts.set(valueId, value);
    if (key !== null && keyId !== null) this.texts.set(keyId, avroSchema(key));
    this.#key = key === null ? null : avroType(JSON.parse(avroSchema(key)));
    this.#value = avroType(JSON.parse(value));
    const { columns } = schema;
    this.record = {
      table: schema.name,
      n,
      first,
      columns: [...columns],
      fields: names.fields,
      key: [...schema.key],
      keyId,
      valueId,
    };
  }

  write(out: RecordBatchBuilder, event: EventRecord): void {
    const frame = (id: number): Uint8Array => {
      const bytes = new Uint8Array(5);
      new DataView(bytes.buffer).setInt32(1, id);
      return bytes;
    };
    out.beginRecord(1_700_000_000_000);
    if (event.key === undefined || this.#key === null) out.nullKey();
    else {
      out.beginKey();
      out.writer.raw(frame(this.record.keyId ?? 0));
      out.writer.raw(this.#key.toBuffer(event.key));
      out.endKey();
    }
    const row = event.row === undefined ? null : { [`${RECORD}.Value`]: event.row };
    out.beginValue();
    out.writer.raw(frame(this.record.valueId));
    out.writer.raw(
      this.#value.toBuffer({
        before: event.op === 'd' ? row : null,
        after: event.op === 'd' ? null : row,
        source: { ts_ms: event.ts / 1000n, txId: { string: event.tx ?? '' }, ts_us: event.ts },
        transaction: null,
        op: event.op,
        ts_ms: null,
        ts_us: null,
        ts_ns: null,
      }),
    );
    out.endValue();
    const headers = Object.entries({ 'varve.order': event.order, ...event.headers });
    out.beginHeaders(headers.length);
    for (const [name, value] of headers) out.header(utf8.encode(name), utf8.encode(value));
    out.endRecord();
  }

  batch(events: readonly EventRecord[], baseOffset = 0): Uint8Array {
    const out = new RecordBatchBuilder();
    for (const event of events) this.write(out, event);
    const batch = out.finish();
    new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(baseOffset));
    return batch;
  }
}
