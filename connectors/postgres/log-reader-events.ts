// Owns the step from pgoutput messages to flat events: transaction boundaries, ordinals, which image a row
// has, whether its key changed. Pure; what a relation means is settled by its caller between two calls.
import type { Begin, Commit, LogEvent, LogTable, ResumePoint, RowChange } from '../../src/change/event.ts';
import { CELL_UNCHANGED, CELL_VALUE, type Cells, makeCells } from '../../src/change/row.ts';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';
import { formatPlace, type LastCommit, type LogPlace } from './log-place.ts';
import { formatLsn } from './lsn.ts';
import {
  decodeControl,
  decodeRow,
  isRowMessage,
  type RelationMessage,
  type RowTarget,
  type TruncateMessage,
  type TypeMessage,
  WAL_HEADER_BYTES,
} from './pgoutput.ts';
import { FrameCursor, malformed, readU32 } from './pgoutput-cursor.ts';
import type { SourcePosition } from './source-block.ts';

/** What the catalog makes of a relation. `table` null: not captured, its rows are only counted. */
export type Resolution<Table> = {
  table: Table | null;
  /** False for a partition whose rows go under its root: emptying one leaf does not empty the root. */
  truncatable: boolean;
  /** Its rows were changed without events; the sentence says how. */
  stale?: string;
};

type Known<Table> = RowTarget & {
  readonly name: TableName;
  readonly table: Table | null;
  readonly truncatable: boolean;
  /** Columns of the table's key, as cells. */
  readonly key: readonly number[];
  /** The old image of every update and delete holds the whole key. */
  readonly isKeyed: boolean;
};

const same = (a: Cells, b: Cells, column: number): boolean => {
  const length = a.end[column]! - a.start[column]!;
  if (length !== b.end[column]! - b.start[column]!) return false;
  const [from, other] = [a.start[column]!, b.start[column]!];
  for (let at = 0; at < length; at++) if (a.bytes[from + at] !== b.bytes[other + at]) return false;
  return true;
};

/**
 * Cell of every column of the relation, by name: a partition may order its columns unlike its root. Columns
 * that the schema leaves out get the cells behind its own, which nobody reads.
 */
const mapColumns = (relation: RelationMessage, table: LogTable): Int32Array | null => {
  const { columns, name } = table.schema;
  const at = new Map(columns.map((column, index) => [column.name, index]));
  let spare = columns.length;
  const cellOf = Int32Array.from(relation.columns, (column) => at.get(column.name) ?? spare++);
  if (new Set(cellOf).size !== relation.columns.length || spare !== relation.columns.length) {
    throw new VarveError(
      'internal',
      `The log describes ${tableText(name)} with other columns than the schema that was made from it.`,
      { facts: { table: tableText(name), log: cellOf.length, schema: columns.length } },
    );
  }
  return cellOf.every((cell, index) => cell === index) ? null : cellOf;
};

/** A class, because an accessor of its own on each object costs more than all else of a small transaction. */
class PlacedCommit implements Commit {
  readonly kind = 'commit';
  readonly #end: bigint;
  readonly #last: LastCommit;

  constructor(end: bigint, last: LastCommit) {
    this.#end = end;
    this.#last = last;
  }

