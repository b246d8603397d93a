// Owns one snapshot of many tables: the slot that fixes it, the connection that holds it and its locks, the
// connections that read under it. Knows no topic.
import type pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';
import type { ChunkSpec, RowChunk, SnapshotSession } from '../../src/snapshot/chunk-reader.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { closeClient } from './connection.ts';
import { copyOut } from './copy-stream.ts';
import { mapPostgresError } from './error-map.ts';
import { formatLsn } from './lsn.ts';
import { createSlot, dropSlot, type NewSlot } from './slot.ts';
import {
  type BlockRange,
  copySql,
  cutRanges,
  listRelations,
  lockTables,
  type Relation,
} from './snapshot-plan.ts';
import { attempt } from './source-attempt.ts';

/** 64 MB: enough for one COPY to be worth its start, small enough to keep all workers busy to the end. */
const BLOCKS_PER_CHUNK = 8192;
const LOCK_TIMEOUT_MS = 60_000;
/**
 * A reader whose lock has to wait stands behind somebody who waits for the holder, which waits for the
 * reader: the server cannot see that. So the reader gives up soon, and with it the whole snapshot.
 */
const READER_LOCK_TIMEOUT_MS = 2000;

export type SnapshotOptions = {
  /** Opens a connection; the session ends what it opened. */
  open: (kind: { replication: boolean }) => Promise<pg.Client>;
  /** For looking who is in the way; not ended. */
  side: pg.ClientBase;
  slot: string;
  /** The slot serves only to fix the snapshot: it goes as soon as that is held. */
  temporary: boolean;
  tables: readonly TableName[];
  /** Connections that read at once. */
  parallel: number;
  /** Schemas as of the snapshot, in the order of `tables`. */
  prepare: (holder: pg.Client, tables: readonly TableName[]) => Promise<readonly PreparedTable[]>;
  /** Called before rows are handed out: what is told of their position is shared with the log. */
  onRows?: (position: bigint) => void;
  blocksPerChunk?: number;
  lockTimeoutMs?: number;
};

/*
 *   slot:     CREATE_REPLICATION_SLOT ---- exports S1 ----|end
 *   holder:            BEGIN, import S1, export S2, LOCK, compare files ---------------- verify --|end
 *   workers:                                  BEGIN, import S2, LOCK | COPY, COPY ..   --|end
 *   stream:                                          (may start here, at the slot's consistent point)
 */
