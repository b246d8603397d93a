// Owns the tables as they are published now: topic, schemas, writer. Knows no transaction and no flush.
import type { Order } from '../change/order.ts';
import type { TableName } from '../change/schema.ts';
import type { Batches } from './batches.ts';
import { EnvelopeWriter } from './envelope.ts';
import { prepareEnvelope } from './envelope-names.ts';
import type { OversizedNotice, OversizedRule } from './envelope-oversized.ts';
import { claimTopic } from './naming.ts';
import type { OutboxOptions } from './outbox-options.ts';
import { Placement } from './placement.ts';
import type { PreparedTable } from './prepared-table.ts';
import type { StateRecord } from './publisher.ts';

/** A table as it is published now: valid for one schema. */
export type TableOut = {
  readonly topic: string;
  readonly table: PreparedTable;
  readonly writer: EnvelopeWriter;
  /** The topic's own, one a partition: shared by all that its table was and is. */
  readonly partitions: ReturnType<Batches['of']>;
};

type TableOutsParts = {
  options: OutboxOptions;
  batches: Batches;
  oversizedRule: (table: TableName) => Promise<OversizedRule>;
};

export class TableOuts {
  readonly #parts: TableOutsParts;
  readonly #outs = new Map<PreparedTable, TableOut>();
  readonly #placement: Placement;
  readonly #claims = new Map<string, TableName>();
  #last: TableOut | undefined;

  constructor(parts: TableOutsParts) {
    this.#parts = parts;
    this.#placement = new Placement(parts.options);
  }

  /** The table's writer, if it was opened. */
  find(table: PreparedTable): TableOut | undefined {
    if (this.#last?.table === table) return this.#last;
    const found = this.#outs.get(table);
    if (found) this.#last = found;
    return found;
  }

  /** Registers schemas, makes the topic; `state` is what its first record needs beside it. */
  async open(table: PreparedTable, first: Order): Promise<{ out: TableOut; state: StateRecord | null }> {
    const { options, batches, oversizedRule } = this.#parts;
    const { publisher, prefix, block, names = 'avro', partitionsOf, tombstones, skip, onNotice } = options;
    const { name, columns, key } = table.schema;
    claimTopic(this.#claims, prefix, name);
    const prepared = prepareEnvelope({ prefix, table, source: block, names });
    const { topic, keySchema, valueSchema } = prepared;
    this.#placement.refuseOtherKey(topic, table.schema);
    const ensured = await publisher.ensureTopic(topic, {
      partitions: partitionsOf?.(name) ?? 1,
      id: this.#placement.idOf(topic, name, first),
    });
    const { partitions, id } = ensured;
    const ofTopic = { partitions, ...(id === null ? {} : { topicId: id }) };
    const said = { table: name, columns: [...columns], fields: prepared.fields, key: [...key], ...ofTopic };
    const placed = await this.#placement.place({
      topic,
      texts: { keySchema, valueSchema },
      shape: said,
      first,
    });
    const { keyId, valueId, state } = placed;
    const oversized = await oversizedRule(name);
    const onOversized = (notice: OversizedNotice): void => onNotice?.({ kind: 'oversized', ...notice });
    const form = { tombstones: tombstones ?? true, skip: skip ?? [], oversized, onOversized };
    const writer = new EnvelopeWriter(prepared, { keyId, valueId }, form);
    const out: TableOut = { topic, table, writer, partitions: batches.of(placed.topic, ensured) };
    this.#outs.set(table, out);
    return { out, state };
  }

  /** From now on `column` of `table` is optional: a NULL came where its schema said none could. */
  async relax(
    table: PreparedTable,
    column: number,
    first: Order,
  ): Promise<{ out: TableOut; state: StateRecord | null }> {
    const opened = await this.open(table.relax(column), first);
    this.#outs.set(table, opened.out);
    this.#last = undefined;
    return opened;
  }
}
