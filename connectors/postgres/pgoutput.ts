// Owns the decoding of pgoutput messages, protocol version 1: bytes in, words out. Pure: no clock, no
// socket, no table.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
import { CELL_NULL, CELL_UNCHANGED, CELL_VALUE, type Cells } from '../../src/change/row.ts';
import type { FrameCursor } from './pgoutput-cursor.ts';
import { malformed } from './pgoutput-cursor.ts';

type RelationColumn = {
  /** Part of the replica identity; not necessarily of the primary key. */
  isKey: boolean;
  name: string;
  typeOid: number;
  typmod: number;
};

export type RelationMessage = {
  kind: 'relation';
  oid: number;
  schema: string;
  name: string;
  /** d: primary key, n: nothing, f: the whole row, i: an index. */
  replicaIdentity: 'd' | 'n' | 'f' | 'i';
  columns: readonly RelationColumn[];
};

/** Sent before the first relation that uses a type that is not built in. */
export type TypeMessage = { kind: 'type'; oid: number; schema: string; name: string };

type BeginMessage = { kind: 'begin'; finalLsn: bigint; commitTs: bigint; xid: number };
type CommitMessage = { kind: 'commit'; commitLsn: bigint; endLsn: bigint; commitTs: bigint };
export type TruncateMessage = { kind: 'truncate'; oids: readonly number[] };

/** `other`: an origin or a logical message; both are passed over. */
type ControlMessage =
  | BeginMessage
  | CommitMessage
  | RelationMessage
  | TypeMessage
  | TruncateMessage
  | { kind: 'other' };

/** Where a row goes, filled by `decodeRow`: one cell a column of the table's schema. */
export type RowTarget = {
  /** Columns of the relation; a tuple with another number is refused. */
  readonly columns: number;
  /**
   * Cell of each column of the relation; null: the same order. A partition may order its columns differently.
   */
  readonly cellOf: Int32Array | null;
  readonly before: Cells;
  readonly after: Cells;
  op: 'c' | 'u' | 'd';
  hasBefore: boolean;
  /** Only the columns of the replica identity are real in `before`; the rest reads as CELL_NULL. */
  beforeIsKey: boolean;
};

const [INSERT, UPDATE, DELETE] = [0x49, 0x55, 0x44];
const [OLD_KEY, OLD_ROW, NEW_ROW] = [0x4b, 0x4f, 0x4e];
const [IS_NULL, IS_UNCHANGED, IS_TEXT] = [0x6e, 0x75, 0x74];

/** First byte of what the stream carries: a part of the log, or the server's sign of life. */
export const [WAL_DATA, KEEPALIVE] = [0x77, 0x6b];
/** Of a part of the log: tag, its start, the log's end, clock; the message follows. */
export const WAL_HEADER_BYTES = 25;

/** Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's zero. */
export const EPOCH_MICROS = 946_684_800_000_000n;

export const isRowMessage = (tag: number): boolean => tag === INSERT || tag === UPDATE || tag === DELETE;

/** A signed count of microseconds since 2000, as microseconds since 1970. */
const decodeTime = (cursor: FrameCursor): bigint => BigInt.asIntN(64, cursor.u64()) + EPOCH_MICROS;

const decodeBegin = (cursor: FrameCursor): BeginMessage => ({
  kind: 'begin',
  finalLsn: cursor.u64(),
  commitTs: decodeTime(cursor),
  xid: cursor.u32(),
});

const decodeCommit = (cursor: FrameCursor): CommitMessage => {
  const flags = cursor.u8();
  if (flags !== 0) throw malformed(`has unknown commit flags ${flags}`, cursor.pos);
  return { kind: 'commit', commitLsn: cursor.u64(), endLsn: cursor.u64(), commitTs: decodeTime(cursor) };
};

const decodeRelation = (cursor: FrameCursor): RelationMessage => {
  const oid = cursor.u32();
  // The server writes pg_catalog as an empty name.
  const schema = cursor.text() || 'pg_catalog';
  const name = cursor.text();
  const identity = String.fromCharCode(cursor.u8());
  if (!'dnfi'.includes(identity)) throw malformed('has an unknown replica identity', cursor.pos);
  const columns: RelationColumn[] = [];
  for (let left = cursor.u16(); left > 0; left--) {
    const flags = cursor.u8();
    if (flags > 1) throw malformed(`has unknown column flags ${flags}`, cursor.pos);
    columns.push({ isKey: flags === 1, name: cursor.text(), typeOid: cursor.u32(), typmod: cursor.i32() });
  }
  if (new Set(columns.map((column) => column.name)).size < columns.length) {
    throw malformed('names a column twice', cursor.pos);
  }
  const replicaIdentity = identity as RelationMessage['replicaIdentity'];
  return { kind: 'relation', oid, schema, name, replicaIdentity, columns };
};

