// Owns the streaming replication protocol: START_REPLICATION, status updates on its own clock, keepalives.
// Confirms exactly what `confirm` was given and nothing else. Knows nothing of what the WAL data say.
// https://www.postgresql.org/docs/current/protocol-replication.html
import { VarveError } from '../../src/errors.ts';
import type { ConnectionSettings } from './connection.ts';
import { mapPostgresError } from './error-map.ts';
import { formatLsn } from './lsn.ts';
import { EPOCH_MICROS } from './pgoutput.ts';
import { malformed } from './pgoutput-cursor.ts';
import {
  checkStart,
  publicationMissing,
  slotBusy,
  slotLost,
  slotMissing,
} from './replication-client-checks.ts';
import type { FrameBuffer } from './replication-frames.ts';
import { ReplicationSocket } from './replication-socket.ts';

export type ReplicationTiming = {
  /** Status updates are at most this far apart, also while nothing is read. */
  statusMs: number;
  /** A server that says nothing for this long, though asked, is gone. */
  silenceMs: number;
  /** What the server is asked to use as wal_sender_timeout for this connection. */
  senderTimeoutMs: number;
};

/** What is read, and by whom. */
export type ReplicationRequest = {
  connection: ConnectionSettings;
  applicationName: string;
  slot: string;
  publications: readonly string[];
  /** Microseconds since 1970-01-01 UTC, told to the server in status updates. */
  nowMicros: () => bigint;
};

export type ReplicationOptions = ReplicationRequest & { timing: ReplicationTiming };

const STATUS_BYTES = 39;
/** CopyDone, then Terminate. */
const GOODBYE = Uint8Array.of(0x63, 0, 0, 0, 4, 0x58, 0, 0, 0, 4);

const quoteForReplication = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const startCommand = ({ slot, publications }: ReplicationOptions, after: string, version: number): string => {
  const names = publications.map((name) => `"${name.replaceAll('"', '""')}"`).join(',');
  const messages = version >= 140_000 ? ", messages 'true'" : '';
  const parameters = `proto_version '1', publication_names ${quoteForReplication(names)}${messages}`;
  return `START_REPLICATION SLOT "${slot.replaceAll('"', '""')}" LOGICAL ${after} (${parameters})`;
};

const queryFrame = (text: string): Uint8Array => {
  const body = Buffer.from(`${text}\0`);
  const frame = Buffer.alloc(5);
  frame.write('Q');
  frame.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([frame, body]);
};

type ServerError = { severity?: string; code?: string; message?: string };

/** The fields of an ErrorResponse, as pg names them. */
const parseServerError = ({ bytes, start, end }: FrameBuffer): ServerError => {
  const names: Record<string, keyof ServerError> = { V: 'severity', C: 'code', M: 'message' };
  const fields: ServerError = {};
  for (const field of Buffer.from(bytes.subarray(start, end)).toString().split('\0')) {
    const name = names[field[0] ?? ''];
    if (name) fields[name] = field.slice(1);
  }
  return fields;
};

export class ReplicationClient {
  readonly #socket: ReplicationSocket;
  readonly #options: ReplicationOptions;
  readonly #status = Buffer.alloc(STATUS_BYTES);
  #confirmed: bigint;
  #ticker: NodeJS.Timeout | null = null;

  /**
   * Streams what was committed after `after`. Throws `log_missing`, `log_lost`, `log_busy`,
   * `source_not_ready` and what `openClient` throws; nothing stays open then.
   * @param confirmed 0n: the server is told nothing until `confirm`
   */
  static async start(
    options: ReplicationOptions,
    after: bigint,
    confirmed: bigint,
  ): Promise<ReplicationClient> {
    const socket = await ReplicationSocket.open(options);
    const client = new ReplicationClient(socket, options, confirmed);
    try {
      await client.#begin(formatLsn(after));
      return client;
    } catch (error) {
      socket.fail(mapPostgresError(error, `starting to stream the slot ${options.slot}`));
      throw mapPostgresError(error, `starting to stream the slot ${options.slot}`);
    }
  }

  private constructor(socket: ReplicationSocket, options: ReplicationOptions, confirmed: bigint) {
    this.#socket = socket;
    this.#options = options;
    this.#confirmed = confirmed;
    this.#status.write('d');
    this.#status.writeUInt32BE(STATUS_BYTES - 1, 1);
    this.#status.write('r', 5);
  }

  /** The body of the frame that `next` stepped to lies between `start` and `end`. */
  get frames(): FrameBuffer {
    return this.#socket.frames;
  }

