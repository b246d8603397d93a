// Owns a line to a server of this machine that a test can make bad: slow, far away, or dead without a word,
// which leaves the near side with a connection that is open and never hears anything again. No protocol.
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Line = {
  /** What comes from the server goes on in such pieces. */
  bytesPerTick?: number;
  tickMs?: number;
  /** Each way. */
  delayMs?: number;
};

type Proxy = {
  readonly port: number;
  /** Connections that are open, and new ones, stay open and go silent; the server sees them close. */
  freeze(): void;
  /** New connections pass again; the frozen ones stay as they are. */
  thaw(): void;
  close(): void;
  [Symbol.dispose](): void;
};

type Pair = { client: Socket; upstream: Socket; isDead: boolean };

const carryUp = ({ client, upstream }: Pair, { delayMs = 0 }: Line): void => {
  const soon = (act: () => void): void => void (delayMs > 0 ? setTimeout(act, delayMs) : act());
  client.on('data', (bytes) => soon(() => upstream.writable && upstream.write(bytes)));
  client.on('end', () => soon(() => upstream.end()));
};

/** One piece after the other; the server waits meanwhile. */
const carryDown = (pair: Pair, line: Line): void => {
  const { client, upstream } = pair;
  const { bytesPerTick = Number.POSITIVE_INFINITY, tickMs = 0, delayMs = 0 } = line;
  const soon = (act: () => void): void => void (delayMs > 0 ? setTimeout(act, delayMs) : act());
  const pass = (bytes: Buffer): void => soon(() => void (pair.isDead || client.write(bytes)));
  upstream.on('data', (bytes) => {
    if (bytes.length <= bytesPerTick && tickMs === 0) return pass(bytes);
    upstream.pause();
    void (async () => {
      for (let at = 0; at < bytes.length; at += bytesPerTick) {
        pass(bytes.subarray(at, at + bytesPerTick));
        await sleep(tickMs);
      }
      upstream.resume();
    })();
  });
  upstream.on('end', () => soon(() => void (pair.isDead || client.end())));
};

/** To a port of this machine; without a `line` as fast as it goes. */
export const startProxy = async (target: number, line: Line = {}): Promise<Proxy> => {
  const pairs: Pair[] = [];
  let isFrozen = false;
  const kill = (pair: Pair): void => {
    pair.isDead = true;
    pair.upstream.destroy();
  };
  // Half open, so that nobody answers the goodbye of a client whose connection is dead.
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connectTcp({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { client, upstream, isDead: false };
    pairs.push(pair);
    for (const socket of [pair.client, pair.upstream]) socket.on('error', () => undefined);
    carryUp(pair, line);
    carryDown(pair, line);
    if (isFrozen) kill(pair);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    for (const { client, upstream } of pairs) for (const socket of [client, upstream]) socket.destroy();
    proxy.close();
  };
  return {
    port: (proxy.address() as AddressInfo).port,
    freeze: () => {
      isFrozen = true;
      pairs.forEach(kill);
    },
    thaw: () => {
      isFrozen = false;
    },
    close,
    [Symbol.dispose]: close,
  };
};
