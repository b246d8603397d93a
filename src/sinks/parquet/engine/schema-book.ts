// Owns the schemas that a merge meets: which one an event was written with, and how to read it. Knows no
// record.
import { VarveError } from '../../../errors.ts';
import { compileReader } from '../../../topic/avro-read.ts';
import type { SchemaRecord } from '../../../topic/state.ts';
import type { TableLayout } from '../columns-layout.ts';
import { type EventReader, planEvent, RowPlan } from './envelope-plan.ts';
import type { OrderReader } from './order-reader.ts';

type KeyReader = { read: ReturnType<typeof compileReader>; fields: readonly string[] };

/** The text of this schema is needed first: `learn` it and read the record again. */
export class MissingSchema extends Error {
  readonly id: number;

  constructor(id: number) {
    super(`schema ${id}`);
    this.id = id;
  }
}

/** Nobody who writes this topic has used the schema that the record names: it is somebody else's record. */
export class UnknownSchema extends Error {}

/** The registry knows no such schema, or has one of another kind under its id. */
const saysNothing = (thrown: unknown): boolean =>
  thrown instanceof SyntaxError ||
  (thrown instanceof VarveError && /^schema_(unknown|incompatible)$/.test(thrown.kind));

export class SchemaBook {
  readonly #layout: TableLayout;
  readonly #schemas: readonly SchemaRecord[];
  readonly #ask: (id: number) => Promise<string>;
  readonly #events = new Map<number, EventReader>();
  readonly #keys = new Map<number, KeyReader>();
  /** Ids that the topic's own records have never had, and that no registry has as a record's schema. */
  readonly #foreign = new Set<number>();
  readonly #plans = new Map<SchemaRecord, RowPlan>();
  #lastId = -1;
  #lastRecords: readonly SchemaRecord[] = [];

  constructor(layout: TableLayout, schemas: readonly SchemaRecord[], ask: (id: number) => Promise<string>) {
    this.#layout = layout;
    this.#schemas = schemas;
    this.#ask = ask;
  }

  async learn(id: number): Promise<void> {
    try {
      this.#read(id, await this.#ask(id));
    } catch (thrown) {
      const isOwn = this.#schemas.some(({ keyId, valueId }) => keyId === id || valueId === id);
      if (isOwn || !saysNothing(thrown)) throw thrown;
      this.#foreign.add(id);
    }
  }

  #read(id: number, text: string): void {
    const isValue = this.#schemas.some(({ valueId }) => valueId === id);
    if (isValue) this.#events.set(id, planEvent(text, { before: this.#layout.mode === 'append' }));
    const { fields = [] } = JSON.parse(text) as { fields?: { name: string }[] };
    const read = compileReader(text, { records: 'arrays' });
    this.#keys.set(id, { read, fields: fields.map(({ name }) => name) });
  }

  eventReader(id: number): EventReader {
    const known = this.#events.get(id);
    if (known === undefined) throw new MissingSchema(id);
    return known;
  }

  keyReader(id: number): KeyReader {
    const known = this.#keys.get(id);
    if (this.#foreign.has(id)) throw new UnknownSchema(`schema ${id}`);
    if (known === undefined) throw new MissingSchema(id);
    return known;
  }

  planOf(schema: SchemaRecord, reader: EventReader): RowPlan {
    const known = this.#plans.get(schema);
    if (known !== undefined) return known;
    const plan = new RowPlan(schema, this.#layout, reader.row);
    this.#plans.set(schema, plan);
    return plan;
  }

  /** The newest schema that was in force at this order. Throws UnknownSchema, `schema_unknown`. */
  schemaOf(valueId: number, reader: OrderReader): SchemaRecord {
    if (valueId !== this.#lastId) {
      this.#lastRecords = this.#schemas.filter((schema) => schema.valueId === valueId);
      this.#lastId = valueId;
    }
    const [oldest, second] = this.#lastRecords;
    if (oldest !== undefined && second === undefined) return oldest;
    const { order } = reader;
    const schema = this.#lastRecords.findLast(({ first }) => first <= order) ?? oldest;
    if (schema !== undefined) return schema;
    if (this.#schemas.length > 0) throw new UnknownSchema(`schema ${valueId}`);
    throw new VarveError(
      'schema_unknown',
      `The topic has no schema record, and an event at ${order} was written with the value schema ` +
        `${valueId}: the state topic was lost. Put it back, or reset the pipeline.`,
      { facts: { schema: valueId, order } },
    );
  }
}