/** Fixes the snapshot and takes the locks. On failure nothing is left behind, the slot included. */
export const openSnapshot = async (options: SnapshotOptions): Promise<PostgresSnapshot> => {
  const { open, side, slot: name, temporary, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
  const ts = await readClock(side);
  const replication = await open({ replication: true });
  let slot: NewSlot | null = null;
  let holder: pg.Client | null = null;
  const workers: pg.Client[] = [];
  try {
    slot = await attempt('making the replication slot', () =>
      createSlot(replication, side, { name, temporary, lockTimeoutMs }),
    );
    const { snapshotName } = slot;
    holder = await beginUnder(open, snapshotName);
    const parts = await attempt('fixing the snapshot', () => hold(holder as pg.Client, options));
    for (let count = 0; count < options.parallel; count++) workers.push(await openWorker(options, parts));
    const { consistentPoint } = slot;
    return new PostgresSnapshot(options, { holder, workers, ts, consistentPoint, ...parts });
  } catch (thrown) {
    await Promise.all([holder, ...workers].map(endClient));
    await endClient(replication);
    if (slot !== null && !temporary) await dropSlot(side, name).catch(() => undefined);
    throw thrown;
  } finally {
    await endClient(replication);
  }
};

// Before the slot: a change that is streamed later must not be older than the rows it changes.
const readClock = async (side: pg.ClientBase): Promise<bigint> => {
  const { rows } = await attempt('reading the clock', () =>
    side.query('SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text AS ts'),
  );
  return BigInt(rows[0].ts);
};

type Held = { snapshotName: string; relations: Relation[]; tables: readonly PreparedTable[] };

const hold = async (holder: pg.Client, options: SnapshotOptions): Promise<Held> => {
  const { rows } = await holder.query('SELECT pg_export_snapshot() AS name');
  const { tables, side, lockTimeoutMs: timeoutMs = LOCK_TIMEOUT_MS } = options;
  await lockTables(holder, side, { tables, timeoutMs });
  const relations = await listRelations(holder, tables);
  return { snapshotName: rows[0].name, relations, tables: await options.prepare(holder, tables) };
};

/** A read-only transaction that sees exactly what the exported snapshot does. */
const beginUnder = async (open: SnapshotOptions['open'], snapshotName: string): Promise<pg.Client> => {
  const client = await open({ replication: false });
  try {
    await attempt('importing the snapshot', async () => {
      // A database's own limits must not end a long read; row security must fail loudly, not hide rows.
      await client.query(
        `SELECT set_config(name, '0', false) FROM pg_settings
          WHERE name IN ('idle_session_timeout', 'transaction_timeout',
                         'idle_in_transaction_session_timeout')`,
      );
      await client.query('SET row_security = off');
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await client.query(`SET TRANSACTION SNAPSHOT '${snapshotName}'`);
    });
    return client;
  } catch (thrown) {
    await endClient(client);
    throw thrown;
  }
};

/** Sees what the holder sees, and has locks of its own before anybody can queue between the two. */
const openWorker = async (options: SnapshotOptions, { snapshotName }: Held): Promise<pg.Client> => {
  const worker = await beginUnder(options.open, snapshotName);
  const locks = { tables: options.tables, timeoutMs: READER_LOCK_TIMEOUT_MS };
  try {
    await attempt('locking for a reader', () => lockTables(worker, options.side, locks));
    return worker;
  } catch (thrown) {
    await endClient(worker);
    throw thrown;
  }
};

const endClient = async (client: pg.Client | null): Promise<void> => {
  if (client !== null) await closeClient(client);
};

type Piece = { relation: Relation; range: BlockRange };
type Parts = Held & { holder: pg.Client; workers: readonly pg.Client[]; ts: bigint; consistentPoint: bigint };

export class PostgresSnapshot implements SnapshotSession<PreparedTable> {
  readonly resume: SnapshotSession<PreparedTable>['resume'];
  readonly position: bigint;
  readonly ts: bigint;
  readonly chunks: readonly ChunkSpec<PreparedTable>[];
  readonly #options: SnapshotOptions;
  readonly #parts: Parts;
  readonly #pieces = new Map<ChunkSpec<PreparedTable>, Piece>();
  readonly #workers: Set<pg.Client>;
  readonly #idle: pg.Client[];

  constructor(options: SnapshotOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#workers = new Set(parts.workers);
    this.#idle = [...parts.workers];
    this.position = parts.consistentPoint;
    this.resume = formatLsn(parts.consistentPoint);
    this.ts = parts.ts;
    this.chunks = parts.tables.flatMap((table) => this.#cut(table));
  }

  /** The connection that sees the snapshot, for reading catalogs as of it. */
  get holder(): pg.ClientBase {
    return this.#parts.holder;
  }

  /** At least one chunk a table, so that an empty one is known to have been read. */
  #cut(table: PreparedTable): ChunkSpec<PreparedTable>[] {
    const { blocksPerChunk = BLOCKS_PER_CHUNK } = this.#options;
    const text = tableText(table.schema.name);
    const chunks: ChunkSpec<PreparedTable>[] = [];
    for (const relation of this.#parts.relations.filter(({ root }) => tableText(root) === text)) {
      for (const range of cutRanges(relation.blocks, blocksPerChunk)) {
        const share =
          relation.blocks === 0 ? 0 : ((range.to ?? relation.blocks) - range.from) / relation.blocks;
        const label = `${tableText(relation.name)} blocks ${range.from}..${range.to ?? ''}`;
        const chunk = { table, label, estimatedRows: Math.round(relation.estimatedRows * share) };
        this.#pieces.set(chunk, { relation, range });
        chunks.push(chunk);
      }
    }
    return chunks.length > 0 ? chunks : [{ table, label: `${text} has no partitions`, estimatedRows: 0 }];
  }

  /** Each reader at work has a connection of its own, which the next one takes over. */
  async *readChunk(chunk: ChunkSpec<PreparedTable>, signal: AbortSignal): AsyncGenerator<RowChunk> {
    const piece = this.#pieces.get(chunk);
    if (piece === undefined) return;
    const columns = chunk.table.schema.columns.map(({ name }) => name);
    const worker = this.#idle.pop();
    if (worker === undefined) {
      throw new VarveError(
        'internal',
        `More than ${this.#options.parallel} chunks of one snapshot are read at once.`,
      );
    }
    let isWhole = false;
    try {
      const bunches = copyOut(worker, {
        sql: copySql(piece.relation.name, columns, piece.range),
        columns: columns.length,
        signal,
        mapError: (cause) => mapPostgresError(cause, `reading ${chunk.label}`),
      });
      for await (const bunch of bunches) {
        this.#options.onRows?.(this.position);
        yield bunch;
      }
      isWhole = true;
    } finally {
      if (isWhole) this.#idle.push(worker);
      else {
        this.#workers.delete(worker);
        await endClient(worker);
      }
    }
  }

  /**
   * The locks have kept rewrites away, provided that their connection still stands: that is what is asked
   * here.
   */
  async verify(tables: readonly TableName[]): Promise<void> {
    await attempt('verifying the snapshot', async () => {
      const now = await listRelations(this.#parts.holder, tables);
      const known = new Set(this.#parts.relations.map(({ oid }) => oid));
      const strange = now.find(({ oid }) => !known.has(oid));
      if (strange === undefined) return;
      throw new VarveError(
        'internal',
        `${tableText(strange.name)} is not in this snapshot, so it was not read.`,
      );
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#parts.holder, ...this.#workers].map(endClient));
    this.#workers.clear();
    this.#idle.length = 0;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
