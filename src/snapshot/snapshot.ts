// Owns tables -> topic as of one point: several readers, one line of ordinals, progress, and the completion markers.
// Knows no database; that all chunks see one state is the session's promise, and is verified before a marker is written.

import type { RowChange } from '../change/event.ts';
import { formatOrder } from '../change/order.ts';
import { tableText } from '../change/schema.ts';
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import { type Outbox, snapshotOrder } from '../topic/outbox.ts';
import type { PreparedTable } from '../topic/prepared-table.ts';
import type { StateRecord } from '../topic/publisher.ts';
import { printState, type SnapshotRecord, STATE_KEYS } from '../topic/state.ts';
import type { ChunkSpec, SnapshotSession } from './chunk-reader.ts';

const FLUSH_BYTES = 8 << 20;

export type SnapshotProgress = {
  table: string;
  rows: number;
  estimatedRows: number;
  tableDone: boolean;
};

export type SnapshotOptions = {
  session: SnapshotSession<PreparedTable>;
  outbox: Outbox;
  epoch: number;
  parallel: number;
  /** Keys of earlier snapshots that this one no longer has are closed by the sink. */
  sweep: boolean;
  onProgress: (progress: SnapshotProgress) => void;
};

type TableRun = {
  topic: string;
  table: PreparedTable;
  chunksLeft: number;
  rows: number;
  estimatedRows: number;
};

class SnapshotRun {
  readonly #options: SnapshotOptions;
  readonly #runs = new Map<PreparedTable, TableRun>();
  #ordinal = 0;
  #isFirst = true;

  constructor(options: SnapshotOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { session, outbox, parallel } = this.#options;
    for (const chunk of session.chunks) await this.#register(chunk);
    this.#begin();
    await outbox.flush([...this.#runs.values()].map((run) => this.#record(run, false)));
    const waiting = [...session.chunks];
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const work = async (): Promise<void> => {
      try {
        for (let chunk = waiting.shift(); chunk && !either.aborted; chunk = waiting.shift()) {
          await this.#readChunk(chunk, either);
        }
      } catch (thrown) {
        failed.abort();
        throw thrown;
      }
    };
    const results = await Promise.allSettled(Array.from({ length: parallel }, work));
    const wrong = results.find((result) => result.status === 'rejected');
    if (wrong) throw wrong.reason;
    if (signal.aborted)
      throw new VarveError('source_unreachable', 'The snapshot was stopped before it was complete.');
    await session.verify([...this.#runs.keys()].map((table) => table.schema.name));
    await durably('snapshot.markers', async () => {
      await outbox.flush([...this.#runs.values()].map((run) => this.#record(run, true)));
      await outbox.settled();
    });
  }

  async #register({ table, estimatedRows }: ChunkSpec<PreparedTable>): Promise<void> {
    const known = this.#runs.get(table);
    if (known) {
      known.chunksLeft++;
      known.estimatedRows += estimatedRows;
      return;
    }
    const { outbox, epoch, session } = this.#options;
    const { topic } = await outbox.open(table, snapshotOrder(epoch, session.position));
    this.#runs.set(table, { topic, table, chunksLeft: 1, rows: 0, estimatedRows });
  }

  #begin(): void {
    const { outbox, epoch, session } = this.#options;
    outbox.begin(
      { epoch, position: session.position, phase: 0 },
      session.ts,
      this.#isFirst ? 'first' : 'true',
    );
    this.#isFirst = false;
  }

  async #readChunk(chunk: ChunkSpec<PreparedTable>, signal: AbortSignal): Promise<void> {
    const { session, outbox, onProgress } = this.#options;
    const run = this.#runs.get(chunk.table);
    if (run === undefined) throw new VarveError('internal', 'A chunk of an unregistered table was read.');
    const row: RowChange<PreparedTable> = {
      kind: 'row',
      op: 'r',
      table: chunk.table,
      ordinal: 0,
      before: null,
      beforeIsKey: false,
      after: null,
      keyChanged: false,
    };
    for await (const bunch of session.readChunk(chunk, signal)) {
      for (row.after = bunch.next(); row.after !== null; row.after = bunch.next()) {
        row.ordinal = ++this.#ordinal;
        const wait = this.#write(row);
        if (wait !== null) await wait;
        run.rows++;
      }
      if (outbox.bytes > FLUSH_BYTES) await durably('snapshot.rows', () => outbox.flush([]));
      onProgress({ table: run.topic, rows: run.rows, estimatedRows: run.estimatedRows, tableDone: false });
    }
    run.chunksLeft--;
    const tableDone = run.chunksLeft === 0;
    onProgress({ table: run.topic, rows: run.rows, estimatedRows: run.estimatedRows, tableDone });
  }

  #write(row: RowChange<PreparedTable>): Promise<void> | null {
    const { outbox } = this.#options;
    const out = outbox.find(row.table);
    if (out === undefined)
      throw new VarveError('internal', `${tableText(row.table.schema.name)} was not opened.`);
    try {
      outbox.row(out, row);
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'null_in_required') throw thrown;
      return this.#relaxAndWrite(row, Number(thrown.facts.column));
    }
    if (this.#ordinal === 1) this.#begin();
    return null;
  }

  async #relaxAndWrite(row: RowChange<PreparedTable>, column: number): Promise<void> {
    const { epoch, session, outbox } = this.#options;
    const first = formatOrder({ epoch, position: session.position, phase: 0, ordinal: row.ordinal });
    outbox.row(await outbox.relax(row.table, column, first), row);
  }

  #record({ topic, table, rows, estimatedRows }: TableRun, done: boolean): StateRecord {
    const { epoch, session, sweep } = this.#options;
    const record: SnapshotRecord = {
      table: table.schema.name,
      epoch,
      order: snapshotOrder(epoch, session.position),
      ts: session.ts.toString(),
      rows,
      estimatedRows,
      done,
      sweep,
    };
    return { key: STATE_KEYS.snapshot(topic), value: printState(record) };
  }
}

/**
 * Publishes every row of the session's chunks as `r`, then the completion markers; on return all is durable. Throws
 * with no marker written when anything failed, so that the sink never sweeps on half a snapshot.
 */
export const runSnapshot = async (options: SnapshotOptions, signal: AbortSignal): Promise<void> =>
  new SnapshotRun(options).run(signal);