  get resume(): ResumePoint {
    return formatPlace({ resume: this.#end, end: this.#end, last: this.#last });
  }
}

const makeRow = <Table>(table: Table): RowChange<Table> => ({
  kind: 'row',
  op: 'c',
  table,
  ordinal: 0,
  before: null,
  beforeIsKey: false,
  after: null,
  keyChanged: false,
});

export class EventDecoder<Table extends LogTable> {
  /** Types that are not built in, by OID, as the log has named them so far. */
  readonly types = new Map<number, TypeMessage>();
  readonly #position: SourcePosition;
  readonly #cursor = new FrameCursor(new Uint8Array(0), 0, 0);
  readonly #known = new Map<number, Known<Table>>();
  readonly #waiting: LogEvent<Table>[] = [];
  #row: RowChange<Table> | null = null;
  #pending: RelationMessage | null = null;
  #open: Begin | null = null;
  #ordinal = 0;
  #delivered: bigint;
  #end: bigint;
  #taken: LastCommit | null;
  #lastOid = -1;
  #last: Known<Table> | null = null;

  /** @param after transactions that begin their commit before its `end` are refused: they came already */
  constructor(after: LogPlace, position: SourcePosition) {
    this.#delivered = after.end;
    this.#end = after.end;
    this.#taken = after.last;
    this.#position = position;
  }

  /** The relation that must be settled before anything else is decoded. */
  get pending(): RelationMessage | null {
    return this.#pending;
  }

  get isInTransaction(): boolean {
    return this.#open !== null;
  }

  /** Microseconds since 1970 of the open transaction's commit; null outside. */
  get commitTs(): bigint | null {
    return this.#open?.commitTs ?? null;
  }

  /** End of what was handed out whole. */
  get delivered(): bigint {
    return this.#delivered;
  }

  /** From where the log goes on behind what was handed out whole. */
  get resume(): ResumePoint {
    return formatPlace({ resume: this.#delivered, end: this.#end, last: this.#taken });
  }

  /** An event that an earlier message left behind. */
  takeWaiting(): LogEvent<Table> | null {
    return this.#waiting.length === 0 ? null : (this.#waiting.shift() ?? null);
  }

  /**
   * The server's position while idle. Null inside a transaction: then it says nothing about what was
   * delivered.
   */
  advance(walEnd: bigint): bigint | null {
    if (this.#open !== null) return null;
    if (walEnd > this.#delivered) this.#delivered = walEnd;
    return this.#delivered;
  }

  /** Answers `pending`. */
  settle({ table, truncatable, stale }: Resolution<Table>): void {
    const relation = this.#pending;
    if (relation === null) throw new VarveError('internal', 'A relation was settled that nobody asked for.');
    const name: TableName = table?.schema.name ?? [relation.schema, relation.name];
    const cellOf = table === null ? null : mapColumns(relation, table);
    const key = table?.schema.key ?? [];
    const identity = new Set<number>();
    for (const [index, column] of relation.columns.entries()) {
      if (column.isKey || relation.replicaIdentity === 'f') identity.add(cellOf?.[index] ?? index);
    }
    const columns = relation.columns.length;
    this.#known.set(relation.oid, {
      name,
      table,
      truncatable,
      key,
      isKeyed: key.every((column) => identity.has(column)),
      columns,
      cellOf,
      before: makeCells(columns),
      after: makeCells(columns),
      op: 'c',
      hasBefore: false,
      beforeIsKey: false,
    });
    if (stale !== undefined) this.#waiting.push({ kind: 'stale', table: name, reason: stale });
    this.#lastOid = -1;
    this.#pending = null;
  }

  /** One XLogData body. Null: no event came of it. Throws `protocol_error` and `table_stale`. */
  decode(bytes: Uint8Array, start: number, end: number): LogEvent<Table> | null {
    if (end - start <= WAL_HEADER_BYTES) throw malformed('is cut short', start);
    const position = this.#position;
    position.lsnHigh = readU32(bytes, start + 1);
    position.lsnLow = readU32(bytes, start + 5);
    const cursor = this.#cursor;
    cursor.bytes = bytes;
    cursor.pos = start + WAL_HEADER_BYTES;
    cursor.end = end;
    try {
      const tag = cursor.u8();
      return isRowMessage(tag) ? this.#decodeRow(tag) : this.#decodeControl(tag);
    } catch (error) {
      throw this.#placed(error);
    }
  }

  #placed(error: unknown): unknown {
    if (!(error instanceof VarveError) || error.kind !== 'protocol_error') return error;
    const { lsnHigh, lsnLow } = this.#position;
    const lsn = formatLsn((BigInt(lsnHigh) << 32n) | BigInt(lsnLow));
    const after = formatLsn(this.#delivered);
    return new VarveError(
      'protocol_error',
      `${error.message} Position ${lsn}, after ${after}; nothing of it was used.`,
      {
        facts: { ...error.facts, lsn, after },
      },
    );
  }

  #decodeControl(tag: number): LogEvent<Table> | null {
    const message = decodeControl(tag, this.#cursor);
    switch (message.kind) {
      case 'begin':
        return this.#begin(message.finalLsn, message.commitTs, message.xid);
      case 'commit':
        return this.#commit(message.commitLsn, message.endLsn);
      case 'relation':
        this.#pending = message;
        return null;
      case 'type':
        this.types.set(message.oid, message);
        return null;
      case 'truncate':
        return this.#truncate(message);
      case 'other':
        return null;
    }
  }

  #begin(position: bigint, commitTs: bigint, xid: number): Begin {
    if (this.#open !== null) throw malformed('begins a transaction inside another', this.#cursor.pos);
    if (position < this.#delivered)
      throw malformed('repeats a transaction that came already', this.#cursor.pos);
    this.#ordinal = 0;
    this.#position.txId = xid;
    this.#open = { kind: 'begin', position, commitTs, txId: String(xid) };
    return this.#open;
  }

  #commit(commitLsn: bigint, endLsn: bigint): Commit {
    if (this.#open?.position !== commitLsn || endLsn <= commitLsn) {
      throw malformed('commits another transaction than the one that is open', this.#cursor.pos);
    }
    this.#taken = this.#open;
    this.#open = null;
    this.#delivered = endLsn;
    this.#end = endLsn;
    this.#position.commitHigh = Number(endLsn >> 32n);
    this.#position.commitLow = Number(endLsn & 0xffff_ffffn);
    return new PlacedCommit(endLsn, this.#taken);
  }

  #find(oid: number): Known<Table> {
    if (oid === this.#lastOid && this.#last !== null) return this.#last;
    const known = this.#known.get(oid);
    if (!known) throw malformed(`names the relation ${oid}, which was never described`, this.#cursor.pos);
    this.#lastOid = oid;
    this.#last = known;
    return known;
  }

  #count(): number {
    if (this.#open === null) throw malformed('changes rows outside a transaction', this.#cursor.pos);
    return this.#ordinal++;
  }

  #decodeRow(tag: number): RowChange<Table> | null {
    const known = this.#find(this.#cursor.u32());
    const ordinal = this.#count();
    const { table } = known;
    if (table === null) return null;
    decodeRow(tag, this.#cursor, known);
    const { op, hasBefore, before, after } = known;
    if (op === 'u' && hasBefore) this.#completeAfter(known);
    const keyChanged = op !== 'c' && this.#checkKey(known);
    const row = this.#row ?? makeRow(table);
    this.#row = row;
    row.op = op;
    row.table = table;
    row.ordinal = ordinal;
    row.before = hasBefore ? before : null;
    row.beforeIsKey = known.beforeIsKey;
    row.after = op === 'd' ? null : after;
    row.keyChanged = keyChanged;
    return row;
  }

  /** A value that was too large to be sent again stands in the old image, when there is one. */
  #completeAfter({ columns, before, after }: Known<Table>): void {
    for (let cell = 0; cell < columns; cell++) {
      if (after.kind[cell] !== CELL_UNCHANGED || before.kind[cell] !== CELL_VALUE) continue;
      after.kind[cell] = CELL_VALUE;
      after.start[cell] = before.start[cell]!;
      after.end[cell] = before.end[cell]!;
    }
  }

  /**
   * Whether an update moved the row to another key. Throws `table_stale` when the log does not say which
   * row it was.
   */
  #checkKey(known: Known<Table>): boolean {
    const { key, op, hasBefore, before, after } = known;
    if (!known.isKeyed) throw this.#unkeyed(known);
    let hasChanged = false;
    for (const column of key) {
      if (hasBefore && before.kind[column] !== CELL_VALUE && known.beforeIsKey) throw this.#unkeyed(known);
      if (op !== 'u') continue;
      if (after.kind[column] === CELL_UNCHANGED) throw this.#unkeyed(known);
      if (!hasBefore || hasChanged) continue;
      const kind = after.kind[column];
      hasChanged = kind !== before.kind[column] || (kind === CELL_VALUE && !same(before, after, column));
    }
    return hasChanged;
  }

  #unkeyed({ name }: Known<Table>): VarveError {
    const table = tableText(name);
    const quoted = name.map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
    const sql = `ALTER TABLE ${quoted} REPLICA IDENTITY DEFAULT;`;
    return new VarveError(
      'table_stale',
      `An update or delete of ${table} does not say which row it was: the table's replica identity does ` +
        `not hold its key. ` +
        `Run ${sql} then take the table out of source.tables, start, and add it again: it is read anew.`,
      { facts: { table, sql } },
    );
  }

  #truncate({ oids }: TruncateMessage): LogEvent<Table> | null {
    const relations = oids.map((oid) => this.#find(oid));
    const ordinal = this.#count();
    const tables = new Set<Table>();
    for (const { table, truncatable } of relations) if (table !== null && truncatable) tables.add(table);
    for (const { table, truncatable } of relations) {
      if (table === null || truncatable || tables.has(table)) continue;
      const reason = 'one of its partitions was truncated, and the log does not say which rows were in it';
      this.#waiting.push({ kind: 'stale', table: table.schema.name, reason });
    }
    if (tables.size > 0) return { kind: 'truncate', tables: [...tables], ordinal };
    return this.takeWaiting();
  }
}
