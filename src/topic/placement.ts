// Owns where a table's records go and under which schema ids: to their topic with a schema record, or aside
// where the registry refuses the schema. Knows no encoding.
import { type Order, parseOrder } from '../change/order.ts';
import type { TableName, TableSchema } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { OutboxOptions } from './outbox-options.ts';
import { type Parked, type Parking, ParkingPlace, registerSchemas } from './parked.ts';
import { SchemaHistory } from './schema-history.ts';

export class Placement {
  readonly #options: OutboxOptions;
  readonly #history: SchemaHistory;
  readonly #parking: ParkingPlace;

  constructor(options: OutboxOptions) {
    const { publisher, prefix } = options;
    this.#options = options;
    this.#history = new SchemaHistory(publisher.state());
    this.#parking = new ParkingPlace(publisher, prefix);
  }

  /** Throws `key_changed`; nothing was registered or made. */
  refuseOtherKey(topic: string, schema: TableSchema): void {
    this.#history.refuseOtherKey(topic, schema);
  }

  /** Of the topic that the table's changes must go on in; null: any, as all its rows come again. */
  idOf(topic: string, table: TableName, first: Order): string | null {
    const isWhole = parseOrder(first).phase === 0 || this.#options.readAgain?.(table);
    return isWhole ? null : this.#history.idOf(topic);
  }

  /**
   * Registers the schemas. Rows of a snapshot do not wait: who sees a snapshot complete closes what it does
   * not hold. Throws `topic_changed`, `schema_incompatible` for a snapshot.
   */
  async place(parking: Parking): Promise<Parked> {
    const { publisher, onNotice, subjects = 'topic_name' } = this.#options;
    const { topic, texts, shape, first } = parking;
    this.#history.refuseOtherPartitions(topic, shape.partitions ?? 1);
    const isStreamed = parseOrder(first).phase === 1;
    if (this.#parking.isBlocked(topic)) {
      if (isStreamed) return this.#parking.park(parking, '');
      throw new VarveError(
        'schema_incompatible',
        `Changes of ${topic} wait because the registry refuses their schema, so a snapshot of it would ` +
          'come before them. Let the registry take the schema and start again.',
        { facts: { topic } },
      );
    }
    const ids = await registerSchemas(publisher, { topic, subjects }, texts).catch((thrown: unknown) => {
      const isRefused = thrown instanceof VarveError && thrown.kind === 'schema_incompatible';
      if (!isRefused || !isStreamed) throw thrown;
      return thrown.message;
    });
    if (typeof ids === 'string') {
      const parked = await this.#parking.park(parking, ids);
      onNotice?.({ kind: 'blocked', topic, parked: parked.topic, reason: ids });
      return parked;
    }
    const before = this.#history.keyIdOf(topic);
    if (before !== undefined && before !== ids.keyId)
      onNotice?.({ kind: 'key_schema', topic, before, now: ids.keyId });
    return { topic, ...ids, state: this.#history.next(topic, { ...shape, ...ids }, first) };
  }
}
