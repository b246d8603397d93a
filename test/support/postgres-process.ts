// The server process of one test: how it is spawned (as root too), stopped, and ended when the test process
// dies. Knows nothing of connections or templates.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';

export type ServerFolder = {
  /** Folder of this server alone: data, socket, log. */
  readonly root: string;
  readonly data: string;
  readonly log: string;
  /** Folder with `postgres` and `initdb`, readable by the user that runs them. */
  readonly bin: string;
  /** Version of the npm package. */
  readonly version: string;
};

/**
 * `initdb` and `postgres` refuse to run as root; 65534 is `nobody`, which has a passwd entry on every Linux.
 */
export const serverUser: { uid: number; gid: number } | undefined =
  process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;

/** Spawns the server, its messages appended to the log file. It does not keep this process alive. */
export const spawnServer = (
  folder: ServerFolder,
  port: number,
  settings: Record<string, string>,
): ChildProcess => {
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = openSync(folder.log, 'a');
  const args = ['-D', folder.data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', ...flags];
  const child = spawn(`${folder.bin}/postgres`, args, {
    ...serverUser,
    cwd: folder.root,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  // A spawn that fails leaves `pid` undefined; the caller looks at that.
  child.on('error', () => undefined);
  child.unref();
  return child;
};

/** Sends the signal and waits for the end; a server that stays for 60 s is killed and reported. */
export const stopServer = async (child: ChildProcess, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  child.ref();
  const ended = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [, killedBy] = await ended;
  clearTimeout(timer);
  if (killedBy === 'SIGKILL')
    throw new Error(`PostgreSQL did not end within 60 s of ${signal}; it was killed.`);
};

// Its standard input is a pipe from this process, so it ends when this process ends, by SIGKILL as well: an
// 'exit' hook would not see that. A process group of its own keeps it alive through Ctrl-C.
const watchdogScript = `cat >/dev/null
[ -f "$0/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" && sleep 1
rm -rf "$0"`;

/** Ends the server and removes its folder as soon as this process is gone. */
export const startWatchdog = (folder: ServerFolder): ChildProcess => {
  const child = spawn('sh', ['-c', watchdogScript, folder.root], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
};

/**
 * A port that nobody listens on, below the range that Linux gives to outgoing connections: those could take
 * it while a test has its server stopped.
 */
export const pickPort = async (): Promise<number> => {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const probe = createServer();
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => resolve(true));
    });
    await new Promise((resolve) => probe.close(resolve));
    if (free) return port;
  }
};
