// Owns a real table that is folded from batches of several schemas at once, for the laws of tables whose
// columns change. Knows no model.
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../../src/sinks/parquet/engine/engine.ts';
import { openLocalStore, toFileUri } from '../../src/sinks/parquet/store-local.ts';
import { openTable, type ParquetTable } from '../../src/sinks/parquet/table.ts';
import type { TableRules } from '../../src/sinks/parquet/table-options.ts';
import { RecordBatchBuilder } from '../../src/topic/record-batch.ts';
import type { SnapshotRecord } from '../../src/topic/state.ts';
import type { EventRecord, EventWriter } from '../sinks/engine/event-batches.ts';
import { RULES, TOPIC_ID } from '../support/table-bench.ts';

/** An event, and the number of the schema that it was written with. */
export type Written = { n: number; event: EventRecord };

type Parts = {
  engine: Engine;
  directory: string;
  writers: readonly EventWriter[];
  rules?: Partial<TableRules>;
};

export class EvolvingTable {
  /** Where `readTable` finds it, as public.t. */
  readonly location: string;
  readonly #parts: Parts;
  #table: ParquetTable | null = null;
  #offset = 0;
  #newest = 0;

  /** `writers`: one a schema, by rising number. */
  constructor(parts: Parts) {
    this.#parts = parts;
    this.location = join(parts.directory, `tables-${randomUUID()}`);
    mkdirSync(this.location);
  }

  get table(): ParquetTable {
    if (this.#table === null) throw new Error('the table is not open');
    return this.#table;
  }

  /** As a process that starts. */
  async open(rules: Partial<TableRules> = {}): Promise<void> {
    const root = join(this.location, 'public', 't');
    const store = openLocalStore(this.location, { uuid: randomUUID });
    this.#table = await openTable({
      io: { store, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined },
      engine: this.#parts.engine,
      location: toFileUri(root),
      stateLocation: toFileUri(`${root}__varve_state`),
      topic: 'test.public.t',
      lineage: {},
      rules: { ...RULES, onIncompatible: 'new_column', ...this.#parts.rules, ...rules },
      snapshotId: () => BigInt.asUintN(52, BigInt(`0x${randomUUID().replaceAll('-', '')}`)) + 1n,
      bury: async (_topic, dead) => {
        throw new Error(`buried: ${dead.map(({ reason }) => reason).join()}`);
      },
    });
  }

  /** One commit of these, in this order. Schemas are known as soon as an event of one is. */
  async commit(written: readonly Written[], snapshot: SnapshotRecord | null = null): Promise<void> {
    const { writers } = this.#parts;
    const out = new RecordBatchBuilder();
    for (const { n, event } of written) {
      writers.find(({ record }) => record.n === n)?.write(out, event);
      this.#newest = Math.max(this.#newest, n);
    }
    const batch = written.length === 0 ? null : out.finish();
    if (batch !== null) new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(this.#offset));
    const nextOffset = BigInt(this.#offset + written.length);
    await this.table.commit(
      batch === null ? [] : [{ partition: 0, batches: [batch], nextOffset }],
      {
        schema: async (id) =>
          writers.map(({ texts }) => texts.get(id)).find((text) => text !== undefined) ?? '',
        schemas: writers.map(({ record }) => record).filter(({ n }) => n <= this.#newest),
        snapshot,
        estimatedRows: 0,
        cut: { limit: null, whole: null },
      },
      TOPIC_ID,
    );
    this.#offset += written.length;
  }

  async upkeep(): Promise<void> {
    while ((await this.table.maintain()) !== 'done');
  }
}
