// Owns the bytes of a replication connection once pg has logged in: one socket, read in large pieces.
// The server sends every message with a send() of its own; a reader that takes each at once makes both sides
// slow. A pause lets the kernel merge thousands into one read, so whoever is behind pauses, and whoever is
// not does not. Knows nothing of the messages inside.
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type pg from 'pg';
import type { VarveError } from '../../src/errors.ts';
import { addressText, type ConnectionSettings, openClient } from './connection.ts';
import { mapPostgresError } from './error-map.ts';
import { FrameBuffer } from './replication-frames.ts';

const READ_BYTES = 1 << 20;
/** Between two reads of a reader that is behind. Longer pauses starve it, shorter ones merge too little. */
const COALESCE_MS = 20;
const GOODBYE_MS = 2_000;

type SocketOptions = { connection: ConnectionSettings; applicationName: string };

/** Bytes for the parser that pg put on the socket, until `take` puts itself in its place. */
type Landing = { take: ((bytes: Uint8Array, count: number) => void) | null };

const plainSocket = (landing: Landing): Socket => {
  const socket: Socket = new Socket({
    onread: {
      buffer: new Uint8Array(READ_BYTES),
      callback: (count, buffer) => {
        if (landing.take) landing.take(buffer, count);
        else socket.emit('data', Buffer.from(buffer.subarray(0, count)));
        return true;
      },
    },
  });
  return socket;
};

export class ReplicationSocket {
  readonly frames = new FrameBuffer();
  readonly client: pg.Client;
  /** Milliseconds of performance.now() when bytes came last, or reading was resumed last. */
  heardAtMs = performance.now();
  readonly #doing: string;
  /** A Unix socket holds so little that the server would only wait for us. */
  readonly #coalesceMs: number;
  readonly #landing: Landing;
  #stream: Duplex;
  #failure: VarveError | null = null;
  #closing = false;
  #isInterrupted = false;
  #reading = false;
  #wakePlanned = false;
  #wake: (() => void) | null = null;

  /** A logged in connection on which pg may still ask questions, until `takeOver`. */
  static async open({ connection, applicationName }: SocketOptions): Promise<ReplicationSocket> {
    const landing: Landing = { take: null };
    // TLS has its own reads; a buffer of ours would only see the encrypted bytes.
    const socket = connection.tls === null ? { socket: plainSocket(landing) } : {};
    const options = { applicationName, statementTimeoutMs: 0, replication: true, ...socket };
    const client = await openClient(connection, options);
    return new ReplicationSocket(client, landing, connection);
  }

  private constructor(client: pg.Client, landing: Landing, connection: ConnectionSettings) {
    this.client = client;
    this.#landing = landing;
    this.#doing = `reading the log of ${addressText(connection)}`;
    this.#coalesceMs = connection.host.startsWith('/') ? 0 : COALESCE_MS;
    this.#stream = client.connection.stream;
  }

  /** False while paused: silence means nothing then. */
  get isReading(): boolean {
    return this.#reading;
  }

  get isOpen(): boolean {
    return !this.#stream.destroyed;
  }

  /** From here on the bytes are ours. pg must be idle: nothing may be on its way to it. */
  takeOver(): void {
    const stream = this.#stream;
    stream.removeAllListeners('data');
    if (this.#landing.take === null && stream instanceof Socket && !('encrypted' in stream)) {
      this.#landing.take = (bytes, count) => this.#land(bytes, count);
    } else stream.on('data', (bytes: Uint8Array) => this.#land(bytes, bytes.length));
    stream.on('error', (error) => this.fail(mapPostgresError(error, this.#doing)));
    stream.on('close', () => this.fail(mapPostgresError({ message: 'closed by the server' }, this.#doing)));
    stream.pause();
  }

  write(bytes: Uint8Array): void {
    if (this.#stream.writable) this.#stream.write(bytes);
  }

  /** Ends the connection for a reason; what has arrived whole can still be read, then `fill` throws it. */
  fail(failure: VarveError): void {
    this.#failure ??= failure;
    this.#stream.destroy();
    this.#wakeUp();
  }

  /** Makes `fill` return false, now and from now on; the connection stays. */
  interrupt(): void {
    this.#isInterrupted = true;
    this.#wakeUp();
  }

  /**
   * Waits until a whole frame is there. False: interrupted or closed by us. Throws what ended the connection.
   */
  async fill(isBehind: boolean): Promise<boolean> {
    while (!this.frames.hasFrame) {
      if (this.#isInterrupted) return false;
      if (this.#failure) throw this.#failure;
      const restMs = isBehind ? this.heardAtMs + this.#coalesceMs - performance.now() : 0;
      if (restMs >= 1) await new Promise((resolve) => setTimeout(resolve, restMs));
      await this.#read();
    }
    return !this.#isInterrupted;
  }

  /**
   * Says goodbye with `last`, then throws away what still arrives: unread bytes would turn the end into a
   * reset.
   */
  async close(last: Uint8Array): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.frames.clear();
    this.interrupt();
    const stream = this.#stream;
    if (stream.destroyed) return;
    const gone = new Promise<void>((resolve) => stream.once('close', resolve));
    const timer = setTimeout(() => stream.destroy(), GOODBYE_MS);
    stream.end(last);
    stream.resume();
    await gone;
    clearTimeout(timer);
  }

  #read(): Promise<void> {
    if (this.#isInterrupted || this.#failure) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#reading = true;
      this.heardAtMs = performance.now();
      this.#stream.resume();
    });
  }

  #land(bytes: Uint8Array, count: number): void {
    this.heardAtMs = performance.now();
    if (this.#closing) return;
    try {
      this.frames.append(bytes, count);
      if (this.frames.isFull) this.#wakeUp();
      else if (!this.#wakePlanned) {
        // The loop hands over all that the kernel has before it comes to immediates.
        this.#wakePlanned = true;
        setImmediate(() => {
          this.#wakePlanned = false;
          this.#wakeUp();
        });
      }
    } catch (error) {
      this.fail(mapPostgresError(error, this.#doing));
    }
  }

  #wakeUp(): void {
    const wake = this.#wake;
    if (wake === null) return;
    this.#wake = null;
    this.#reading = false;
    if (!this.#closing) this.#stream.pause();
    wake();
  }
}