const decodeType = (cursor: FrameCursor): TypeMessage => ({
  kind: 'type',
  oid: cursor.u32(),
  schema: cursor.text() || 'pg_catalog',
  name: cursor.text(),
});

const decodeTruncate = (cursor: FrameCursor): TruncateMessage => {
  const count = cursor.u32();
  const flags = cursor.u8();
  if (flags > 3) throw malformed(`has unknown truncate flags ${flags}`, cursor.pos);
  // Compared before the loop, so that a damaged count cannot ask for memory.
  if (count * 4 !== cursor.end - cursor.pos) throw malformed('has a wrong number of tables', cursor.pos);
  return { kind: 'truncate', oids: Array.from({ length: count }, () => cursor.u32()) };
};

/** The content stays where it is: transactional or not, it is no row. */
const skipLogicalMessage = (cursor: FrameCursor): ControlMessage => {
  cursor.skip(9);
  cursor.text();
  cursor.skip(cursor.u32());
  return { kind: 'other' };
};

const skipOrigin = (cursor: FrameCursor): ControlMessage => {
  cursor.skip(8);
  cursor.text();
  return { kind: 'other' };
};

const decodeTagged = (tag: number, cursor: FrameCursor): ControlMessage => {
  switch (String.fromCharCode(tag)) {
    case 'B':
      return decodeBegin(cursor);
    case 'C':
      return decodeCommit(cursor);
    case 'R':
      return decodeRelation(cursor);
    case 'Y':
      return decodeType(cursor);
    case 'T':
      return decodeTruncate(cursor);
    case 'M':
      return skipLogicalMessage(cursor);
    case 'O':
      return skipOrigin(cursor);
    default:
      throw malformed(`has the unknown tag ${tag}`, cursor.pos);
  }
};

/** One whole message that is not a row; `cursor` stands behind the tag. Throws `protocol_error`. */
export const decodeControl = (tag: number, cursor: FrameCursor): ControlMessage => {
  const message = decodeTagged(tag, cursor);
  cursor.finish();
  return message;
};

/** Fills one image. Written out flat, because every value of every row passes here. */
const decodeTuple = (cursor: FrameCursor, target: RowTarget, cells: Cells): void => {
  const count = cursor.u16();
  if (count !== target.columns) {
    throw malformed(`has ${count} columns where its relation has ${target.columns}`, cursor.pos);
  }
  const { bytes, end } = cursor;
  const { kind, start: starts, end: ends } = cells;
  const cellOf = target.cellOf;
  let pos = cursor.pos;
  cells.bytes = bytes;
  for (let column = 0; column < count; column++) {
    const cell = cellOf === null ? column : cellOf[column]!;
    if (pos >= end) throw malformed('is cut short', pos);
    const tag = bytes[pos++];
    if (tag === IS_TEXT) {
      if (end - pos < 4) throw malformed('is cut short', pos);
      const length = (bytes[pos]! << 24) | (bytes[pos + 1]! << 16) | (bytes[pos + 2]! << 8) | bytes[pos + 3]!;
      pos += 4;
      if (length < 0 || length > end - pos) throw malformed('has a value longer than itself', pos);
      kind[cell] = CELL_VALUE;
      starts[cell] = pos;
      pos += length;
      ends[cell] = pos;
    } else if (tag === IS_NULL) kind[cell] = CELL_NULL;
    else if (tag === IS_UNCHANGED) kind[cell] = CELL_UNCHANGED;
    else throw malformed(`has a value of the unknown kind ${tag}`, pos);
  }
  cursor.pos = pos;
};

/**
 * An insert, update or delete; `cursor` stands behind the relation's OID. The target is whole when this
 * returns, and means nothing when it throws (`protocol_error`).
 */
export const decodeRow = (tag: number, cursor: FrameCursor, target: RowTarget): void => {
  let image = cursor.u8();
  target.hasBefore = tag !== INSERT && (image === OLD_KEY || image === OLD_ROW);
  target.beforeIsKey = target.hasBefore && image === OLD_KEY;
  if (target.hasBefore) {
    decodeTuple(cursor, target, target.before);
    if (tag === UPDATE) image = cursor.u8();
  }
  if (tag === DELETE) {
    if (!target.hasBefore) throw malformed(`has the unknown image ${image}`, cursor.pos);
    target.op = 'd';
  } else {
    if (image !== NEW_ROW) throw malformed(`has the unknown image ${image}`, cursor.pos);
    decodeTuple(cursor, target, target.after);
    target.op = tag === INSERT ? 'c' : 'u';
  }
  cursor.finish();
};
