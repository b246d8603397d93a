// Owns one COPY .. TO STDOUT on a connection of its own: takes the socket over from the driver for its
// duration, because the driver makes an object a row. Hands out bunches of rows; not pulling pauses the
// socket. Knows no table. Messages: https://www.postgresql.org/docs/current/protocol-message-formats.html
import type { Duplex } from 'node:stream';
import type pg from 'pg';
import type { Cells } from '../../src/change/row.ts';
import { VarveError } from '../../src/errors.ts';
import type { RowChunk } from '../../src/snapshot/chunk-reader.ts';
import { CopyRows } from './copy-text.ts';

/** A server that sends nothing for this long, though it may, is gone. */
const SILENCE_MS = 120_000;
/** The socket is paused while this much waits: the bound on memory of one copy, beside its largest row. */
const WAITING_BYTES = 1 << 20;
const HEADER_BYTES = 5;
const EMPTY = new Uint8Array(0);

const COPY_DATA = 0x64;
const ERROR = 0x45;
const READY = 0x5a;

type CopyRequest = {
  sql: string;
  /** Columns that the statement yields. */
  columns: number;
  signal: AbortSignal;
  /** Turns an error of the server, or of the socket, into what the caller throws. */
  mapError: (cause: unknown) => Error;
  /** For tests. */
  silenceMs?: number;
};

/**
 * Yields until the copy ends. A caller that stops early loses the connection: the server cannot be told
 * otherwise.
 */
export async function* copyOut(client: pg.Client, request: CopyRequest): AsyncGenerator<RowChunk> {
  const { sql, columns, signal, mapError, silenceMs = SILENCE_MS } = request;
  const tap = new SocketTap((client.connection as unknown as { stream: Duplex }).stream, silenceMs);
  const abort = (): void => tap.fail(new VarveError('source_unreachable', 'Reading was stopped.'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const bunch = new Bunch(new CopyRows(columns));
  let isWhole = false;
  try {
    tap.send(sql);
    while (!bunch.isDone) {
      const bytes = await tap.take(bunch.rest, bunch.needed);
      bunch.open(bytes);
      yield bunch;
      bunch.finish();
      if (bunch.failure !== null && bunch.isDone) throw bunch.failure;
    }
    isWhole = true;
  } catch (thrown) {
    isWhole = bunch.isDone;
    throw mapError(bunch.failure ?? thrown);
  } finally {
    signal.removeEventListener('abort', abort);
    tap.close(isWhole);
  }
}

/**
 * One stretch of messages; rows come out of it until it is used up, and the cut message at its end goes on.
 */
class Bunch implements RowChunk {
  readonly #rows: CopyRows;
  #bytes: Uint8Array = EMPTY;
  #at = 0;
  #view: DataView = new DataView(EMPTY.buffer);
  isDone = false;
  failure: ServerError | null = null;

  constructor(rows: CopyRows) {
    this.#rows = rows;
  }

  get rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  /** How many bytes the message that is cut at the end has, as far as that is known. */
  get needed(): number {
    const left = this.#bytes.length - this.#at;
    return left < HEADER_BYTES ? HEADER_BYTES : 1 + this.#view.getUint32(this.#at + 1);
  }

  open(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
  }

  next(): Cells | null {
    for (;;) {
      const row = this.#rows.next();
      if (row !== null) return row;
      const left = this.#bytes.length - this.#at;
      if (left < HEADER_BYTES || left < this.needed) return null;
      this.#message();
    }
  }

  /** One message is one row, so a whole one that follows is another row. */
  get mayEnd(): boolean {
    const left = this.#bytes.length - this.#at;
    return left < HEADER_BYTES || this.#bytes[this.#at] !== COPY_DATA || left < this.needed;
  }

  /** What the caller did not pull is skipped. */
  finish(): void {
    while (this.next() !== null);
  }

  #message(): void {
    const start = this.#at + HEADER_BYTES;
    const type = this.#bytes[this.#at];
    this.#at += this.needed;
    if (type === COPY_DATA) this.#rows.feed(this.#bytes, start, this.#at);
    else if (type === ERROR) this.failure ??= new ServerError(this.#bytes.subarray(start, this.#at));
    else if (type === READY) {
      this.isDone = true;
      if (this.#rows.midRow && this.failure === null) {
        throw new VarveError('protocol_error', 'The server ended a COPY in the middle of a row.');
      }
    }
  }
}

/** The fields of an ErrorResponse that decide what to do; shaped like the driver's own error. */
class ServerError extends Error {
  readonly code: string;
  readonly severity: string;

  constructor(fields: Uint8Array) {
    const parts = new TextDecoder().decode(fields).split('\0');
    const field = (letter: string): string =>
      parts.find((part) => part.startsWith(letter))?.slice(letter.length) ?? '';
    super(field('M'));
    this.code = field('C');
    this.severity = field('S');
  }
}

type Listener = (...values: unknown[]) => void;

/** The socket, while its usual reader is set aside. */
class SocketTap {
  readonly #socket: Duplex;
  readonly #usual: Listener[];
  readonly #silenceMs: number;
  #parts: Uint8Array[] = [];
  #size = 0;
  #failure: unknown;
  #wake: (() => void) | null = null;

  constructor(socket: Duplex, silenceMs: number) {
    this.#socket = socket;
    this.#silenceMs = silenceMs;
    this.#usual = socket.listeners('data') as Listener[];
    socket.removeAllListeners('data');
    socket.on('data', this.#take);
    socket.on('error', this.fail);
    socket.on('close', this.#closed);
  }

  send(sql: string): void {
    const text = Buffer.from(`${sql}\0`, 'utf8');
    const header = Buffer.alloc(HEADER_BYTES);
    header.write('Q');
    header.writeUInt32BE(text.length + 4, 1);
    this.#socket.write(Buffer.concat([header, text]));
  }

  /** `rest` and what has arrived after it, in one piece of at least `needed` bytes. */
  async take(rest: Uint8Array, needed: number): Promise<Uint8Array> {
    while (this.#failure === undefined && (this.#size === 0 || rest.length + this.#size < needed)) {
      if (this.#socket.isPaused()) this.#socket.resume();
      const silence = setTimeout(this.fail, this.#silenceMs, new Error('the server has fallen silent'));
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      clearTimeout(silence);
    }
    if (this.#failure !== undefined) throw this.#failure;
    const parts = rest.length === 0 ? this.#parts : [rest, ...this.#parts];
    this.#parts = [];
    this.#size = 0;
    if (this.#socket.isPaused()) this.#socket.resume();
    return parts.length === 1 ? (parts[0] ?? EMPTY) : Buffer.concat(parts);
  }

  readonly fail = (cause: unknown): void => {
    this.#failure ??= cause;
    this.#wake?.();
  };

  /** Gives the socket back to the driver; one that is in the middle of a copy is of no use to it. */
  close(isWhole: boolean): void {
    this.#socket.off('data', this.#take);
    this.#socket.off('error', this.fail);
    this.#socket.off('close', this.#closed);
    for (const listener of this.#usual) this.#socket.on('data', listener);
    if (isWhole) this.#socket.resume();
    else this.#socket.destroy();
  }

  readonly #take = (bytes: Uint8Array): void => {
    this.#parts.push(bytes);
    this.#size += bytes.length;
    if (this.#size >= WAITING_BYTES) this.#socket.pause();
    this.#wake?.();
  };

  readonly #closed = (): void => this.fail(new Error('Connection terminated unexpectedly'));
}
