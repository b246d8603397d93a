// Owns a replication stream that decodes nothing, for floors: logs in with pg, then reads the raw socket in
// large pieces and walks over the frames. Shares no code with Varve's reader, so that it stays a floor.
import { Socket } from 'node:net';
import pg from 'pg';
import type { Address } from './database.ts';

const READ_BYTES = 8 << 20;
const STATUS_EVERY_MS = 10_000;
/** CopyData header, XLogData header, message tag. */
const TAG_AT = 5 + 25;

export type StreamRequest = {
  address: Address;
  slot: string;
  publication: string;
  /** How many are enough. */
  rows: number;
  /** Pause between two reads, so that the kernel merges what arrives meanwhile; 0 for latency. */
  pauseMs: number;
};

/** Called for every pgoutput message: its tag, and where it begins in `bytes`. True: that is enough. */
type OnMessage = (tag: number, bytes: Buffer, at: number) => boolean;

const frame = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

/** Walks over the whole frames of `bytes`; gives how far it came, or -1 when enough was seen. */
const walk = (bytes: Buffer, onMessage: OnMessage): number => {
  let at = 0;
  while (bytes.length - at >= 5) {
    const next = at + 1 + bytes.readUInt32BE(at + 1);
    if (next > bytes.length) break;
    const type = bytes[at];
    if (type === 0x45) throw new Error(bytes.toString('utf8', at + 5, next).replaceAll('\0', ' '));
    const isData = type === 0x64 && bytes[at + 5] === 0x77;
    if (isData && onMessage(bytes[at + TAG_AT] ?? 0, bytes, at + TAG_AT)) return -1;
    at = next;
  }
  return at;
};

/** Streams until `onMessage` has seen enough; gives the seconds that took, from the command on. */
export const streamRaw = async (request: StreamRequest, onMessage: OnMessage): Promise<number> => {
  const { address, slot, publication, pauseMs } = request;
  let take = (bytes: Buffer): void => void socket.emit('data', Buffer.from(bytes));
  const socket: Socket = new Socket({
    onread: {
      buffer: Buffer.alloc(READ_BYTES),
      callback: (count, buffer) => {
        take(Buffer.from(buffer.buffer, buffer.byteOffset, count));
        return true;
      },
    },
  });
  const config: pg.ClientConfig & { replication: 'database' } = {
    ...address,
    replication: 'database',
    stream: () => socket,
  };
  const client = new pg.Client(config);
  client.on('error', () => undefined);
  await client.connect();
  await client.query("SET wal_sender_timeout = '60s'");
  socket.removeAllListeners('data');
  const status = Buffer.alloc(34);
  status.write('r');
  const ticker = setInterval(() => socket.write(frame('d', status)), STATUS_EVERY_MS);
  const startedMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    let rest = Buffer.alloc(0);
    take = (piece) => {
      const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
      try {
        const end = walk(bytes, onMessage);
        if (end < 0) return resolve();
        rest = Buffer.from(bytes.subarray(end));
      } catch (error) {
        reject(error);
      }
      if (pauseMs === 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), pauseMs);
    };
    socket.on('close', () => reject(new Error('the server closed the stream')));
    const options = `proto_version '1', publication_names '"${publication}"'`;
    socket.write(frame('Q', Buffer.from(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (${options})\0`)));
  });
  const seconds = (performance.now() - startedMs) / 1000;
  clearInterval(ticker);
  socket.removeAllListeners('close');
  socket.destroy();
  return seconds;
};