  /** Makes `fill` return false from now on. Status updates go on until `close`. */
  interrupt(): void {
    this.#socket.interrupt();
  }

  /**
   * Waits for more. False: interrupted or closed. Throws what ended the stream, after all before it was read.
   */
  fill(isBehind: boolean): Promise<boolean> {
    return this.#socket.fill(isBehind);
  }

  /**
   * Steps to the next CopyData in `frames`; false when all that arrived is used up. Throws what the server
   * said.
   */
  next(): boolean {
    const frames = this.#socket.frames;
    while (frames.next()) {
      switch (String.fromCharCode(frames.type)) {
        case 'd':
          return true;
        case 'N': // notices and changed settings concern nobody here
        case 'S':
          break;
        case 'E':
          throw this.#refusal(publicationMissing(this.#options.publications));
        case 'c': // CopyDone, CommandComplete, ReadyForQuery: a server that stops ends the stream
        case 'C':
        case 'Z':
          throw mapPostgresError({ message: 'stream ended by the server' }, 'reading the log');
        default:
          throw malformed(`has the unknown frame type ${frames.type}`, frames.start);
      }
    }
    return false;
  }

  /** Only ever moves forward; the server is told at once. */
  confirm(lsn: bigint): void {
    if (lsn <= this.#confirmed) return;
    this.#confirmed = lsn;
    this.sendStatus(false);
  }

  /** @param wantsReply the server answers with a keepalive at once, also when nothing happens */
  sendStatus(wantsReply: boolean): void {
    const status = this.#status;
    const clock = this.#options.nowMicros() - EPOCH_MICROS;
    for (const at of [6, 14, 22]) status.writeBigUInt64BE(this.#confirmed, at);
    status.writeBigInt64BE(clock, 30);
    status[38] = wantsReply ? 1 : 0;
    // A copy, because a socket that is slow keeps what it was given.
    this.#socket.write(Uint8Array.from(status));
  }

  /** Waits until the slot is free, two seconds at most. What was confirmed went out before. */
  async close(): Promise<void> {
    if (this.#ticker) clearInterval(this.#ticker);
    await this.#socket.close(GOODBYE);
  }

  async #begin(after: string): Promise<void> {
    const { client } = this.#socket;
    const { timing } = this.#options;
    const version = await checkStart(client, this.#options);
    // Without a timeout the server never notices that we are gone, and takes a slower path for every message.
    await client.query(`SET wal_sender_timeout = ${timing.senderTimeoutMs}`);
    this.#socket.takeOver();
    this.#socket.write(queryFrame(startCommand(this.#options, after, version)));
    await this.#copyBoth();
    this.sendStatus(false);
    const tickMs = Math.min(timing.statusMs, timing.senderTimeoutMs / 3, timing.silenceMs / 4);
    this.#ticker = setInterval(() => this.#tick(), tickMs);
  }

  async #copyBoth(): Promise<void> {
    const frames = this.#socket.frames;
    for (;;) {
      await this.#socket.fill(false);
      while (frames.next()) {
        const type = String.fromCharCode(frames.type);
        if (type === 'W') return;
        if (type === 'E') throw this.#refusal(slotMissing(this.#options.slot));
        if (type !== 'N' && type !== 'S') throw malformed(`has the unexpected frame type ${frames.type}`, 0);
      }
    }
  }

  #tick(): void {
    if (!this.#socket.isOpen && this.#ticker) clearInterval(this.#ticker);
    const { silenceMs } = this.#options.timing;
    const silentMs = this.#socket.isReading ? performance.now() - this.#socket.heardAtMs : 0;
    if (silentMs < silenceMs) {
      this.sendStatus(silentMs > silenceMs / 3);
      return;
    }
    const seconds = Math.round(silentMs / 1000);
    this.#socket.fail(
      new VarveError(
        'source_unreachable',
        `The server has sent nothing for ${seconds} s, though it was asked to; the connection is dead. ` +
          `Varve connects anew.`,
        { facts: { silentMs: Math.round(silentMs) } },
      ),
    );
  }

  /**
   * @param missing what the server does not find at this time: the slot before the stream starts, then a
   *   publication, as the catalog was where the log is read
   */
  #refusal(missing: VarveError): VarveError {
    const { slot } = this.#options;
    const error = parseServerError(this.#socket.frames);
    if (error.code === '42704') return missing;
    if (error.code === '55006')
      return slotBusy(slot, Number(/PID (\d+)/.exec(error.message ?? '')?.[1]) || null);
    if (error.code === '55000') return slotLost(slot, error.message ?? null);
    return mapPostgresError(error, `reading the log through the slot ${slot}`);
  }
}
