// Owns how every connection of this connector is opened: address, TLS, and the settings that fix how values
// are printed as text. Knows no query and no table. A password is never part of an error, a log line or a
// process title.
import type { Socket } from 'node:net';
import pg from 'pg';
import { VarveError } from '../../src/errors.ts';
import { mapPostgresError } from './error-map.ts';

/**
 * `full` checks authority and host name, `ca` the authority only, `none` encrypts without knowing to whom.
 */
type TlsSettings = { verify: 'full' | 'ca' | 'none'; ca?: string; cert?: string; key?: string };

/**
 * As the configuration says it: a URL, or its parts; parts win over the URL. `ca`, `cert`, `key` are PEM
 * text.
 */
export type ConnectionOptions = {
  url?: string | undefined;
  host?: string | undefined;
  port?: number | undefined;
  database?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  tls?: boolean | Partial<TlsSettings> | undefined;
};

/** `host` is a name, an address, or the absolute path of a folder with a Unix socket. */
export type ConnectionSettings = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | null;
  readonly tls: TlsSettings | null;
};

type ClientOptions = {
  /** Shown in pg_stat_activity and pg_stat_replication; by convention `varve_<pipeline>`. */
  applicationName: string;
  /** 0: no limit, for readers of whole tables. */
  statementTimeoutMs: number;
  /** A server that has not answered a question of ours by then is gone; absent: no limit. */
  answerTimeoutMs?: number;
  /** A walsender connection of this database. */
  replication?: boolean;
  /** A socket that is not connected yet, for who wants to read it in its own way; not with TLS. */
  socket?: Socket;
};

const CONNECT_TIMEOUT_MS = 15_000;
const KEEPALIVE_DELAY_MS = 15_000;
const GOODBYE_MS = 2_000;

/**
 * Startup parameters outrank what a database or a role has set, so text values look the same on every
 * connection.
 * https://www.postgresql.org/docs/current/runtime-config-client.html
 */
const VALUE_FORMATS = {
  DateStyle: 'ISO,YMD',
  IntervalStyle: 'iso_8601',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
};

const invalid = (sentence: string): VarveError => new VarveError('config_invalid', sentence);

const TLS_OF_SSLMODE: Readonly<Record<string, TlsSettings | null>> = {
  disable: null,
  require: { verify: 'full' },
  'verify-ca': { verify: 'ca' },
  'verify-full': { verify: 'full' },
  'no-verify': { verify: 'none' },
};

const parseUrl = (text: string): ConnectionOptions & { tls?: TlsSettings | undefined } => {
  const url = URL.parse(text);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw invalid('The source url must look like postgres://user@host:5432/database.');
  }
  const query = Object.fromEntries(url.searchParams);
  const { sslmode, host, ...unknown } = query;
  const [stray] = Object.keys(unknown);
  if (stray !== undefined) throw invalid(`The source url has an unknown parameter ${JSON.stringify(stray)}.`);
  const tls = sslmode === undefined ? undefined : TLS_OF_SSLMODE[sslmode];
  if (sslmode !== undefined && tls === undefined) {
    throw invalid(`sslmode must be one of ${Object.keys(TLS_OF_SSLMODE).join(', ')}.`);
  }
  const part = (value: string): string | undefined => (value === '' ? undefined : decodeURIComponent(value));
  return {
    host: host ?? part(url.hostname.replace(/^\[(.*)\]$/, '$1')),
    port: url.port === '' ? undefined : Number(url.port),
    database: part(url.pathname.slice(1)),
    user: part(url.username),
    password: part(url.password),
    tls: tls ?? undefined,
  };
};

const tlsOf = (asked: ConnectionOptions['tls']): TlsSettings | null => {
  if (asked === undefined || asked === false) return null;
  return asked === true ? { verify: 'full' } : { verify: 'full', ...asked };
};

/** Throws `config_invalid`. Nothing is taken from PG* environment variables or ~/.pgpass. */
export const parseConnection = (options: ConnectionOptions): ConnectionSettings => {
  const url = options.url === undefined ? {} : parseUrl(options.url);
  const host = options.host ?? url.host ?? 'localhost';
  const user = options.user ?? url.user;
  if (user === undefined) throw invalid('The source has no user name; set user, or write it into the url.');
  const database = options.database ?? url.database;
  if (database === undefined)
    throw invalid('The source has no database; set database, or write it into the url.');
  const tls = tlsOf(options.tls ?? url.tls);
  if (tls && host.startsWith('/')) throw invalid('TLS is not possible over a Unix socket; turn tls off.');
  const port = options.port ?? url.port ?? 5432;
  return { host, port, database, user, password: options.password ?? url.password ?? null, tls };
};

/** For people: never holds user or password. */
export const addressText = ({ host, port, database }: ConnectionSettings): string =>
  `${host}:${port}/${database}`;

const sslOf = (tls: TlsSettings | null): NonNullable<pg.ClientConfig['ssl']> => {
  if (tls === null) return false;
  const { verify, ...material } = tls;
  if (verify === 'ca') return { ...material, rejectUnauthorized: true, checkServerIdentity: () => undefined };
  return { ...material, rejectUnauthorized: verify === 'full' };
};

const startupOptions = ({ statementTimeoutMs }: ClientOptions): string => {
  const settings = {
    ...VALUE_FORMATS,
    statement_timeout: String(statementTimeoutMs),
    lock_timeout: '0',
    idle_in_transaction_session_timeout: '0',
  };
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
};

/**
 * A connected client. Throws `source_unreachable`, `source_denied` or what else the server's answer means.
 */
export const openClient = async (
  settings: ConnectionSettings,
  options: ClientOptions,
): Promise<pg.Client> => {
  const config: pg.ClientConfig & { replication?: 'database' } = {
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    // As a function: with an absent value pg would look into the environment and ~/.pgpass.
    password: () => settings.password ?? '',
    ssl: sslOf(settings.tls),
    sslnegotiation: 'postgres',
    application_name: options.applicationName,
    options: startupOptions(options),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  };
  if (options.answerTimeoutMs) config.query_timeout = options.answerTimeoutMs;
  if (options.replication) config.replication = 'database';
  const socket = options.socket;
  if (socket) config.stream = () => socket;
  const client = new pg.Client(config);
  // A connection that breaks between queries emits 'error'; the next query fails by itself, so nobody needs
  // to hear it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    throw mapPostgresError(error, `connecting to ${addressText(settings)}`);
  }
};

/** Says goodbye, and leaves without an answer if none comes: the server may be gone. Never throws. */
export const closeClient = async (client: pg.Client): Promise<void> => {
  const timer = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS);
  await client.end().catch(() => undefined);
  clearTimeout(timer);
};
