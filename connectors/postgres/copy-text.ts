// Owns PostgreSQL's COPY text format: bytes in, rows of cells out. Pure: knows no connection, no table, no
// type. Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT
import { CELL_NULL, CELL_VALUE, type Cells, makeCells } from '../../src/change/row.ts';
import { VarveError } from '../../src/errors.ts';

const TAB = 9;
const LINE_FEED = 10;
const BACKSLASH = 92;
const CAPITAL_N = 78;

/** What follows a backslash -> the byte it stands for. The server writes no other escapes. */
const UNESCAPED = new Uint8Array(256);
for (const [letter, byte] of Object.entries({ b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '\\': 92 })) {
  UNESCAPED[letter.charCodeAt(0)] = byte;
}

/**
 * Splits COPY text into rows. Pieces may be cut anywhere; a row that straddles two is put together. Fed bytes
 * belong to this object until `next` has returned null: escapes are undone in place, where they only ever get
 * shorter.
 */
export class CopyRows {
  readonly #cells: Cells;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** End of the last whole row of the piece; what follows is the start of a row. */
  #wholeEnd = 0;
  #end = 0;
  /** The start of a row that a later piece ends. */
  #carry = new Uint8Array(0);
  #carried = 0;

  constructor(columns: number) {
    this.#cells = makeCells(columns);
  }

  /** True while the start of a row waits for its end: at the end of the copy, a torn row. */
  get midRow(): boolean {
    return this.#carried > 0;
  }

  feed(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    // The server sends one whole row a message, so the last byte nearly always decides without a search.
    if (end > start && bytes[end - 1] === LINE_FEED) this.#wholeEnd = end;
    else this.#wholeEnd = Math.max(start, end > start ? bytes.lastIndexOf(LINE_FEED, end - 1) + 1 : start);
  }

  /** The next row, a flyweight; null: feed more. Throws `protocol_error` on what the server never writes. */
  next(): Cells | null {
    if (this.#carried > 0 && this.#at < this.#wholeEnd) return this.#nextCarried();
    if (this.#at < this.#wholeEnd) {
      this.#at = this.#parse(this.#bytes, this.#at);
      return this.#cells;
    }
    if (this.#at < this.#end) this.#keep(this.#end);
    return null;
  }

  #nextCarried(): Cells {
    this.#keep(this.#bytes.indexOf(LINE_FEED, this.#at) + 1);
    this.#carried = 0;
    this.#parse(this.#carry, 0);
    return this.#cells;
  }

  #keep(to: number): void {
    const need = this.#carried + to - this.#at;
    if (this.#carry.length < need) {
      const grown = new Uint8Array(need * 2);
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(this.#bytes.subarray(this.#at, to), this.#carried);
    this.#carried = need;
    this.#at = to;
  }

  /** Parses one whole row; gives the offset after its line feed, which the caller has made sure is there. */
  #parse(bytes: Uint8Array, from: number): number {
    const { kind, start, end } = this.#cells;
    const last = kind.length - 1;
    this.#cells.bytes = bytes;
    let at = from;
    for (let column = 0; column <= last; column++) {
      const cell = at;
      let byte = bytes[at] as number;
      while (byte !== TAB && byte !== LINE_FEED && byte !== BACKSLASH) byte = bytes[++at] as number;
      kind[column] = CELL_VALUE;
      start[column] = cell;
      end[column] = at;
      if (byte === BACKSLASH) {
        if (at === cell && bytes[at + 1] === CAPITAL_N) {
          kind[column] = CELL_NULL;
          at += 2;
        } else at = this.#unescape(bytes, at, column);
        byte = bytes[at] as number;
      }
      if (byte !== (column === last ? LINE_FEED : TAB)) throw misshapen(kind.length);
      at++;
    }
    if (last >= 0) return at;
    if (bytes[at] !== LINE_FEED) throw misshapen(0);
    return at + 1;
  }

  #unescape(bytes: Uint8Array, from: number, column: number): number {
    let at = from;
    let to = from;
    for (;;) {
      const byte = bytes[at] as number;
      if (byte === TAB || byte === LINE_FEED) break;
      if (byte === BACKSLASH) {
        const real = UNESCAPED[bytes[at + 1] as number] as number;
        if (real === 0) throw misshapen(this.#cells.kind.length);
        bytes[to++] = real;
        at += 2;
      } else {
        bytes[to++] = byte;
        at++;
      }
    }
    this.#cells.end[column] = to;
    return at;
  }
}

const misshapen = (columns: number): VarveError =>
  new VarveError(
    'protocol_error',
    `The server sent a COPY row that does not have ${columns} columns, or an escape that COPY text does ` +
      `not know. ` +
      'Nothing of it was used. Is there a proxy between Varve and the server? Please report it.',
    { facts: { columns } },
  );
