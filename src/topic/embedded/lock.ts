// Owns who may write to a directory: the one process whose socket answers there. The kernel closes it when
// the process dies, so there is no stale lock to guess about: no process number that was used again, none of
// another container.
import { readdir, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../errors.ts';
import { fileError, isMissing, LOCK_PREFIX } from './directory.ts';

/** What the kernel takes as a socket's name, with a margin for all systems. */
const MAX_SOCKET_PATH_BYTES = 100;
const ATTEMPTS = 8;

export type Lock = { release(): Promise<void> };

/** `id`: fresh for every call. Throws `state_locked` with the holder's process number, when it says one. */
export const acquireLock = async (path: string, id: string): Promise<Lock> => {
  const name = `${LOCK_PREFIX}${id.replaceAll('-', '').slice(0, 12)}`;
  const own = join(path, name);
  if (Buffer.byteLength(own) > MAX_SOCKET_PATH_BYTES) {
    throw new VarveError(
      'config_invalid',
      `The path of the embedded topic is too long to be locked: ${path}. Use one of at most ` +
        `${MAX_SOCKET_PATH_BYTES - name.length - 1} bytes.`,
      { facts: { path } },
    );
  }
  const claim: Claim = { held: false };
  let server = await listen(own, path, claim);
  for (let attempt = 1; ; attempt++) {
    // Listen first, look second: of two that come at once, at least one sees the other.
    const other = await findOther(path, name);
    if (other === null && (await exists(own))) {
      claim.held = true;
      return { release: () => close(server) };
    }
    if (other?.held || attempt === ATTEMPTS) {
      await close(server);
      throw locked(path, other?.pid ?? 'unknown');
    }
    // Both are only looking: the lower name stays, the other one makes room for a moment.
    const yields = other === null || other.name < name;
    if (yields) await close(server);
    await sleep(10 * attempt);
    if (yields) server = await listen(own, path, claim);
  }
};

/**
 * Process id of the holder, `unknown` when it is too busy to say it; null: nobody holds it. Changes nothing.
 */
export const findHolder = async (path: string): Promise<string | null> => {
  const names = await readdir(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  for (const name of names.filter((found) => found.startsWith(LOCK_PREFIX))) {
    const said = await ask(join(path, name));
    if (said === '') return 'unknown';
    if (said?.startsWith('held ')) return said.slice('held '.length);
  }
  return null;
};

type Claim = { held: boolean };
type Other = { name: string; pid: string; held: boolean };

const listen = (own: string, path: string, claim: Claim): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((peer) => {
      peer.on('error', () => peer.destroy());
      peer.end(`${claim.held ? 'held' : 'looking'} ${process.pid}`);
    });
    server.once('error', (error) => reject(fileError(error, path)));
    server.listen(own, () => resolve(server.unref()));
  });

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

const findOther = async (path: string, own: string): Promise<Other | null> => {
  for (const name of await readdir(path)) {
    if (!name.startsWith(LOCK_PREFIX) || name === own) continue;
    const said = await ask(join(path, name));
    if (said !== null) {
      const [word, pid = 'unknown'] = said.split(' ');
      return { name, pid, held: word === 'held' };
    }
    await unlink(join(path, name)).catch((error: unknown) => {
      if (!isMissing(error)) throw fileError(error, path);
    });
  }
  return null;
};

/** What the process behind the socket says, '' when it is too busy to; null: there is none any more. */
const ask = (socket: string): Promise<string | null> =>
  new Promise((resolve, reject) => {
    let said = '';
    const peer = connect(socket);
    peer.setTimeout(500, () => peer.destroy());
    peer.on('data', (chunk) => {
      said += chunk.toString('latin1');
    });
    peer.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(null);
      else if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(fileError(error, socket));
    });
    peer.on('close', () => resolve(said));
  });

const locked = (path: string, pid: string): VarveError =>
  new VarveError(
    'state_locked',
    `Another Varve writes to the embedded topic in ${path} (process ${pid}). Stop it first, or give ` +
      'this pipeline a path of its own.',
    { facts: { path, pid } },
  );
