// Owns Debezium's `source` struct for PostgreSQL: its type, and its bytes for the current event. What a
// whole transaction or table shares is rendered once. Knows no socket: the log reader or a snapshot fills
// `SourcePosition`.
import type { ConnectField, ConnectType, TableName } from '../../src/change/schema.ts';
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import type { SourceBlock, SourceFacts } from '../../src/topic/prepared-table.ts';

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

const NO_COMMIT = 'null';

/** What the low digits of a position count up to before the rest of the block is printed again. */
const PATCHED = 10_000;
const PATCHED_DIGITS = 4;

/** From here on a double does not hold a position. */
const LARGE_HIGH = 0x20_0000;

/** A multiple of 1000 beyond every commit time, so that the division below rounds down. */
const BEFORE_ALL = 10n ** 19n;
const toMillis = (micros: bigint): bigint => (micros + BEFORE_ALL) / 1000n - BEFORE_ALL / 1000n;

const bigLsn = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);

/** One event's facts and what of its position all events of a transaction share. */
type Rendered = SourceFacts & Pick<SourcePosition, 'commitHigh' | 'commitLow' | 'txId'>;

type SourceBlockOptions = { pipeline: string; database: string };

class PostgresSourceBlock implements SourceBlock {
  readonly type = SOURCE_TYPE;
  readonly #position: SourcePosition;
  readonly #names: Uint8Array;
  readonly #database: Uint8Array;
  readonly #tables = new WeakMap<TableName, Uint8Array>();
  /**
   * The block of the event before; from one event of a transaction to the next little changes but the lsn.
   */
  readonly #block = new ByteWriter(256);
  /** What that was printed of. */
  #last: Rendered | null = null;
  /** Its lsn without the digits that are printed over; 0: none may be. */
  #upper = 0;
  /** Where in it the lsn's digits end, and where the lsn is a number. */
  #digitsEnd = 0;
  #lsnAt = 0;

  constructor({ pipeline, database }: SourceBlockOptions, position: SourcePosition) {
    this.#position = position;
    this.#database = bytesOf((out) => out.text(database));
    this.#names = bytesOf((out) => {
      for (const text of [VERSION, 'postgresql', pipeline]) out.text(text);
    });
  }

  write(out: ByteWriter, facts: SourceFacts): void {
    const { lsnHigh, lsnLow } = this.#position;
    const lsn = lsnHigh * 0x1_0000_0000 + lsnLow;
    const upper = lsnHigh < LARGE_HIGH ? Math.floor(lsn / PATCHED) : 0;
    if (upper > 0 && upper === this.#upper && this.#isOfLast(facts)) this.#patch(lsn - upper * PATCHED);
    else {
      this.#render(facts);
      this.#upper = upper;
    }
    out.append(this.#block);
  }

  #isOfLast({ table, snapshot, commitTs }: SourceFacts): boolean {
    const { commitHigh, commitLow, txId } = this.#position;
    const last = this.#last;
    if (last === null) return false;
    const isSameCommit = commitLow === last.commitLow && commitHigh === last.commitHigh && txId === last.txId;
    return isSameCommit && table === last.table && snapshot === last.snapshot && commitTs === last.commitTs;
  }

  #patch(digits: number): void {
    const { bytes } = this.#block;
    let rest = digits;
    for (let at = this.#digitsEnd - 1; at >= this.#digitsEnd - PATCHED_DIGITS; at--) {
      const next = (rest / 10) | 0;
      bytes[at] = 0x30 + (rest - next * 10);
      rest = next;
    }
    this.#writeEnd();
  }

  #render({ table, snapshot, commitTs }: SourceFacts): void {
    const { lsnHigh, lsnLow, commitHigh, commitLow, txId } = this.#position;
    this.#last = { table, snapshot, commitTs, commitHigh, commitLow, txId };
    const out = this.#block;
    out.pos = 0;
    out.raw(this.#names);
    out.bigLong(toMillis(commitTs));
    out.byte(DEFAULTED);
    out.text(snapshot);
    out.raw(this.#database);
    out.byte(VALUE);
    const commit = commitHigh < 0 ? NO_COMMIT : `"${bigLsn(commitHigh, commitLow)}"`;
    out.text(`[${commit},"${bigLsn(lsnHigh, lsnLow)}"]`);
    this.#digitsEnd = out.pos - 2;
    out.byte(VALUE);
    out.bigLong(commitTs);
    out.byte(VALUE);
    out.bigLong(commitTs * 1000n);
    out.raw(this.#tableBytes(table));
    if (txId === null) out.byte(NULL);
    else {
      out.byte(VALUE);
      out.long(txId);
    }
    out.byte(VALUE);
    this.#lsnAt = out.pos;
    this.#writeEnd();
  }

  /** The lsn, then the three that are absent. */
  #writeEnd(): void {
    const { lsnHigh, lsnLow } = this.#position;
    const out = this.#block;
    out.pos = this.#lsnAt;
    if (lsnHigh < LARGE_HIGH) out.long(lsnHigh * 0x1_0000_0000 + lsnLow);
    else out.bigLong(BigInt.asIntN(64, bigLsn(lsnHigh, lsnLow)));
    for (let absent = 0; absent < 3; absent++) out.byte(NULL);
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
}

/**
 * `position` is read at every `write`; commit times must stay within 1677..2262, as Debezium's nanoseconds
 * must.
 */
export const makeSourceBlock = (options: SourceBlockOptions, position: SourcePosition): SourceBlock =>
  new PostgresSourceBlock(options, position);
