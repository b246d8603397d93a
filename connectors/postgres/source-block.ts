// Owns Debezium's `source` struct for PostgreSQL: its type, and its bytes for the current event. What a
// whole transaction or table shares is rendered once. Knows no socket: the log reader or a snapshot fills
// `SourcePosition`.
import type { ConnectField, ConnectType, TableName } from '../../src/change/schema.ts';
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import type { SnapshotMark, SourceBlock, SourceFacts } from '../../src/topic/prepared-table.ts';

/**
 * Where the event that was pulled last stands; its owner writes over it. Positions are in 32-bit halves,
 * because a bigint a row costs more than the rest of the block. `commitHigh` -1: no commit was seen yet.
 */
export type SourcePosition = {
  /** Start of the change's own record in the log; a snapshot's rows all have the snapshot's position. */
  lsnHigh: number;
  lsnLow: number;
  /** End of the transaction that was committed last before this one. */
  commitHigh: number;
  commitLow: number;
  /** Unsigned 32 bits; null where there is none. */
  txId: number | null;
};

export const makeSourcePosition = (): SourcePosition => ({
  lsnHigh: 0,
  lsnLow: 0,
  commitHigh: -1,
  commitLow: 0,
  txId: null,
});

/** For consumers that compare versions: the Debezium release whose records these are like. */
const VERSION = '3.7.0.Final';

const needed = (field: string, type: ConnectType['type']): ConnectField => ({
  field,
  type: { type },
  optional: false,
});
const perhaps = (field: string, type: ConnectType['type']): ConnectField => ({
  field,
  type: { type },
  optional: true,
});

const SNAPSHOT_FIELD: ConnectField = {
  field: 'snapshot',
  type: {
    type: 'string',
    name: 'io.debezium.data.Enum',
    version: 1,
    parameters: {
      allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental',
    },
  },
  optional: true,
  default: 'false',
};

const SOURCE_TYPE: ConnectType = {
  type: 'struct',
  name: 'io.debezium.connector.postgresql.Source',
  version: 1,
  fields: [
    needed('version', 'string'),
    needed('connector', 'string'),
    needed('name', 'string'),
    needed('ts_ms', 'int64'),
    SNAPSHOT_FIELD,
    needed('db', 'string'),
    perhaps('sequence', 'string'),
    perhaps('ts_us', 'int64'),
    perhaps('ts_ns', 'int64'),
    needed('schema', 'string'),
    needed('table', 'string'),
    perhaps('txId', 'int64'),
    perhaps('lsn', 'int64'),
    perhaps('xmin', 'int64'),
    perhaps('origin', 'string'),
    perhaps('origin_lsn', 'int64'),
  ],
};

/** Avro's union branches: null comes first, but where a default stands the type does. */
const [NULL, VALUE, DEFAULTED] = [0x00, 0x02, 0x00];

const bytesOf = (write: (out: ByteWriter) => void): Uint8Array => {
  const out = new ByteWriter(64);
  write(out);
  return out.bytes.slice(0, out.pos);
};

const [QUOTE, COMMA, OPEN, CLOSE] = [0x22, 0x2c, 0x5b, 0x5d];
const JSON_NULL = Uint8Array.of(0x6e, 0x75, 0x6c, 0x6c);

/** Decimal digits of an unsigned 64-bit number in halves, written from the end; returns where they begin. */
const printDecimal = (
  into: Uint8Array,
  end: number,
  { high, low }: { high: number; low: number },
): number => {
  let at = end;
  if (high >= 0x20_0000) {
    for (const digit of ((BigInt(high) << 32n) | BigInt(low)).toString().split('').reverse()) {
      into[--at] = digit.charCodeAt(0);
    }
    return at;
  }
  let rest = high * 0x1_0000_0000 + low;
  do {
    const next = Math.floor(rest / 10);
    into[--at] = 0x30 + (rest - next * 10);
    rest = next;
  } while (rest > 0);
  return at;
};

type SourceBlockOptions = { pipeline: string; database: string };

