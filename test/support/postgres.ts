// A real PostgreSQL server for one test file: started from the npm packages pg15, pg17 and pg18 on a free
// port, in a folder of its own, and gone when the test ends, however it ends. Knows nothing of Varve.
import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { ran } from './components.ts';
import { removeFolder } from './make-once.ts';
import { pickPort, type ServerFolder, spawnServer, startWatchdog, stopServer } from './postgres-process.ts';
import { fillServerFolder, makeServerFolder, postgresPassword } from './postgres-template.ts';

export type PostgresMajor = 15 | 17 | 18;
export type TestPostgres = {
  readonly url: string;
  readonly port: number;
  readonly major: number;
  readonly dataDir: string;
  readonly socketDir: string;
  /** Runs one statement on a pooled connection and gives its rows. */
  query(sql: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /** A connection of its own; ended by the server's dispose if the test does not end it. */
  connect(): Promise<pg.Client>;
  /** `fast` is SIGINT (clean), `immediate` is SIGQUIT (crash; the next start recovers). */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
  /** Starts a stopped server again on the same port and data. */
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};
type PostgresOptions = {
  readonly major?: PostgresMajor;
  /** Server settings, on top of logical decoding ones. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A copy of the template keeps its system identifier; a fresh initdb (1-2 s) has a new one. */
  readonly freshInitdb?: boolean;
};

const READY_DEADLINE_MS = 60_000;
const baseSettings = {
  wal_level: 'logical',
  // Test files share a server, and each test has slots of its own.
  max_wal_senders: '100',
  max_replication_slots: '100',
  fsync: 'off',
  shared_buffers: '32MB',
};

/**
 * Starts a server and waits until it answers. `VARVE_TEST_PG_URL_<major>` names an existing server instead (a
 * superuser's URL; the test gets a database of its own there), unless the test wants settings or a cluster of
 * its own.
 */
export const startPostgres = async (options: PostgresOptions = {}): Promise<TestPostgres> => {
  const major = options.major ?? 17;
  const existing = process.env[`VARVE_TEST_PG_URL_${major}`];
  if (existing && !options.settings && !options.freshInitdb) return borrowDatabase(existing, major);
  const folder = await makeServerFolder(major);
  const watchdog = startWatchdog(folder);
  const settings = { ...baseSettings, unix_socket_directories: folder.root, ...options.settings };
  const dropAll = async (): Promise<void> => {
    await removeFolder(folder.root);
    watchdog.stdin?.end();
  };
  try {
    await fillServerFolder(folder, options.freshInitdb ?? false);
    const started = await startOnFreePort(folder, settings);
    return new LocalServer({ major, folder, settings, dropAll, ...started });
  } catch (error) {
    await dropAll();
    throw error;
  }
};

type Running = { readonly port: number; readonly child: ChildProcess };

const startOnFreePort = async (folder: ServerFolder, settings: Record<string, string>): Promise<Running> => {
  for (let attempt = 1; ; attempt++) {
    const port = await pickPort();
    try {
      return { port, child: await startAndWait(folder, port, settings) };
    } catch (error) {
      // Another test may take the port between the pick and the bind.
      if (attempt === 5 || !/Address already in use/.test(String(error))) throw error;
    }
  }
};

const startAndWait = async (
  folder: ServerFolder,
  port: number,
  settings: Record<string, string>,
): Promise<ChildProcess> => {
  const child = spawnServer(folder, port, settings);
  const deadline = Date.now() + READY_DEADLINE_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      throw new Error(`PostgreSQL ended while starting.\n${await readFile(folder.log, 'utf8')}`);
    }
    if (await answers(urlOf(port))) return child;
    if (Date.now() > deadline) {
      await stopServer(child, 'SIGQUIT');
      throw new Error(`PostgreSQL did not answer within 60 s.\n${await readFile(folder.log, 'utf8')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const urlOf = (port: number): string => `postgres://postgres:${postgresPassword}@127.0.0.1:${port}/postgres`;

const answers = async (url: string): Promise<boolean> => {
  const client = quietClient(url);
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
};

/**
 * A server that a test stops makes its clients emit 'error'; without a listener that would end the test
 * process.
 */
const quietClient = (url: string): pg.Client =>
  new pg.Client({ connectionString: url }).on('error', () => undefined);

/** What both kinds of server share: connections that end with them. */
class Connections {
  readonly url: string;
  readonly #pool: pg.Pool;
  readonly #clients: pg.Client[] = [];
  readonly #noteUse: () => void;

  constructor(url: string, noteUse: () => void) {
    this.url = url;
    this.#noteUse = noteUse;
    this.#pool = new pg.Pool({ connectionString: url, max: 4, allowExitOnIdle: true });
    this.#pool.on('error', () => undefined);
  }

  async query(sql: string, params: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    this.#noteUse();
    const result = await this.#pool.query(sql, [...params]);
    // Several statements in one string come back as an array of results; the last one is the answer.
    return (Array.isArray(result) ? result.at(-1) : result).rows;
  }

  async connect(): Promise<pg.Client> {
    this.#noteUse();
    const client = quietClient(this.url);
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  async end(): Promise<void> {
    // A connection in the middle of a COPY never answers a polite goodbye, so nobody waits for it.
    for (const client of this.#clients) void client.end().catch(() => undefined);
    await Promise.race([this.#pool.end(), new Promise((resolve) => setTimeout(resolve, 500).unref())]);
  }
}

type LocalParts = Running & {
  readonly major: number;
  readonly folder: ServerFolder;
  readonly settings: Record<string, string>;
  readonly dropAll: () => Promise<void>;
};

class LocalServer implements TestPostgres {
  readonly port: number;
  readonly major: number;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly url: string;
  readonly #parts: LocalParts;
  readonly #connections: Connections;
  #child: ChildProcess | undefined;

  constructor(parts: LocalParts) {
    this.#parts = parts;
    this.#child = parts.child;
    this.port = parts.port;
    this.major = parts.major;
    this.dataDir = parts.folder.data;
    this.socketDir = parts.folder.root;
    this.url = urlOf(parts.port);
    this.#connections = new Connections(this.url, () => ran(`postgres ${parts.major}`, parts.folder.version));
  }

  query(sql: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]> {
    return this.#connections.query(sql, params);
  }

  connect(): Promise<pg.Client> {
    return this.#connections.connect();
  }

  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    if (this.#child) await stopServer(this.#child, mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    this.#child = undefined;
  }

  async start(): Promise<void> {
    this.#child ??= await startAndWait(this.#parts.folder, this.port, this.#parts.settings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections.end();
    await this.stop('immediate');
    await this.#parts.dropAll();
  }
}

/** Makes a database on somebody else's server and drops it, with its slots, at the end. */
const borrowDatabase = async (serverUrl: string, major: number): Promise<TestPostgres> => {
  const name = `varve_test_${process.pid}_${Math.random().toString(36).slice(2, 10)}`;
  const admin = new Connections(serverUrl, () => undefined);
  const [server] = await admin.query('SHOW server_version');
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const own = new Connections(url.href, () => ran(`postgres ${major}`, String(server?.server_version)));
  const notOurs = async (): Promise<void> => {
    throw new Error(
      `The server of VARVE_TEST_PG_URL_${major} is not this test's: it cannot be stopped or started.`,
    );
  };
  return {
    url: own.url,
    port: Number(url.port || 5432),
    major,
    dataDir: '',
    socketDir: '',
    query: (sql, params) => own.query(sql, params),
    connect: () => own.connect(),
    stop: notOurs,
    start: notOurs,
    [Symbol.asyncDispose]: async () => {
      await own.end();
      await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
      await admin.query(
        'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1',
        [name],
      );
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
};
