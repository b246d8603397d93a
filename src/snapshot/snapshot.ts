// Owns tables -> topic as of one point: several readers, one line of ordinals, progress, and the completion
// markers. Knows no database; that all chunks see one state is the session's promise, and is verified before
// a marker is written.

import type { RowChange } from '../change/event.ts';
import { formatOrder } from '../change/order.ts';
import { type Cells, copyCells } from '../change/row.ts';
import { tableText } from '../change/schema.ts';
import { durably } from '../crash-point.ts';
import { VarveError } from '../errors.ts';
import { type Outbox, snapshotOrder } from '../topic/outbox.ts';
import type { PreparedTable, SnapshotMark } from '../topic/prepared-table.ts';
import type { StateRecord } from '../topic/publisher.ts';
import { printState, type SnapshotRecord, STATE_KEYS } from '../topic/state.ts';
import type { ChunkSpec, SnapshotSession } from './chunk-reader.ts';

const FLUSH_BYTES = 8 << 20;
const LAST_OF_TABLE = 'last_in_data_collection';

export type SnapshotProgress = {
  table: string;
  rows: number;
  estimatedRows: number;
  tableDone: boolean;
};

type SnapshotOptions = {
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
  /** Filled again for every row. */
  row: RowChange<PreparedTable>;
  chunksLeft: number;
  rows: number;
  estimatedRows: number;
  /** Last row of a chunk that was read to its end, held back: it may be the table's last. */
  held: Cells | null;
};

const makeRow = (table: PreparedTable): RowChange<PreparedTable> => ({
  kind: 'row',
  op: 'r',
  table,
  ordinal: 0,
  before: null,
  beforeIsKey: false,
  after: null,
  keyChanged: false,
});

class SnapshotRun {
  readonly #options: SnapshotOptions;
  readonly #runs = new Map<PreparedTable, TableRun>();
  #ordinal = 0;
  #mark: SnapshotMark | null = null;
  /** Last row of a table that is done, held back: it may be the snapshot's last. */
  #last: { run: TableRun; cells: Cells } | null = null;

  constructor(options: SnapshotOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { session, outbox, parallel } = this.#options;
    for (const chunk of session.chunks) await this.#register(chunk);
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
    await this.#flushLast('last');
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
    this.#runs.set(table, {
      topic,
      table,
      row: makeRow(table),
      chunksLeft: 1,
      rows: 0,
      estimatedRows,
      held: null,
    });
  }

  async #readChunk(chunk: ChunkSpec<PreparedTable>, signal: AbortSignal): Promise<void> {
    const { session, outbox, onProgress } = this.#options;
    const run = this.#runs.get(chunk.table);
    if (run === undefined) throw new VarveError('internal', 'A chunk of an unregistered table was read.');
    let held: Cells | null = null;
    for await (const bunch of session.readChunk(chunk, signal)) {
      for (let cells = bunch.next(); cells !== null; cells = bunch.next()) {
        if (held !== null) await this.#put(run, held);
        held = bunch.mayEnd ? copyCells(cells) : null;
        const wait = held === null ? this.#put(run, cells) : null;
        if (wait !== null) await wait;
      }
      if (outbox.bytes > FLUSH_BYTES) await durably('snapshot.rows', () => outbox.flush([]));
      onProgress({ table: run.topic, rows: run.rows, estimatedRows: run.estimatedRows, tableDone: false });
    }
    if (held !== null) {
      if (run.held !== null) await this.#put(run, run.held);
      run.held = held;
    }
    run.chunksLeft--;
    const tableDone = run.chunksLeft === 0;
    if (tableDone && run.held !== null) {
      await this.#flushLast(LAST_OF_TABLE);
      this.#last = { run, cells: run.held };
    }
    const rows = run.rows + (this.#last?.run === run ? 1 : 0);
    onProgress({ table: run.topic, rows, estimatedRows: run.estimatedRows, tableDone });
  }

  /** Writes the row that was held back: others follow, or none does. */
  async #flushLast(mark: SnapshotMark): Promise<void> {
    const last = this.#last;
    this.#last = null;
    if (last !== null) await this.#put(last.run, last.cells, mark);
  }

  /** Marks as Debezium does: the first row of all is that also where it is its table's last. */
  #put(run: TableRun, cells: Cells, end: SnapshotMark | null = null): Promise<void> | null {
    if (this.#last !== null)
      return this.#flushLast(LAST_OF_TABLE).then(() => this.#put(run, cells, end) ?? undefined);
    const { outbox, epoch, session } = this.#options;
    const ordinal = this.#ordinal + 1;
    const isFirst = ordinal === 1 && end !== 'last';
    const mark = isFirst ? 'first' : (end ?? (run.rows === 0 ? 'first_in_data_collection' : 'true'));
    if (mark !== this.#mark) outbox.begin({ epoch, position: session.position, phase: 0 }, session.ts, mark);
    this.#mark = mark;
    const out = outbox.find(run.table);
    if (out === undefined)
      throw new VarveError('internal', `${tableText(run.table.schema.name)} was not opened.`);
    run.row.ordinal = ordinal;
    run.row.after = cells;
    try {
      outbox.row(out, run.row);
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'null_in_required') throw thrown;
      const first = formatOrder({ epoch, position: session.position, phase: 0, ordinal });
      const relaxed = outbox.relax(run.table, Number(thrown.facts.column), first);
      return relaxed.then(() => this.#put(run, cells, end) ?? undefined);
    }
    this.#ordinal = ordinal;
    run.rows++;
    return null;
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
 * Publishes every row of the session's chunks as `r`, then the completion markers; on return all is durable.
 * Throws with no marker written when anything failed, so that the sink never sweeps on half a snapshot.
 */
export const runSnapshot = async (options: SnapshotOptions, signal: AbortSignal): Promise<void> =>
  new SnapshotRun(options).run(signal);