class PostgresSourceBlock implements SourceBlock {
  readonly type = SOURCE_TYPE;
  readonly #position: SourcePosition;
  readonly #names: Uint8Array;
  readonly #database: Uint8Array;
  readonly #tables = new WeakMap<TableName, Uint8Array>();
  readonly #half = { high: 0, low: 0 };
  /** A JSON array of two texts: 2 x 20 digits and punctuation. */
  readonly #sequence = new Uint8Array(48);
  #head: Uint8Array = new Uint8Array(0);
  #times: Uint8Array = new Uint8Array(0);
  #commitTs: bigint | null = null;
  #mark: SnapshotMark | null = null;

  constructor({ pipeline, database }: SourceBlockOptions, position: SourcePosition) {
    this.#position = position;
    this.#database = bytesOf((out) => out.text(database));
    this.#names = bytesOf((out) => {
      for (const text of [VERSION, 'postgresql', pipeline]) out.text(text);
    });
  }

  write(out: ByteWriter, { table, snapshot, commitTs }: SourceFacts): void {
    const position = this.#position;
    if (commitTs !== this.#commitTs || snapshot !== this.#mark) this.#render(commitTs, snapshot);
    out.raw(this.#head);
    this.#writeSequence(out);
    out.raw(this.#times);
    out.raw(this.#tableBytes(table));
    if (position.txId === null) out.byte(NULL);
    else {
      out.byte(VALUE);
      out.long(position.txId);
    }
    out.byte(VALUE);
    this.#writeLsn(out);
    for (let absent = 0; absent < 3; absent++) out.byte(NULL);
  }

  #render(commitTs: bigint, snapshot: SnapshotMark): void {
    this.#commitTs = commitTs;
    this.#mark = snapshot;
    this.#head = bytesOf((out) => {
      out.raw(this.#names);
      // Rounded down, also before 1970, as the other two are exact.
      out.bigLong((commitTs - (((commitTs % 1000n) + 1000n) % 1000n)) / 1000n);
      out.byte(DEFAULTED);
      out.text(snapshot);
      out.raw(this.#database);
      out.byte(VALUE);
    });
    this.#times = bytesOf((out) => {
      out.byte(VALUE);
      out.bigLong(commitTs);
      out.byte(VALUE);
      out.bigLong(commitTs * 1000n);
    });
  }

  #tableBytes(table: TableName): Uint8Array {
    const known = this.#tables.get(table);
    if (known) return known;
    const made = bytesOf((out) => {
      for (const text of table) out.text(text);
    });
    this.#tables.set(table, made);
    return made;
  }

  /** `["<last commit>","<this>"]`, with null for a commit that was not seen. Printed from its end. */
  #writeSequence(out: ByteWriter): void {
    const { lsnHigh, lsnLow, commitHigh, commitLow } = this.#position;
    const text = this.#sequence;
    let at = text.length;
    text[--at] = CLOSE;
    at = this.#quoted(at, lsnHigh, lsnLow);
    text[--at] = COMMA;
    if (commitHigh >= 0) at = this.#quoted(at, commitHigh, commitLow);
    else {
      at -= JSON_NULL.length;
      text.set(JSON_NULL, at);
    }
    text[--at] = OPEN;
    out.long(text.length - at);
    out.raw(text, at);
  }

  #quoted(end: number, high: number, low: number): number {
    const text = this.#sequence;
    text[end - 1] = QUOTE;
    this.#half.high = high;
    this.#half.low = low;
    const at = printDecimal(text, end - 1, this.#half) - 1;
    text[at] = QUOTE;
    return at;
  }

  #writeLsn(out: ByteWriter): void {
    const { lsnHigh, lsnLow } = this.#position;
    if (lsnHigh < 0x10_0000) out.long(lsnHigh * 0x1_0000_0000 + lsnLow);
    else out.bigLong(BigInt.asIntN(64, (BigInt(lsnHigh) << 32n) | BigInt(lsnLow)));
  }
}

/**
 * `position` is read at every `write`; commit times must stay within 1677..2262, as Debezium's nanoseconds
 * must.
 */
export const makeSourceBlock = (options: SourceBlockOptions, position: SourcePosition): SourceBlock =>
  new PostgresSourceBlock(options, position);
