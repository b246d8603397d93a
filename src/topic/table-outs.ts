// Owns the tables as they are published now: topic, schemas, writer. Knows no transaction and no flush.
import type { Order } from '../change/order.ts';
import { type TableName, tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { Batches } from './batches.ts';
import { EnvelopeWriter, prepareEnvelope } from './envelope.ts';
import type { Change } from './envelope-change.ts';
import type { OversizedNotice, OversizedRule } from './envelope-oversized.ts';
import { claimTopic } from './naming.ts';
import type { OutboxOptions } from './outbox-options.ts';
import type { PreparedTable } from './prepared-table.ts';
import type { StateRecord } from './publisher.ts';
import type { RecordBatchBuilder } from './record-batch.ts';
import { SchemaHistory } from './schema-history.ts';

/** A table as it is published now: valid for one schema. */
export type TableOut = {
  readonly topic: string;
  readonly table: PreparedTable;
  readonly writer: EnvelopeWriter;
  /** The topic's own, one a partition: shared by all that its table was and is. */
  readonly partitions: readonly RecordBatchBuilder[];
};

/** Who encodes a value does not know whose it is. */
const withTopic = (thrown: unknown, topic: string): unknown => {
  if (!(thrown instanceof VarveError) || thrown.kind !== 'value_unsupported') return thrown;
  const facts = { ...thrown.facts, topic };
  return new VarveError(thrown.kind, `A change of ${topic}: ${thrown.message}`, { facts, cause: thrown });
};

/** Throws `null_in_required` with nothing written; everything else of the batch stays as it was. */
export const writeChange = ({ topic, writer, partitions }: TableOut, change: Change): void => {
  try {
    writer.write(partitions, change);
  } catch (thrown) {
    throw withTopic(thrown, topic);
  }
};

type TableOutsParts = {
  options: OutboxOptions;
  batches: Batches;
  /** Keeps a value that is too large; returns where. */
  claim: (name: string, value: Uint8Array) => string;
};

export class TableOuts {
  readonly #parts: TableOutsParts;
  readonly #outs = new Map<PreparedTable, TableOut>();
  readonly #history: SchemaHistory;
  readonly #claims = new Map<string, TableName>();
  #last: TableOut | undefined;

  constructor(parts: TableOutsParts) {
    this.#parts = parts;
    this.#history = new SchemaHistory(parts.options.publisher.state());
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
    const { options, batches } = this.#parts;
    const { publisher, prefix, block, names = 'avro', partitionsOf, tombstones, skip, onNotice } = options;
    const { name, columns, key } = table.schema;
    claimTopic(this.#claims, prefix, name);
    const prepared = prepareEnvelope({ prefix, table, source: block, names });
    const { topic, keySchema, valueSchema } = prepared;
    this.#history.refuseOtherKey(topic, table.schema);
    const ensured = await publisher.ensureTopic(topic, { partitions: partitionsOf?.(name) ?? 1 });
    this.#history.refuseOtherPartitions(topic, ensured.partitions);
    const keyId = keySchema === null ? null : await publisher.registerSchema(prepared.keySubject, keySchema);
    const valueId = await publisher.registerSchema(prepared.valueSubject, valueSchema);
    const before = this.#history.keyIdOf(topic);
    if (before !== undefined && before !== keyId)
      onNotice?.({ kind: 'key_schema', topic, before, now: keyId });
    const { partitions } = ensured;
    const said = { table: name, columns: [...columns], fields: prepared.fields, key: [...key] };
    const state = this.#history.next(topic, { ...said, keyId, valueId, partitions }, first);
    const oversized = await this.#oversizedRule(name);
    const onOversized = (notice: OversizedNotice): void => onNotice?.({ kind: 'oversized', ...notice });
    const form = { tombstones: tombstones ?? true, skip: skip ?? [], oversized, onOversized };
    const writer = new EnvelopeWriter(prepared, { keyId, valueId }, form);
    const out: TableOut = { topic, table, writer, partitions: batches.of(topic, ensured) };
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

  async #oversizedRule(table: TableName): Promise<OversizedRule> {
    const { options, batches, claim } = this.#parts;
    const policy = options.oversizedOf?.(table) ?? 'stop';
    if (policy === 'claim_check') {
      if (options.claims !== undefined) return { policy, claim };
      throw new VarveError(
        'config_invalid',
        `Values of ${tableText(table)} that are too large are to be kept elsewhere (claim_check), but no ` +
          'place was given. Name one: topic.claim_check.location.',
      );
    }
    if (policy !== 'dead_letter') return { policy };
    const topic = `${options.prefix}.varve.dead`;
    const [grave] = batches.of(topic, await options.publisher.ensureTopic(topic, { partitions: 1 }));
    if (grave === undefined) throw new VarveError('internal', `${topic} has no partition.`);
    return { policy, grave };
  }
}
