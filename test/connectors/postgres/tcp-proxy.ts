// A TCP proxy for tests: it can go silent without closing anything, or pass few bytes at a time.
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Pace = { bytesPerTick: number; tickMs: number };

/** To a port of this machine; without `pace` as fast as it goes. */
export const startProxy = async (
  target: number,
  pace?: Pace,
): Promise<{ port: number; freeze(): void; close(): void }> => {
  const sockets: Socket[] = [];
  let isFrozen = false;
  const proxy = createServer((client) => {
    const upstream = connectTcp(target, '127.0.0.1');
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('data', (bytes) => void (isFrozen || upstream.write(bytes)));
    client.on('end', () => upstream.end());
    upstream.on('data', (bytes) => {
      if (isFrozen) return;
      if (!pace) {
        client.write(bytes);
        return;
      }
      upstream.pause();
      void (async () => {
        for (let at = 0; at < bytes.length; at += pace.bytesPerTick) {
          client.write(bytes.subarray(at, at + pace.bytesPerTick));
          await sleep(pace.tickMs);
        }
        upstream.resume();
      })();
    });
    upstream.on('end', () => client.end());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    port: (proxy.address() as AddressInfo).port,
    freeze: () => {
      isFrozen = true;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
};
