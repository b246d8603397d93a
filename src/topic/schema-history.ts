// Owns the schema records of all topics: the newest one of each, whether a table still fits it, and the next
// one. Knows no encoding.
import type { Order } from '../change/order.ts';
import type { TableSchema } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { StateRecord } from './publisher.ts';
import { printState, type SchemaRecord, STATE_KEYS } from './state.ts';

/** A schema record without its place in the history. */
export type SchemaShape = Omit<SchemaRecord, 'n' | 'first'>;

const isSame = (known: SchemaRecord, next: SchemaShape): boolean =>
  JSON.stringify([known.columns, known.fields, known.key, known.keyId, known.valueId, known.topicId]) ===
  JSON.stringify([next.columns, next.fields, next.key, next.keyId, next.valueId, next.topicId]);

const keyText = (schema: Pick<SchemaRecord, 'columns' | 'key'> | TableSchema): string =>
  schema.key.map((at) => schema.columns[at]?.name).join(', ') || 'none';

export class SchemaHistory {
  readonly #newest = new Map<string, SchemaRecord>();

  constructor(state: ReadonlyMap<string, string>) {
    for (const [key, text] of state) {
      if (!key.startsWith('schema/')) continue;
      const record = JSON.parse(text) as SchemaRecord;
      const topic = key.slice('schema/'.length, key.lastIndexOf('/'));
      if ((this.#newest.get(topic)?.n ?? 0) < record.n) this.#newest.set(topic, record);
    }
  }

  /** Throws `key_changed`. */
  refuseOtherKey(topic: string, schema: TableSchema): void {
    const known = this.#newest.get(topic);
    if (known === undefined) return;
    const before = known.key.map((at) => known.columns[at]?.id).join();
    const after = schema.key.map((at) => schema.columns[at]?.id).join();
    if (before === after) return;
    throw new VarveError(
      'key_changed',
      `The key of ${topic} changed from (${keyText(known)}) to (${keyText(schema)}). Its rows can no ` +
        'longer be told apart as before. Run varve reset FILE --yes, move its table away and start again.',
      { facts: { topic, before: keyText(known), after: keyText(schema) } },
    );
  }

  /** Throws `topic_changed`: another number of partitions sends a key elsewhere than its older changes. */
  refuseOtherPartitions(topic: string, partitions: number): void {
    const known = this.#newest.get(topic);
    const before = known?.partitions ?? 1;
    if (known === undefined || before === partitions) return;
    throw new VarveError(
      'topic_changed',
      `${topic} had ${before} partitions when it was written last and has ${partitions} now: the changes ` +
        'of a key would go on in another partition, out of order. Make a topic of as many as before, or ' +
        'run varve reset FILE --yes and start again.',
      { facts: { topic, before, now: partitions } },
    );
  }

  /** The topic as it was written last; null: not known. */
  idOf(topic: string): string | null {
    return this.#newest.get(topic)?.topicId ?? null;
  }

  /** The id of the key's schema as it was used last; undefined: the topic is new. */
  keyIdOf(topic: string): number | null | undefined {
    return this.#newest.get(topic)?.keyId;
  }

  /** What has to be written with the topic's first record of this shape; null: the newest record says it. */
  next(topic: string, shape: SchemaShape, first: Order): StateRecord | null {
    const known = this.#newest.get(topic);
    if (known !== undefined && isSame(known, shape)) return null;
    const record: SchemaRecord = { ...shape, n: (known?.n ?? 0) + 1, first };
    this.#newest.set(topic, record);
    return { key: STATE_KEYS.schema(topic, record.n), value: printState(record) };
  }
}
